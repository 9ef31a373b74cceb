"""Keeps a disk at a given rate of small operations: `python -m faults.helpers.disk_pacer JSON`.

Native threads write and read 4 KiB at random places of a nameless file, past the page cache (O_DIRECT), each
operation at its own time: one that comes late is made up for, up to a backlog, so the rate does not drift. What the
device itself has done is read from /proc/diskstats; *rate* is the smaller of that and of this process's own count,
so that operations which never reached a device do not count. With *busy_percent* they are of 1 MiB, and
the rate is changed four times a second until the device is busy to that degree.

Arguments {path, io_ops_per_second, busy_percent, limit_s}.
A row every 0.25 s: {at, rate, own_rate, device_rate, device_busy_percent, device, opened, op_ms_mean, limited_by,
pressure}.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import random
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.helpers.scratch import open_scratch
from faults.helpers.telling import ROW_EVERY_S, give_up, tell

MIB = 2**20
BLOCK_BYTES = 4096
BUSY_BLOCK_BYTES = MIB  # to keep a fast device busy with small ones takes more CPU than there is
FILE_BYTES = 128 * MIB
FLOOR_BYTES = 1024 * MIB  # of free space on the file system, always
THREADS = 16
BACKLOG_S = 2.0  # a disk that stalls for a moment is not let off: what was due meanwhile is made up for
FIRST_RATE = 500.0  # with busy_percent alone
RATE_MAX = 200_000.0
GAIN_MAX = 1.5
DISKSTATS = Path("/proc/diskstats")


@dataclass(frozen=True)
class DeviceCount:
    """What a device, or all of them, have done since the machine started."""

    operations: int
    busy_ms: int


class Device:
    """The block device behind a file, as the kernel counts its work; all whole disks together when it is unknown."""

    def __init__(self, number: int) -> None:
        wanted = (str(os.major(number)), str(os.minor(number)))
        names = [fields[2] for fields in self._rows() if (fields[0], fields[1]) == wanted]
        self.names = set(names) or {path.name for path in Path("/sys/block").iterdir()}
        self.name = names[0] if names else "all disks together: that of the file is not known"

    @staticmethod
    def _rows() -> list[list[str]]:
        return [line.split() for line in DISKSTATS.read_text().splitlines()]

    def count(self) -> DeviceCount:
        rows = [fields for fields in self._rows() if fields[2] in self.names]
        # reads and writes as they were asked for: those merged into another count as well
        operations = sum(sum(int(fields[at]) for at in (3, 4, 7, 8)) for fields in rows)
        return DeviceCount(operations, max((int(fields[12]) for fields in rows), default=0))


class Pacer:
    """The threads and their common schedule."""

    def __init__(self, descriptor: int, rate: float, block_bytes: int) -> None:
        self.descriptor = descriptor
        self.rate = rate
        self.block_bytes = block_bytes
        self.error = ""
        self._turn = threading.Lock()
        self._due_s = time.monotonic()
        self.done = [0] * THREADS
        self.busy_s = [0.0] * THREADS

    def start(self) -> None:
        for number in range(THREADS):
            threading.Thread(target=self._work, args=(number,), daemon=True).start()

    def _next_s(self) -> float:
        """When the next operation is due; each is handed out once."""
        with self._turn:
            due_s = max(self._due_s, time.monotonic() - BACKLOG_S)
            self._due_s = due_s + 1 / self.rate
            return due_s

    def _work(self, number: int) -> None:
        generator = random.Random(number)
        buffer = mmap.mmap(-1, self.block_bytes)  # aligned to a page, as O_DIRECT wants it
        buffer.write(generator.randbytes(self.block_bytes))
        blocks = FILE_BYTES // self.block_bytes
        try:
            while True:
                # somewhere within its slot: a strict rhythm falls in step with the kernel's clock tick, by which
                # it counts how long a device was busy
                wait_s = self._next_s() + generator.random() / self.rate - time.monotonic()
                if wait_s > 0:
                    time.sleep(wait_s)
                place = generator.randrange(blocks) * self.block_bytes
                started_s = time.monotonic()
                call = os.pwritev if self.done[number] % 2 else os.preadv
                call(self.descriptor, [buffer], place)
                self.busy_s[number] += time.monotonic() - started_s
                self.done[number] += 1
        except OSError as error:
            self.error = f"the disk refuses: {error.strerror}"


def open_file(path: Path) -> tuple[int, str]:
    """(descriptor, how it is opened): past the page cache, or synchronous where that is refused."""
    try:
        return open_scratch(path, os.O_DIRECT), "O_DIRECT"
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return open_scratch(path, os.O_DSYNC), "O_DSYNC, as O_DIRECT is refused here"


def fill(descriptor: int) -> None:
    """Real bytes all over the file: a hole, or an extent that was only reserved, is read without any disk."""
    piece = mmap.mmap(-1, MIB)
    piece.write(random.Random(1).randbytes(MIB))
    for at in range(0, FILE_BYTES, MIB):
        os.pwritev(descriptor, [piece], at)


def refuse_without_room(path: Path) -> None:
    space = os.statvfs(path.parent)
    free = space.f_bavail * space.f_frsize
    if free < FLOOR_BYTES + FILE_BYTES:
        give_up(
            f"{path.parent}: {free // MIB} MiB are free; {FILE_BYTES // MIB} are needed, and {FLOOR_BYTES // MIB}"
            " always stay free"
        )


class Report:
    """One row after the other, each over the time since the last."""

    def __init__(self, pacer: Pacer, device: Device, opened: str, arguments: dict[str, Any]) -> None:
        self.pacer, self.device, self.opened = pacer, device, opened
        self.busy_percent = float(arguments["busy_percent"])
        self.asked = float(arguments["io_ops_per_second"])
        self._last = (time.monotonic(), sum(pacer.done), sum(pacer.busy_s), device.count())

    def row(self) -> None:
        now_s, count = time.monotonic(), self.device.count()
        done, spent_s = sum(self.pacer.done), sum(self.pacer.busy_s)
        at_s, done_before, spent_before_s, before = self._last
        self._last = (now_s, done, spent_s, count)
        elapsed_s = now_s - at_s
        own = (done - done_before) / elapsed_s
        seen = (count.operations - before.operations) / elapsed_s
        busy = min(100.0, (count.busy_ms - before.busy_ms) / 10 / elapsed_s)
        tell(
            rate=round(min(own, seen), 1),
            own_rate=round(own, 1),
            device_rate=round(seen, 1),
            device_busy_percent=round(busy, 1),
            device=self.device.name,
            opened=self.opened,
            op_ms_mean=round(1000 * (spent_s - spent_before_s) / max(1, done - done_before), 3),
            limited_by=self._limit(own, seen),
        )
        if self.busy_percent:
            # a device that was idle says nothing of how much more it takes, so the step is bounded
            factor = max(1 / GAIN_MAX, min(GAIN_MAX, self.busy_percent / max(busy, 1.0)))
            self.pacer.rate = max(1.0, min(RATE_MAX, self.pacer.rate * factor))

    def _limit(self, own: float, seen: float) -> str:
        if seen < 0.5 * own:
            return f"what is written here does not reach a disk ({self.device.name})"
        if not self.busy_percent and own < 0.95 * self.asked:
            return f"the disk does no more with {THREADS} operations under way"
        return ""


def main() -> None:
    arguments: dict[str, Any] = json.loads(sys.argv[1])
    path = Path(arguments["path"])
    end_s = time.monotonic() + float(arguments["limit_s"])
    try:
        refuse_without_room(path)
        descriptor, opened = open_file(path)
        fill(descriptor)
        device = Device(os.fstat(descriptor).st_dev)
    except OSError as error:
        give_up(f"{path.parent}: no scratch file: {error.strerror}")
    block_bytes = BUSY_BLOCK_BYTES if arguments["busy_percent"] else BLOCK_BYTES
    pacer = Pacer(descriptor, float(arguments["io_ops_per_second"]) or FIRST_RATE, block_bytes)
    pacer.start()
    report = Report(pacer, device, opened, arguments)
    while time.monotonic() < end_s:
        time.sleep(ROW_EVERY_S)
        if pacer.error:
            give_up(pacer.error)
        report.row()


if __name__ == "__main__":
    main()
