"""The CPU clock: the first of its sources that can be read, each read right."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness import cpu_clock
from harness.cpu_clock import CpuClock

SOURCES = ("CGROUP_V1", "CGROUP_V2", "SCHEDSTAT", "STAT")
TICK = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that offers no clock at all, until a test writes one."""
    for name in SOURCES:
        monkeypatch.setattr(cpu_clock, name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "busy_s", "name"),
    [
        ("CGROUP_V1", "2500000000\n", 2.5, "cpuacct"),
        ("CGROUP_V2", "usage_usec 2500000\nuser_usec 1\n", 2.5, "cpu.stat"),
        (
            "SCHEDSTAT",
            "version 15\ntimestamp 9\n"
            "cpu0 0 0 0 0 0 0 1500000000 7 9\ndomain0 3 1 2 3 4 5 6 7 8\ncpu1 0 0 0 0 0 0 1000000000 7 9\n",
            2.5,
            "schedstat",
        ),
        ("STAT", f"cpu  {TICK} {TICK} {TICK} 900 800 {TICK} {TICK} 700 0 0\ncpu0 1\n", 5.0, "/proc/stat"),
    ],
)
def test_each_source_is_read_right(nowhere: Path, file: str, text: str, busy_s: float, name: str) -> None:
    (nowhere / file).write_text(text)
    clock = CpuClock()
    assert clock.busy_s() == pytest.approx(busy_s) and name in clock.name


def test_a_tick_counter_is_the_last_choice(nowhere: Path) -> None:
    """The root group of version 2 is made from ticks as well."""
    (nowhere / "STAT").write_text("cpu  1 1 1 1 1 1 1 1 0 0\n")
    (nowhere / "CGROUP_V2").write_text("usage_usec 1000000\n")
    assert CpuClock().name == "cpu.stat of the root cgroup"
    (nowhere / "SCHEDSTAT").write_text("cpu0 0 0 0 0 0 0 1500000000 7 9\n")
    assert CpuClock().name == "/proc/schedstat"


@pytest.mark.parametrize("text", ["", "0\n", "nonsense\n"])
def test_a_source_that_says_nothing_is_passed_over(nowhere: Path, text: str) -> None:
    for name in ("CGROUP_V1", "CGROUP_V2", "SCHEDSTAT"):
        (nowhere / name).write_text(text)
    (nowhere / "STAT").write_text("cpu  1 1 1 1 1 1 1 1 0 0\n")
    assert CpuClock().name == "/proc/stat"


def test_without_any_source_it_says_so(nowhere: Path) -> None:
    with pytest.raises(OSError, match="no clock of the CPU"):
        CpuClock()


def test_work_of_this_process_is_counted() -> None:
    clock = CpuClock()
    before_s, own_s = clock.busy_s(), time.process_time()
    while (spent_s := time.process_time() - own_s) < 0.2:
        pass
    # A tick of the coarsest clock may be missing at either end.
    assert clock.busy_s() - before_s >= spent_s - 2 / TICK


def test_what_was_noted_is_told_between_two_notes(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(cpu_clock, "_NOTES", cpu_clock.deque(maxlen=4))
    monkeypatch.setattr(cpu_clock.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(cpu_clock.os, "cpu_count", lambda: 2)
    cpu_clock.note()
    assert not cpu_clock._NOTES, "no clock can be read"
    for at_s, busy_s in ((100.0, 50.0), (103.0, 53.0), (103.0, 53.0), (104.0, 55.0)):
        now_s[0] = at_s
        (nowhere / "CGROUP_V1").write_text(f"{busy_s * 1e9:.0f}\n")
        cpu_clock.note()
    assert list(cpu_clock.noted(100.0)) == [(100.0, 103.0, 50.0), (103.0, 104.0, 100.0)]
    assert list(cpu_clock.noted(101.0)) == [(103.0, 104.0, 100.0)]
