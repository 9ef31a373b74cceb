"""Stall: workers are alive and busy, and never come to an end, as with a loop whose condition never fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from faults.helpers import stalling
from faults.helpers.pools import OnPool, pool_of
from faults.helpers.process_witness import Spinning
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Magnitude, Sample, Undo

LOCATION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
PATCHES = ("infinite_loop",)


@dataclass(frozen=True, kw_only=True)
class WorkerStall(OnPool):
    """Puts an endless loop into the worker threads of *share_percent* of the pool *target*, for *stall_seconds*.

    It is put from outside into processes that run already, in the place of the function *location* (MODULE:FUNCTION;
    else the one that the manifest names): whoever calls that burns CPU until the fault is taken back, and then does
    what it was called for with the arguments that it had, so that no piece of work is lost to the fault itself.

    Measured is the share of the pool's processes that have a thread in the loop whose CPU clock runs, together with
    those that the target has ended in it, or interrupted within the last second. It ends when the target has replaced
    all of them. The subject is the first of these workers.
    """

    share_percent: float = 100.0
    stall_seconds: float = 30.0
    location: str = ""
    patch: str = "infinite_loop"

    duration_field: ClassVar[str] = "stall_seconds"
    min_duration_s: ClassVar[float] = 5.0
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"patch": PATCHES}

    witness: ClassVar[str] = "the CPU clocks of the workers' processes in /proc, read by the harness"

    def __post_init__(self) -> None:
        if self.location and not LOCATION.fullmatch(self.location):
            raise ValueError(f"location: MODULE:FUNCTION is expected, not {self.location!r}")

    @property
    def asked(self) -> Magnitude:
        share = self.share_percent
        return Magnitude(name="stalled", value=share, unit="%", tolerance=share * 0.05)

    def prepare(self, target: Target) -> Undo:
        return stalling.prepare(target, self.names(target))

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        location = self.location or pool_of(target, self.target).function
        return stalling.inject(undo, self.names(target), location, self.stall_seconds, hands)

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return Spinning(stalling.victims(undo), len(pool_of(target, self.target).processes))

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return stalling.sample(target, self.target, effect)


FAULT = WorkerStall
