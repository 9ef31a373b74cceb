"""In the terminal: progress that fits, every claim as it is written, the verdict, how to repeat what did not pass."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.console import Progress, cause, table
from harness.model import Finding, Verdict


def shown(verdict: Verdict, because: str = "a reason") -> str:
    finding = Finding(check="x", verdict=verdict, claim="a claim", because=because)
    return table([finding], verdict, Path("runs/one"), "locust --seed 7")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_comes_with_its_exit_code_and_its_report(verdict: Verdict) -> None:
    text = shown(verdict)
    assert f"verdict: {verdict.value} (exit {verdict.exit_code})" in text
    assert "a claim" in text and "a reason" in text and "runs/one/report.html" in text
    assert ("repeat: locust --seed 7" in text) is (verdict is not Verdict.PASS)


@pytest.mark.parametrize("words", ["[Errno 2] no such file", "[/nothing] was opened", "[red]not red[/red]"])
def test_what_was_said_is_shown_as_it_was_said(words: str) -> None:
    assert words in shown(Verdict.FAIL, words)


def test_a_log_has_no_colours() -> None:
    assert "\x1b" not in shown(Verdict.FAIL)


def test_the_cause_is_said_last_where_it_is_seen() -> None:
    def one(check: str, verdict: Verdict, because: str) -> Finding:
        return Finding(check=check, verdict=verdict, claim=check.upper(), because=because)

    effect = one("metric", Verdict.INCONCLUSIVE, "not measured")
    root = one("baseline_steady", Verdict.INCONCLUSIVE, "never steady")
    red = [one("safeguard_engaged", Verdict.FAIL, "did not engage"), one("playbook_ran", Verdict.FAIL, "not started")]
    assert cause([effect, root], Verdict.INCONCLUSIVE) == "BASELINE_STEADY: never steady (and 1 more)"
    assert cause([root, *red], Verdict.FAIL) == "SAFEGUARD_ENGAGED: did not engage (and 1 more)"
    assert cause([], Verdict.INCONCLUSIVE) == "nothing was judged"


def progress(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, columns: int = 80, phase: str = "faults"
) -> Callable[[float], str]:
    """What is written when progress is shown at a time, of a run with much to tell."""
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", str(columns))
    now = [0.0]
    run: Any = SimpleNamespace(
        clock=SimpleNamespace(now_s=lambda: now[0]),
        phase=phase,
        phase_at_s=0.0,
        plan=SimpleNamespace(faults_end_s=20.0, recovery_limit_s=60.0, slo=SimpleNamespace(baseline_s=5.0)),
        conductor=SimpleNamespace(active=("acl_flood", "cpu_spike", "kernel_pause")),
        watcher=SimpleNamespace(engaged={("kernel_watchdog", "memory_fusion"), ("resource_pressure_monitor", "cpu")}),
    )
    shown = Progress(run)

    def at(now_s: float) -> str:
        now[0] = now_s
        screen.seek(0)
        screen.truncate()
        shown.show()
        return screen.getvalue()

    return at


@pytest.mark.parametrize("columns", [30, 60, 80, 200])
def test_progress_in_a_terminal_is_one_line_that_is_renewed(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    at = progress(monkeypatch, True, columns)
    half = at(10.0)
    assert half.startswith("\r\x1b[Kfaults   [") and "\n" not in half
    assert len(half.removeprefix("\r\x1b[K")) < columns, "a line that is wrapped cannot be taken back"
    assert 0 <= half.count(".", 0, half.index("]")) - half.count("#") <= 1 and at(10.2) != half
    assert columns < 80 or "acl_flood, cpu_spike, ke" in half


def test_progress_in_a_log_is_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    at = progress(monkeypatch, False, 30)
    first = at(0.0)
    assert first.startswith("[   0.0 s] faults   [....") and first.count("\n") == 1 and "\x1b" not in first
    assert "kernel_watchdog engaged for memory_fusion; resource_pressure_monitor engaged for cpu" in first
    assert at(5.0) == at(9.9) == "" and at(10.0).startswith("[  10.0 s] faults   [####")


def test_a_run_that_is_over_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress(monkeypatch, False, phase="done")(1.0) == "[   1.0 s] done     the load stops, then it is judged\n"
