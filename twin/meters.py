"""How busy CPU, memory and disk are, read from the kernel's own counters."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from twin.memory import memory_percent

ROOT_CPUACCT = Path("/sys/fs/cgroup/cpuacct/cpuacct.usage")
ROOT_CPU_STAT = Path("/sys/fs/cgroup/cpu.stat")


def cpu_busy_s() -> float:
    """Seconds that all cores have run tasks. Run-time clocks first: ticks misread what sleeps in step with them."""
    try:
        return int(ROOT_CPUACCT.read_text()) / 1e9
    except (OSError, ValueError):
        pass
    try:
        usage = dict(line.split() for line in ROOT_CPU_STAT.read_text().splitlines())
        return int(usage["usage_usec"]) / 1e6
    except (OSError, ValueError, KeyError):
        pass
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def disk_used_percent(folder: Path) -> float:
    """Space used on the folder's file system, as df says it: of what an ordinary user may fill."""
    usage = shutil.disk_usage(folder)
    return 100 * usage.used / max(1, usage.used + usage.free)


def device_io_ms(folder: Path) -> int:
    """Milliseconds in which the folder's device had work (field 13 of /proc/diskstats); 0 when it is not listed."""
    device = folder.stat().st_dev
    wanted = (str(os.major(device)), str(os.minor(device)))
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if (fields[0], fields[1]) == wanted:
            return int(fields[12])
    return 0


class Meters:
    """read() → {cpu, memory, disk} in percent, over the time since the last call.

    disk is that of *folder*, or the space used on one of the *others* when that is more.
    """

    def __init__(self, folder: Path, *others: Path) -> None:
        self.folder = folder
        self.others = others
        self.cores = os.cpu_count() or 1
        self._at_s, self._busy_s, self._io_ms = time.monotonic(), cpu_busy_s(), device_io_ms(folder)

    def read(self) -> dict[str, float]:
        now_s, busy_s, io_ms = time.monotonic(), cpu_busy_s(), device_io_ms(self.folder)
        elapsed_s = max(1e-3, now_s - self._at_s)
        cpu = 100 * (busy_s - self._busy_s) / elapsed_s / self.cores
        io = 100 * (io_ms - self._io_ms) / 1000 / elapsed_s
        self._at_s, self._busy_s, self._io_ms = now_s, busy_s, io_ms
        disk = max(min(100.0, io), *(disk_used_percent(one) for one in (self.folder, *self.others)))
        return {"cpu": min(100.0, cpu), "memory": memory_percent(), "disk": disk}
