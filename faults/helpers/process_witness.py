"""What /proc shows of the processes that a fault is aimed at, and of its helper, read by the harness."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from faults.helpers.witness import Level, Polled
from harness.contracts import ProcessId, Target
from harness.loopback import Client
from harness.model import Effect
from harness.primitives.thaw import is_frozen, members
from harness.process import process_state, same

SPIN_WINDOW_S = 1.0
SPIN_PERCENT_MIN = 5.0  # of a core: a worker that waits for work uses less
HEARTBEAT_SLACK_S = 1.0  # between two heartbeats, and the way to the page that tells of them
UNHEARD_AFTER_S = 1.5


def process_in(effect: Effect) -> ProcessId:
    """The helper or the victim whose identity stands in *effect*."""
    facts = effect.facts
    return ProcessId(pid=facts["pid"], start_ticks=facts["start_ticks"], boot_id=facts["boot_id"])


def cpu_ticks(process: ProcessId) -> int | None:
    """The CPU time of all threads of *process*, in clock ticks of 10 ms; None when it is gone."""
    if not same(process):
        return None
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[11]) + int(fields[12])


def anonymous_mb(process: ProcessId) -> float | None:
    """Anonymous memory in RAM, in MB of 10^6 bytes; None when it is gone."""
    if not same(process):
        return None
    rows = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next((int(row.split()[1]) * 1024 / 1e6 for row in rows if row.startswith("RssAnon:")), None)


def io_calls(process: ProcessId) -> tuple[float, float] | None:
    """(when, how many reads and writes *process* has done on files so far)."""
    if not same(process):
        return None
    rows = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
    return time.monotonic(), float(int(rows["syscr"]) + int(rows["syscw"]))


def gone(victims: Mapping[str, ProcessId], scale: float = 1.0) -> Level:
    """How many of *victims*, as they were planned, are no more in /proc, times *scale*."""
    return Level(lambda _: scale * sum(not same(one) for one in victims.values()))


class Standstill(Level):
    """1 while *process* is stopped, or frozen with *cgroup*, and its CPU clock stands still; 0 while it is not so."""

    def __init__(self, process: ProcessId, cgroup: Path | None = None) -> None:
        super().__init__(lambda _: self._stands())
        self.process, self.cgroup = process, cgroup
        self.ticks: int | None = None

    def _stands(self) -> float | None:
        ticks = cpu_ticks(self.process)
        if ticks is None:
            return None
        before, self.ticks = self.ticks, ticks
        stopped = process_state(self.process.pid) in ("T", "t")
        if not stopped and self.cgroup is not None:
            stopped = is_frozen(self.cgroup) and self.process.pid in members(self.cgroup)
        return float(stopped and before in (None, ticks))


class Spinning(Level):
    """The share of a pool of *size*, in percent, whose processes burn CPU, or have ended; None when all have ended."""

    def __init__(self, victims: Sequence[ProcessId], size: int) -> None:
        super().__init__(lambda _: self._share())
        self.victims, self.size = victims, size
        self.since_s = 0.0
        self.before: list[int | None] = []

    def _share(self) -> float | None:
        now_s, now = time.monotonic(), [cpu_ticks(one) for one in self.victims]
        if all(ticks is None for ticks in now):
            return None
        elapsed_s = now_s - self.since_s
        if self.before and elapsed_s < SPIN_WINDOW_S:
            return None
        pairs = list(zip(self.before, now, strict=True)) if self.before else []
        self.since_s, self.before = now_s, now
        if not pairs:
            return None
        busy = sum(new is None or (old is not None and _percent(old, new, elapsed_s)) for old, new in pairs)
        return 100.0 * busy / self.size


def _percent(old: int, new: int, elapsed_s: float) -> bool:
    return new - old >= SPIN_PERCENT_MIN * elapsed_s  # a tick is a hundredth of a second


class Unheard(Level):
    """1 while the target's control plane has heard no heartbeat of *kernel* since the first look; 0 when it has."""

    def __init__(self, target: Target, kernel: str, process: ProcessId) -> None:
        super().__init__(lambda _: self._unheard())
        if "kernels" not in target.signals:
            raise LookupError("the manifest has no signals.kernels")
        url, client = target.signals["kernels"]["url"], Client(target.base_url, permitted=target.permitted)
        self.process = process
        self.first_s: float | None = None

        def age() -> float | None:
            rows = client.get_json(url)["kernels"]
            return next((row["heartbeat_age_s"] for row in rows if row["name"] == kernel), None)

        self.polled = Polled(age, every_s=0.2)

    def _unheard(self) -> float | None:
        now_s = time.monotonic()
        self.first_s = self.first_s or now_s
        told = self.polled(Effect())
        if told is None or not same(self.process) or told[0] - self.first_s < UNHEARD_AFTER_S:
            return None
        return float(told[1] >= told[0] - self.first_s - HEARTBEAT_SLACK_S)
