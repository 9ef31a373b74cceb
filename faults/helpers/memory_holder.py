"""Holds real memory, so that a machine or a cgroup shows a given use: `python -m faults.helpers.memory_holder JSON`.

It takes page by page (populated by the kernel, no huge pages, locked where there is swap), looks after every piece,
and then holds by a loop: gives back when others take, takes more when they give back. It never takes what would
bring the machine below a floor of available memory, and says in its rows when that is why it stays below. The OOM
killer is told to take it first.

Arguments {memory_percent, limit_s, group}: *group* is the folder of a memory cgroup to join, "" = the machine.
A row every 0.25 s: {at, memory_percent, held_bytes, available_bytes, limited_by, locked, pressure}.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.helpers.telling import ROW_EVERY_S, give_up, tell
from harness.cgroup import CgroupError, hierarchy, join, limit_bytes, limited, used_bytes

MIB = 2**20
FLOOR_BYTES = 512 * MIB  # of the machine, available to all others, always
GROUP_FLOOR_BYTES = 48 * MIB  # of a limited group: below it the kernel would start to kill
AIM_POINTS = 0.5  # aimed so much above what is asked, or half of a steady hold would lie just below it
LOOK_EVERY_S = 0.05
MADV_POPULATE_WRITE = 23  # Linux 5.14
NICE = 10  # the fill is work of the CPU, which is not what this fault is about


@dataclass(frozen=True)
class Use:
    """How much there is and is used, and how much more may be taken without going below a floor."""

    total_bytes: int
    used_bytes: int
    available_bytes: int  # of the machine
    room_bytes: int
    floor: str

    @property
    def percent(self) -> float:
        return 100 * self.used_bytes / self.total_bytes


def meminfo() -> dict[str, int]:
    """{name: bytes}."""
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}


def use_of_machine(bounds: Sequence[Path]) -> Use:
    """*bounds*: the limited groups that this process is in, which may give less than the machine has."""
    told = meminfo()
    total, available = told["MemTotal"], told["MemAvailable"]
    room, floor = _room(available, bounds)
    return Use(total, total - available, available, room, floor)


def use_of_group(group: Path, bounds: Sequence[Path]) -> Use:
    """*bounds*: the limited groups that *group* is in, itself among them."""
    limit, used, available = limit_bytes(group), used_bytes(group), meminfo()["MemAvailable"]
    if limit is None:
        raise CgroupError(f"{group} has no memory limit")
    room, floor = _room(available, bounds)
    return Use(limit, used, available, room, floor)


def _room(available: int, bounds: Sequence[Path]) -> tuple[int, str]:
    """(how much may be taken, what is kept by that): the least that the machine and each group leave."""
    rooms = [(available - FLOOR_BYTES, f"the floor of {FLOOR_BYTES // MIB} MiB of available memory is kept")]
    for group in bounds:
        if (limit := limit_bytes(group)) is not None:
            kept = f"the floor of {GROUP_FLOOR_BYTES // MIB} MiB in a cgroup of {limit // MIB} MiB is kept"
            rooms.append((limit - used_bytes(group) - GROUP_FLOOR_BYTES, kept))
    return min(rooms)


class Holder:
    """The pieces that are held: take() and give_back() one at a time."""

    def __init__(self, piece_bytes: int, lock: bool) -> None:
        self.piece_bytes = piece_bytes
        self.lock = lock
        self.pieces: list[mmap.mmap] = []

    @property
    def held_bytes(self) -> int:
        return len(self.pieces) * self.piece_bytes

    def take(self) -> None:
        """Raises OSError when the kernel gives no more."""
        piece = mmap.mmap(-1, self.piece_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # a kernel without huge pages
            piece.madvise(mmap.MADV_NOHUGEPAGE)
        try:
            piece.madvise(MADV_POPULATE_WRITE)
        except OSError:
            piece[:: mmap.PAGESIZE] = bytes(self.piece_bytes // mmap.PAGESIZE)
        if self.lock:
            address = ctypes.addressof(ctypes.c_char.from_buffer(piece))
            self.lock = ctypes.CDLL(None).mlock(ctypes.c_void_p(address), ctypes.c_size_t(self.piece_bytes)) == 0
        self.pieces.append(piece)

    def give_back(self) -> None:
        self.pieces.pop().close()


class Loop:
    """Keeps the use at what is asked; step() does one piece of the way and says whether more is to be done."""

    def __init__(self, percent: float, look: Callable[[], Use]) -> None:
        self.percent = percent
        self.look = look
        self.use = look()
        piece = max(MIB, min(32 * MIB, self.use.total_bytes // 512 // MIB * MIB))
        self.holder = Holder(piece, lock=meminfo().get("SwapTotal", 0) > 0)
        self.limited_by = ""

    def step(self) -> bool:
        self.use = use = self.look()
        piece = self.holder.piece_bytes
        wanted = int((self.percent + AIM_POINTS) / 100 * use.total_bytes) - use.used_bytes
        short = use.percent < self.percent
        if use.room_bytes < 0 or wanted <= -piece:
            if use.room_bytes < 0 and short:
                self.limited_by = use.floor
            if self.holder.pieces:
                self.holder.give_back()
            return bool(self.holder.pieces)
        if wanted < piece // 2:
            self.limited_by = ""
            return False
        if use.room_bytes < piece:
            self.limited_by = use.floor if short else ""
            return False
        try:
            self.holder.take()
        except OSError as error:
            self.limited_by = f"the kernel gives no more memory: {error.strerror}"
            return False
        self.limited_by = ""
        return True

    def row(self) -> None:
        tell(
            memory_percent=round(self.use.percent, 3),
            held_bytes=self.holder.held_bytes,
            available_bytes=self.use.available_bytes,
            limited_by=self.limited_by,
            locked=self.holder.lock,
        )


def bounds_of_this_process() -> list[Path]:
    try:
        here = hierarchy()
    except CgroupError:
        return []
    return limited(here.own, here.top)


def main() -> None:
    arguments: dict[str, Any] = json.loads(sys.argv[1])
    end_s = time.monotonic() + float(arguments["limit_s"])
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.nice(NICE)
    try:
        group = Path(arguments["group"])
        if arguments["group"]:
            join(group)
        bounds = bounds_of_this_process()
        look = (lambda: use_of_group(group, bounds)) if arguments["group"] else (lambda: use_of_machine(bounds))
        loop = Loop(float(arguments["memory_percent"]), look)
        row_at_s = time.monotonic()
        while (now_s := time.monotonic()) < end_s:
            more = loop.step()
            if now_s >= row_at_s:
                loop.row()
                row_at_s = now_s + ROW_EVERY_S
            if not more:
                time.sleep(LOOK_EVERY_S)
    except (OSError, CgroupError) as error:
        give_up(f"memory cannot be held: {error}")


if __name__ == "__main__":
    main()
