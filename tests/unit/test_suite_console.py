"""What is said of a suite while it runs and at its end, and which exit code it ends with."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from harness import suite_console
from harness.embedded import TwinFailed
from harness.suite_check import Asked, SuiteRefused
from harness.suite_console import Printer, left_s, minutes, run_to_exit_code
from harness.suite_state import ENDED, Row, State

LONG = ", and so on" * 30


def row(name: str, **more: Any) -> Row:
    known = {"scenario_id": name, "name": name, "category": "layer2", "severity": 3, "word": name, "seed": 1}
    return Row(**{**known, "expected_s": 30.0, **more})


def ended(name: str, verdict: str, took_s: float = 60.0) -> Row:
    return row(name, state=ENDED, verdict=verdict, because=f"because of [{name}]", took_s=took_s)


def state(*rows: Row, **more: Any) -> State:
    return State(asked=Asked(scenarios=("all",), out=Path("runs"), seed=7), stamp="now", rows=rows, **more)


def test_the_time_left_learns_from_what_has_run() -> None:
    assert left_s(state(row("a"), row("b")).rows) == 66.0
    slow = state(ended("a", "PASS", took_s=60.0), row("b"), row("c"))
    assert left_s(slow.rows) == 126.0
    assert left_s(slow.rows, 1, 20.0) == 40.0 + 63.0
    assert left_s(slow.rows, 2, 500.0) == 63.0 + 5.0, "late, and not said to be over"
    assert [minutes(12.3), minutes(600)] == ["12 s", "10 min"]


def test_the_end_says_every_verdict_the_counts_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().over(state(ended("a", "PASS"), ended("b", "FAIL"), ended("c", "NOT_APPLICABLE"), row("d"), cut="why"))
    said = capsys.readouterr().out
    assert "because of [b]" in said and "passed 1 of 4 (25.0 %), 1 failed, 1 inconclusive, 1 not applicable" in said
    assert "verdict: FAIL (exit 1)" in said and "cut off: why" in said and "not run" in said
    assert "go on: grace-chaos run --resume runs/chaos_report_now.json" in said
    Printer().over(state(ended("a", "PASS")))
    assert "go on" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["PASS"], 0),
        (["PASS", "NOT_APPLICABLE"], 4),
        (["INCONCLUSIVE", "NOT_APPLICABLE"], 3),
        (["PASS", "INCONCLUSIVE", "FAIL", "NOT_APPLICABLE"], 1),
        ([], 3),
    ],
)
def test_the_worst_decides(verdicts: list[str], code: int) -> None:
    report = state(*(ended(str(number), verdict) for number, verdict in enumerate(verdicts))).report()
    assert report["exit_code"] == code
    four = sum(report[key] for key in ("passed", "failed", "inconclusive", "not_applicable"))
    assert four == report["total_scenarios"] == len(verdicts)


def test_progress_names_the_scenario_the_time_left_and_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    printer, now = Printer(), state(ended("a", "PASS"), row("b"))
    printer.begun(now)
    printer.scenario(now, 1)
    printer.printed(now, 1, 4.0, ["MF01: a plan", f"[   1.0 s] faults   [##..]  2.0 s  cpu_spike{LONG}"])
    printer.printed(now, 1, 5.0, ["no progress"])
    printer.ended(state(ended("a", "PASS"), ended("b", "FAIL")), 1)
    said = capsys.readouterr().out
    assert "suite of 2, seed 7" in said and "1 to run" in said
    assert f"[2/2] b 4 s (suite: 56 s left) faults   [##..]  2.0 s  cpu_spike{LONG}\n" in said and "b 5 s" not in said
    assert "[2/2] b: FAIL after 60 s: because of [b]" in said


class Ends:
    """A suite that ends in one way or another."""

    def __init__(self, how: Any, known: State | None = None) -> None:
        self.how, self.known = how, known

    async def __call__(self, listener: Any) -> dict[str, Any]:
        if isinstance(self.how, Exception):
            raise self.how
        if isinstance(self.how, int):
            return {"exit_code": self.how}
        try:
            for number in self.how:
                os.kill(os.getpid(), number)
            await asyncio.sleep(30)
        finally:
            if self.known:
                listener.over(self.known)
        raise AssertionError("it was not cancelled")


@pytest.mark.parametrize("code", [0, 1, 3, 4])
def test_the_exit_code_is_the_reports(code: int) -> None:
    assert run_to_exit_code(Ends(code)) == code


def test_a_refusal_and_a_crash_are_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_to_exit_code(Ends(SuiteRefused("no such word"))) == 2
    assert capsys.readouterr().err == "no such word\n"
    assert run_to_exit_code(Ends(TwinFailed("it has no room: 3 MB left"))) == 3
    assert capsys.readouterr().err == "it has no room: 3 MB left\n"
    assert run_to_exit_code(Ends(ZeroDivisionError("a bug"))) == 3, "1 would mean FAIL"
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_inconclusive_and_a_second_one_is_answered(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    passed = state(ended("a", "PASS"), row("b"))
    assert run_to_exit_code(Ends([number, number], passed)) == 3
    assert "stopping" in capsys.readouterr().out
    assert run_to_exit_code(Ends([number], state(ended("a", "FAIL"), row("b")))) == 1, "what is known stays known"
    assert run_to_exit_code(Ends([number])) == 3, "before anything was known"
    assert suite_console.CRASHED == 3
