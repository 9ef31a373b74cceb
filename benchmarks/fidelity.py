"""How true the faults' magnitudes are, beside stress-ng and fio: `python -m benchmarks.fidelity [--rounds N]`.

Each row asks for a magnitude and measures what was there, by a witness that belongs to neither tool: the kernel's own
run-time clock, the cgroup's usage, /proc/diskstats, the bus's own count. The tools take turns within each round. Of a
round's samples mean and sd are taken, over the rounds their medians. The table goes to benchmarks/results/. What ours
promises is judged at the end: a row that misses is marked, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

from harness.cgroup import CgroupError, join, make_group, remove, used_percent
from harness.cpu_clock import CpuClock
from harness.embedded import EmbeddedTwin

SETTLE_S = 2.0
MEASURE_S = 8.0
SAMPLE_S = 0.5
GROUP_BYTES = 2 << 30
RESULTS = Path(__file__).parent / "results" / "fidelity.md"
# half of each core, by the simplest loop there is
BACKGROUND = """
import time
while True:
    end = time.process_time() + 0.01
    while time.process_time() < end:
        pass
    time.sleep(0.01)
"""
IDLE_PERCENT_MAX = 6.0
IDLE_S = 3.0
IDLE_LIMIT_S = 120.0
MESSAGES_PER_S = 1000
RATE_ERROR_MAX = 0.01  # of the rate asked for
POINTS_ERROR_MAX = 2.0
COUNTER = "grace_message_bus_acl_violations_total"
NEEDS = {"cpu": ("stress-ng",), "memory": ("stress-ng",), "disk": ("fio",), "message": ()}


@dataclass(frozen=True)
class Contest:
    """What is asked, who are asked, and how it is measured: witness() reads a counter or a level.

    Of the tools "ours" is judged: its error is at most *error_max* (None: nothing is promised), in *unit*, and when
    it must be *steadier*, its sd is below the other's.
    """

    name: str
    asked: float
    unit: str
    tools: dict[str, Callable[[Path], contextlib.AbstractContextManager[None]]]
    witness: Callable[[], float]
    counts: bool  # the witness counts (a rate is its growth a second), else it is a level
    settle_s: float = SETTLE_S
    background: bool = False
    error_max: float | None = None
    steadier: bool = False
    results: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # tool → (mean, sd) of each round


@contextlib.contextmanager
def running(command: Sequence[str], cwd: Path | None = None, group: Path | None = None) -> Iterator[None]:
    """*command* in a session of its own, ended with all of its children."""
    enter = (lambda: join(group)) if group is not None else None
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=cwd,
        preexec_fn=enter,
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def helper(module: str, **arguments: object) -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    return lambda folder: running([sys.executable, "-m", f"faults.helpers.{module}", json.dumps(arguments)])


def peer(*command: str, group: Path | None = None) -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    return lambda folder: running(command, cwd=folder, group=group)


def samples(contest: Contest) -> list[float]:
    found = []
    before, at_s = contest.witness(), time.monotonic()
    until_s = at_s + MEASURE_S
    while at_s < until_s:
        time.sleep(SAMPLE_S)
        now, now_s = contest.witness(), time.monotonic()
        found.append((now - before) / (now_s - at_s) if contest.counts else now)
        before, at_s = now, now_s
    return found


class Busy(Exception):
    """Somebody else uses the machine: what would be measured is not the tools."""


def wait_for_quiet(idle_s: float = IDLE_S) -> None:
    """Until the machine has been idle for *idle_s*. Raises Busy."""
    clock, cores = CpuClock(), os.cpu_count() or 1
    deadline = time.monotonic() + IDLE_LIMIT_S
    while time.monotonic() < deadline:
        before, at_s = clock.busy_s(), time.monotonic()
        time.sleep(idle_s)
        percent = 100 * (clock.busy_s() - before) / (time.monotonic() - at_s) / cores
        if percent <= IDLE_PERCENT_MAX:
            return
    raise Busy(
        f"the machine is busy to {percent:.0f} % without any of the tools; at most {IDLE_PERCENT_MAX:g} % will do"
    )


def round_of(contest: Contest, folder: Path) -> None:
    for name, tool in contest.tools.items():
        wait_for_quiet()
        with contextlib.ExitStack() as stack:
            for _ in range((os.cpu_count() or 1) if contest.background else 0):
                stack.enter_context(running([sys.executable, "-c", BACKGROUND]))
            stack.enter_context(tool(folder))
            time.sleep(contest.settle_s)
            found = samples(contest)
        contest.results.setdefault(name, []).append((statistics.fmean(found), statistics.pstdev(found)))
        mean, sd = contest.results[name][-1]
        print(f"  {contest.name}: {name} {mean:.2f} {contest.unit} (sd {sd:.2f})", flush=True)


def cpu_contests() -> list[Contest]:
    clock = CpuClock()
    cores = os.cpu_count() or 1

    def busy() -> float:
        return 100 * clock.busy_s() / cores

    return [
        Contest(
            name=f"CPU {percent} %" + (", 50 % background" if background else ""),
            asked=float(percent),
            unit="%",
            tools={
                "ours": helper("cpu_pacer", cpu_percent=percent, limit_s=120),
                "stress-ng": peer("stress-ng", "--cpu", str(cores), "--cpu-load", str(percent), "--timeout", "120"),
            },
            witness=busy,
            counts=True,
            background=background,
            error_max=POINTS_ERROR_MAX,
            steadier=True,
        )
        for percent, background in ((30, False), (75, False), (90, False), (75, True), (90, True))
    ]


def memory_contest(group: Path) -> Contest:
    return Contest(
        name="memory 85 % of a 2 GiB cgroup",
        asked=85.0,
        unit="%",
        tools={
            "ours": helper("memory_holder", memory_percent=85.0, limit_s=120, group=str(group)),
            "stress-ng": peer(
                *("stress-ng", "--vm", "1", "--vm-bytes", str(GROUP_BYTES * 85 // 100), "--vm-keep"),
                *("--vm-populate", "--timeout", "120"),
                group=group,
            ),
        },
        witness=lambda: used_percent(group),
        counts=False,
        settle_s=12.0,
    )


def disk_contest(folder: Path) -> Contest:
    device = folder.stat().st_dev
    wanted = (str(os.major(device)), str(os.minor(device)))

    def operations() -> float:
        for line in Path("/proc/diskstats").read_text().splitlines():
            fields = line.split()
            if (fields[0], fields[1]) == wanted:
                return float(int(fields[3]) + int(fields[7]))
        raise OSError(f"/proc/diskstats does not tell of the device of {folder}")

    fio = (
        *("fio", "--name=x", "--filename=fio.bin", "--size=128m", "--rw=randrw", "--bs=4k", "--direct=1"),
        *("--ioengine=libaio", "--iodepth=16", "--rate_iops=2500,2500", "--time_based", "--runtime=120"),
    )
    return Contest(
        name="disk 5000 ops/s",
        asked=5000.0,
        unit="ops/s",
        tools={
            "ours": helper(
                "disk_pacer", path=str(folder / "ours.bin"), io_ops_per_second=5000, busy_percent=0, limit_s=120
            ),
            "fio": peer(*fio),
        },
        witness=operations,
        counts=True,
        settle_s=6.0,
        error_max=5000 * RATE_ERROR_MAX,
    )


class Bus:
    """A twin of its own for each turn: nobody's count is in the other's, and none is there while the machine rests."""

    def __init__(self) -> None:
        self.metrics_url = ""

    def flooded_by(self, module: str) -> Callable[[Path], contextlib.AbstractContextManager[None]]:
        return lambda folder: self._flooded(module)

    @contextlib.contextmanager
    def _flooded(self, module: str) -> Iterator[None]:
        twin = EmbeddedTwin("acl_violation_monitor")  # it would cut the flooder off, and each row would be of that
        try:
            target = twin.wait()
            self.metrics_url = f"{target.base_url}/metrics"
            assert target.bus is not None
            wanted = {"endpoint", "server_public_key", "open_topic"}
            arguments = {key: value for key, value in target.bus.items() if key in wanted}
            arguments |= {"keys": list(target.bus["spare_actors"]), "actor": "flooder", "topics": ["kernel.memory"]}
            arguments |= {"messages_per_second": MESSAGES_PER_S, "limit_s": 120}
            with running([sys.executable, "-m", module, json.dumps(arguments)]):
                yield
        finally:
            twin.stop()

    def refused(self) -> float:
        """What the bus itself has counted. Raises OSError when it does not tell."""
        with urlopen(self.metrics_url, timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{COUNTER} "):
                    return float(line.split()[1])
        raise OSError(f"{self.metrics_url} does not tell of {COUNTER}")


def message_contest() -> Contest:
    bus = Bus()
    return Contest(
        name=f"forbidden messages {MESSAGES_PER_S}/s",
        asked=float(MESSAGES_PER_S),
        unit="msg/s",
        tools={
            "ours": bus.flooded_by("faults.helpers.acl_flooder"),
            "sleep loop": bus.flooded_by("benchmarks.sleep_flooder"),
        },
        witness=bus.refused,
        counts=True,
        settle_s=4.0,
        error_max=MESSAGES_PER_S * RATE_ERROR_MAX,
    )


def medians(contest: Contest, tool: str) -> tuple[float, float]:
    """(mean, sd) of *tool* over the rounds."""
    rounds = contest.results[tool]
    return statistics.median(one[0] for one in rounds), statistics.median(one[1] for one in rounds)


def misses(contest: Contest) -> list[str]:
    """What ours has promised and not kept, in words."""
    found = []
    mean, sd = medians(contest, "ours")
    peer_name = next(name for name in contest.results if name != "ours")
    peer_sd = medians(contest, peer_name)[1]
    if contest.error_max is not None and not abs(mean - contest.asked) <= contest.error_max:
        found.append(f"the error is {mean - contest.asked:+.2f} {contest.unit}, at most ± {contest.error_max:g}")
    if contest.steadier and not sd < peer_sd:
        found.append(f"the sd is {sd:.3f}, not below the {peer_sd:.3f} of {peer_name}")
    return found


def verdict_row(contest: Contest) -> str:
    cells = [contest.name, f"{contest.asked:g} {contest.unit}"]
    figures = {}
    for name in contest.results:
        mean, sd = medians(contest, name)
        figures[name] = sd
        cells += [name, f"{mean:.2f}", f"{mean - contest.asked:+.2f}", f"{sd:.3f}"]
    ours, theirs = list(figures.values())
    promise = [f"error ± {contest.error_max:g}"] if contest.error_max is not None else []
    promise += ["the lower sd"] if contest.steadier else []
    held = "; ".join(["**MISSED**", *missed]) if (missed := misses(contest)) else ", ".join(promise) or "–"
    return "| " + " | ".join([*cells, f"{theirs / ours:.1f}" if ours else "–", held]) + " |"


def table(contests: Sequence[Contest], rounds: int) -> str:
    head = "| asked of | asked | | mean | error | sd | | mean | error | sd | sd of theirs / ours | held |"
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    return "\n".join(
        [
            "# Asked against achieved",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {machine}; medians of {rounds} interleaved rounds of {MEASURE_S:g} s,",
            f"each sampled every {SAMPLE_S:g} s by a witness that belongs to neither tool.",
            "",
            head,
            "|" + "---|" * 12,
            *(verdict_row(contest) for contest in contests),
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=tuple(NEEDS), help="one kind of contest; without it, all")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    kinds = (options.only,) if options.only else tuple(NEEDS)
    missing = sorted({tool for kind in kinds for tool in NEEDS[kind] if shutil.which(tool) is None})
    if missing:
        print(f"missing: {', '.join(missing)}; `make bench` installs them", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="grace-bench-", dir=Path.cwd()))
    group = None
    try:
        contests = cpu_contests() if "cpu" in kinds else []
        if "memory" in kinds:
            try:
                group = make_group(GROUP_BYTES)
                contests.append(memory_contest(group))
            except CgroupError as error:
                print(f"memory is left out: {error}", flush=True)
        contests += [disk_contest(folder)] if "disk" in kinds else []
        contests += [message_contest()] if "message" in kinds else []
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", flush=True)
            for contest in contests:
                round_of(contest, folder)
        text = table(contests, options.rounds)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
        print(f"\n{text}")
        return 1 if any(misses(contest) for contest in contests) else 0
    except Busy as error:
        print(error, file=sys.stderr)
        return 3
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if group is not None:
            remove(group)


if __name__ == "__main__":
    sys.exit(main())
