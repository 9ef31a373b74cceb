"""Takes the target's state for a run: in a greenlet of its own before the faults, and once more after the recovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gevent

from harness.clock import Clock
from harness.contracts import Target
from harness.states import AFTER, BEFORE
from harness.target_state import give_up, take_state

WAIT_S = 5.0  # so long the faults wait for the reading, once the baseline is steady


class StateTaker:
    """begin() when the users are there, ready() until the faults may begin, after() when all was read back.

    *stopped* is true when somebody wants no more of it. *asked* gets each question before the
    faults; those after the recovery come when the ledgers were read, so that no ledger can miss them.
    """

    def __init__(
        self,
        target: Target,
        folder: Path,
        clock: Clock,
        stopped: Callable[[], bool],
        asked: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.target, self.folder, self.clock = target, folder, clock
        self.stopped, self.asked = stopped, asked
        self.reading: gevent.Greenlet | None = None
        self.steady_since_s: float | None = None

    def begin(self) -> None:
        self.reading = gevent.spawn(
            take_state, self.target, self.folder, BEFORE, self.clock.now_s, gevent.sleep, self.stopped, self.asked
        )

    def ready(self, now_s: float) -> bool:
        """False while the faults must wait for the state before them; a reading that takes too long is given up."""
        self.steady_since_s = now_s if self.steady_since_s is None else self.steady_since_s
        if self.reading is None or self.reading.ready():
            return True
        if now_s - self.steady_since_s < WAIT_S:
            return False
        self.stop()
        why = f"it was not read {WAIT_S:g} s after the baseline was steady, and the faults waited no longer"
        give_up(self.folder, BEFORE, self.clock.now_s(), why)
        return True

    def stop(self) -> None:
        if self.reading is not None:
            self.reading.kill()

    def after(self) -> None:
        take_state(self.target, self.folder, AFTER, self.clock.now_s, gevent.sleep, self.stopped)
