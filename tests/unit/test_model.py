"""The nouns: how a magnitude is said, and in which order what did not pass is told."""

from __future__ import annotations

import pytest

from harness.model import ROOTS, Finding, Magnitude, Verdict, not_passed


@pytest.mark.parametrize(
    ("name", "value", "unit", "words"),
    [
        ("cpu", 90.0, "%", "90 %"),
        ("rate", 1000.0, "msg/s", "1000 msg/s"),
        ("messages", 5000.0, "", "5000 messages"),
        ("paused", 1.0, "", "paused"),
        ("processes", 1.0, "processes", "1 processes"),
    ],
)
def test_a_magnitude_is_said_as_a_person_says_it(name: str, value: float, unit: str, words: str) -> None:
    assert Magnitude(name=name, value=value, unit=unit, tolerance=0.0).words == words


def test_what_did_not_pass_is_told_worst_first_and_causes_first() -> None:
    def one(check: str, verdict: Verdict, group: str = "safeguard") -> Finding:
        return Finding(check=check, verdict=verdict, claim=check, because="", group=group)

    unsure = [one(check, Verdict.INCONCLUSIVE, "validity") for check in ROOTS]
    later = one("generator_healthy", Verdict.INCONCLUSIVE, "validity")
    last, absent = one("metric", Verdict.INCONCLUSIVE), one("metric", Verdict.NOT_APPLICABLE)
    failed, good = one("safeguard_engaged", Verdict.FAIL), one("restarted", Verdict.PASS)
    mixed = [absent, last, good, later, *reversed(unsure), failed]
    assert not_passed(mixed) == [failed, *unsure, later, last, absent]
