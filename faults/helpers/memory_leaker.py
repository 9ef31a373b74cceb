"""Takes real memory evenly over a time, and then holds it: `python -m faults.helpers.memory_leaker JSON`.

Arguments {megabytes, over_s, limit_s}. A row every 0.25 s: {at, held_mb, limited_by, locked, pressure}.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.helpers.memory_holder import MIB, NICE, Holder, Use, bounds_of_this_process, meminfo, use_of_machine
from faults.helpers.telling import ROW_EVERY_S, give_up, tell

PIECE_BYTES = 4 * MIB
LOOK_EVERY_S = 0.02


class Leak:
    """step() takes what is due at a time, piece by piece, as long as there is room."""

    def __init__(self, megabytes: float, over_s: float, look: Callable[[], Use]) -> None:
        self.bytes, self.over_s, self.look = int(megabytes * 10**6), over_s, look
        self.holder = Holder(PIECE_BYTES, lock=meminfo().get("SwapTotal", 0) > 0)
        self.limited_by = ""

    def step(self, since_s: float) -> None:
        """*since_s* from its begin on."""
        due = self.bytes * min(1.0, since_s / self.over_s)
        self.limited_by = ""
        while self.holder.held_bytes < due:
            use = self.look()
            if use.room_bytes < self.holder.piece_bytes:
                self.limited_by = use.floor
                if use.room_bytes < 0 and self.holder.pieces:
                    self.holder.give_back()
                return
            self.holder.take()

    def row(self) -> None:
        held_mb = round(self.holder.held_bytes / 10**6, 2)
        tell(held_mb=held_mb, limited_by=self.limited_by, locked=self.holder.lock)


def main() -> None:
    arguments: dict[str, Any] = json.loads(sys.argv[1])
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.nice(NICE)
    start_s = time.monotonic()
    end_s = start_s + float(arguments["limit_s"])
    try:
        bounds = bounds_of_this_process()
        leak = Leak(float(arguments["megabytes"]), float(arguments["over_s"]), lambda: use_of_machine(bounds))
        row_at_s = start_s
        while (now_s := time.monotonic()) < end_s:
            leak.step(now_s - start_s)
            if now_s >= row_at_s:
                leak.row()
                row_at_s = now_s + ROW_EVERY_S
            time.sleep(LOOK_EVERY_S)
    except OSError as error:
        give_up(f"memory cannot be held: {error}")


if __name__ == "__main__":
    main()
