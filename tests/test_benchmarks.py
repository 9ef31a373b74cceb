"""What the benchmarks judge can be missed, and the witness of the message contest counts what the bus refused."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import fidelity
from benchmarks.fidelity import Contest, cpu_contests, disk_contest, message_contest, misses, table
from tests.processes import wait_for

Rounds = list[tuple[float, float]]


def with_results(contest: Contest, ours: Rounds, theirs: Rounds) -> Contest:
    peer = next(name for name in contest.tools if name != "ours")
    return replace(contest, results={"ours": ours, peer: theirs})


@pytest.mark.parametrize(
    ("ours", "theirs", "missed"),
    [
        ([(75.0, 0.1), (76.9, 0.2), (90.0, 9.0)], [(75.0, 0.5)] * 3, []),  # medians: one bad round is no miss
        ([(77.1, 0.1)], [(75.0, 0.5)], ["the error is +2.10 %, at most ± 2"]),
        ([(75.5, 0.5)], [(75.0, 0.5)], ["the sd is 0.500, not below the 0.500 of stress-ng"]),
        ([(float("nan"), 0.1)], [(75.0, 0.5)], ["the error is +nan %, at most ± 2"]),
    ],
)
def test_a_cpu_row_is_held_or_missed(ours: Rounds, theirs: Rounds, missed: list[str]) -> None:
    contest = next(one for one in cpu_contests() if one.name == "CPU 75 %")
    assert misses(with_results(contest, ours, theirs)) == missed


@pytest.mark.parametrize(("rate", "held"), [(0.989, False), (0.991, True), (1.009, True), (1.011, False)])
def test_a_rate_is_held_within_a_hundredth(tmp_path: Path, rate: float, held: bool) -> None:
    for contest in (disk_contest(tmp_path), message_contest()):
        assert (misses(with_results(contest, [(contest.asked * rate, 9.0)], [(contest.asked, 1.0)])) == []) is held


def test_the_table_marks_what_was_missed() -> None:
    good = with_results(message_contest(), [(1000.0, 2.0)], [(870.0, 4.0)])
    bad = with_results(message_contest(), [(870.0, 2.0)], [(1000.0, 4.0)])
    first, second = [line for line in table([good, bad], 1).splitlines() if line.startswith("| forbidden")]
    assert "MISSED" not in first and "sleep loop | 870.00 | -130.00 | 4.000 | 2.0 | error ± 10 |" in first
    assert "**MISSED**; the error is -130.00 msg/s, at most ± 10" in second


@pytest.mark.parametrize(("rate", "code"), [(1000.0, 0), (870.0, 1)])
def test_a_miss_is_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, code: int) -> None:
    """On paper: the figures are given, all else is as in a benchmark."""

    def figures(contest: Contest, folder: Path) -> None:
        for name in contest.tools:
            contest.results.setdefault(name, []).append((rate, 1.0))

    monkeypatch.setattr(fidelity, "round_of", figures)
    words = ["fidelity", "--only", "message", "--rounds", "2", "--out", str(tmp_path / "table.md")]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(tmp_path)
    assert fidelity.main() == code
    assert ("MISSED" in (tmp_path / "table.md").read_text()) is bool(code)
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"], "its folder is gone"


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["ours", "sleep loop"])
def test_the_bus_itself_counts_what_a_flooder_does(tmp_path: Path, tool: str) -> None:
    contest = message_contest()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contest.tools[tool](tmp_path))
        wait_for(lambda: contest.witness() > 1000, 20, f"a thousand refusals of {tool}")
