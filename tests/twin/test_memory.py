"""The twin's view of memory: what limits a process, in both versions of cgroups, and the scarcest of all counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from twin import memory
from twin.memory import group_percent, limited_groups, memory_percent

MIB = 2**20


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "proc"
    (folder / "self").mkdir(parents=True)
    (folder / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 600 kB\n")
    monkeypatch.setattr(memory, "PROC", folder)
    return folder


def first(folder: Path, limit: int, usage: int, inactive: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"inactive_file 0\ntotal_inactive_file {inactive}\n")


def second(folder: Path, limit: str, usage: int, inactive: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {inactive}\n")


def test_without_a_limit_the_machine_counts(proc: Path) -> None:
    assert limited_groups() == [] and memory_percent() == pytest.approx(40.0)
    (proc / "self" / "cgroup").write_text("0::/a\n")
    (proc / "self" / "mountinfo").write_text("1 2 0:3 / /nowhere rw - tmpfs tmpfs rw\n")
    assert limited_groups() == [] and memory_percent() == pytest.approx(40.0)


def test_the_own_limit_counts_in_the_first_version(proc: Path, tmp_path: Path) -> None:
    top = tmp_path / "memory"
    first(top, 2**63 - 4096, 900 * MIB)
    first(top / "service", 2000 * MIB, 1900 * MIB, inactive=100 * MIB)
    first(top / "service" / "inner", 2**63 - 4096, 5 * MIB)
    (proc / "self" / "cgroup").write_text("4:memory:/service/inner\n1:cpu:/\n0::/\n")
    (proc / "self" / "mountinfo").write_text(f"1 2 0:3 / {top} rw - cgroup cgroup rw,memory\n")
    assert limited_groups() == [top / "service"], "a limit above holds as well"
    assert memory_percent() == pytest.approx(90.0)


def test_the_own_limit_counts_in_the_second_version_and_in_a_container(proc: Path, tmp_path: Path) -> None:
    top = tmp_path / "unified"
    second(top, str(1000 * MIB), 100 * MIB)
    second(top / "inner", str(500 * MIB), 300 * MIB, inactive=50 * MIB)
    (proc / "self" / "cgroup").write_text("0::/docker/x/inner\n")
    (proc / "self" / "mountinfo").write_text(f"1 2 0:3 /docker/x {top} rw - cgroup2 cgroup2 rw\n")
    assert limited_groups() == [top / "inner", top]
    assert [round(group_percent(group)) for group in limited_groups()] == [50, 10]
    assert memory_percent() == pytest.approx(50.0)


def test_a_machine_that_runs_short_counts_whatever_the_own_limit_leaves(proc: Path, tmp_path: Path) -> None:
    top = tmp_path / "unified"
    second(top, str(1000 * MIB), 100 * MIB)
    (proc / "self" / "cgroup").write_text("0::/\n")
    (proc / "self" / "mountinfo").write_text(f"1 2 0:3 / {top} rw - cgroup2 cgroup2 rw\n")
    (proc / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 100 kB\n")
    assert memory_percent() == pytest.approx(90.0)


def test_the_real_machine_is_read() -> None:
    assert 0 < memory_percent() <= 100
