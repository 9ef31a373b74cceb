"""Fills a file system with a nameless file and keeps it full: `python -m faults.helpers.disk_filler JSON`.

Space is taken by posix_fallocate, in pieces that get smaller as the end comes near, and given back when others fill
more. It is never the root file system, and never more of the machine's memory than leaves a floor available (a
tmpfs is memory).

Arguments {path, disk_percent, limit_s}; 100 % = until the kernel says that there is no space left.
A row every 0.25 s: {at, disk_percent, held_bytes, free_bytes, refused, limited_by, pressure}; disk_percent as df
tells it, of what an ordinary user may fill; *refused* says whether the kernel has refused more space.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from faults.helpers.memory_holder import FLOOR_BYTES, meminfo
from faults.helpers.scratch import open_scratch
from faults.helpers.telling import ROW_EVERY_S, give_up, tell

MIB = 2**20
PIECE_BYTES = 64 * MIB
LOOK_EVERY_S = 0.05
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Filler:
    """The file and how large it is; step() does one piece of the way and says whether more is to be done."""

    def __init__(self, path: Path, percent: float) -> None:
        self.path = path
        self.percent = percent
        self.descriptor = open_scratch(path)
        self.held_bytes = 0
        self.refused = False
        self.limited_by = ""

    def space(self) -> tuple[int, int]:
        """(used, free) bytes of the file system, as an ordinary user has them."""
        told = os.fstatvfs(self.descriptor)
        return (told.f_blocks - told.f_bfree) * told.f_frsize, told.f_bavail * told.f_frsize

    @property
    def used_percent(self) -> float:
        used, free = self.space()
        return 100 * used / max(1, used + free)

    def step(self) -> bool:
        used, free = self.space()
        block = os.fstatvfs(self.descriptor).f_frsize
        wanted = int(self.percent / 100 * (used + free)) - used if self.percent < 100 else PIECE_BYTES
        if wanted <= -block and self.held_bytes:
            self.held_bytes = max(0, self.held_bytes + wanted)
            os.ftruncate(self.descriptor, self.held_bytes)
            return False
        if wanted < block:
            self.limited_by = ""
            return False
        room = meminfo()["MemAvailable"] - FLOOR_BYTES
        if room < PIECE_BYTES:
            self.limited_by = f"the floor of {FLOOR_BYTES // MIB} MiB of available memory is kept"
            return False
        return self._take(min(wanted, PIECE_BYTES), block)

    def _take(self, wanted: int, block: int) -> bool:
        """As much of *wanted* as there is: halves what the kernel refuses, down to a block."""
        while wanted >= block:
            try:
                os.posix_fallocate(self.descriptor, self.held_bytes, wanted)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                wanted //= 2
                continue
            self.held_bytes += wanted
            self.refused, self.limited_by = False, ""
            return True
        self.refused = True
        return False

    def row(self) -> None:
        tell(
            disk_percent=round(self.used_percent, 2),
            held_bytes=self.held_bytes,
            free_bytes=self.space()[1],
            refused=self.refused,
            limited_by=self.limited_by,
        )


def main() -> None:
    arguments: dict[str, Any] = json.loads(sys.argv[1])
    path = Path(arguments["path"])
    end_s = time.monotonic() + float(arguments["limit_s"])
    try:
        if path.parent.stat().st_dev == Path("/").stat().st_dev:
            give_up(f"{path.parent} is on the root file system, which is never filled")
        filler = Filler(path, float(arguments["disk_percent"]))
        row_at_s = time.monotonic()
        while (now_s := time.monotonic()) < end_s:
            more = filler.step()
            if now_s >= row_at_s:
                filler.row()
                row_at_s = now_s + ROW_EVERY_S
            if not more:
                time.sleep(LOOK_EVERY_S)
    except OSError as error:
        give_up(f"{path.parent} cannot be filled: {error.strerror}")


if __name__ == "__main__":
    main()
