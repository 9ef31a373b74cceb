"""The findings in the terminal: every claim as it is written, the verdict, and how to repeat what did not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.console import cause, table
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
