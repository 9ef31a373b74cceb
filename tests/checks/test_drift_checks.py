"""A model that drifts: who answered clients meanwhile, how surely, and whether people were told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.model import Kind, Magnitude, Step, Verdict
from tests.drafts import BASELINE, INJECTED, Draft, healthy

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
MODEL, STEP = "upstream", "model_degradation"
SWITCHED, ENDED, BACK = INJECTED + 4.0, INJECTED + 15.0, INJECTED + 20.0
END = ENDED + 40.0
Change = Callable[[Draft], Any]


def story() -> Draft:
    """A model is degraded, another stands in for it, and it comes back."""
    draft = healthy()
    asked = Magnitude(name="confidence lost", value=0.4, unit="points", tolerance=0.02)
    step = Step(
        step_id=STEP,
        type=STEP,
        target=MODEL,
        params={},
        at_s=0.0,
        duration_s=15.0,
        asked_duration_s=150.0,
        subject=MODEL,
        asked=asked,
    )
    coverage = {STEP: (("drift_detector", "model_fallback"),)}
    draft.plan = replace(draft.plan, steps=(step,), coverage=coverage, claims=())
    draft.add(BASELINE + 0.02, Kind.FAULT_PLANNED, STEP, "conductor", type=STEP)
    draft.add(INJECTED, Kind.FAULT_INJECTED, STEP, "conductor")
    draft.add(ENDED, Kind.FAULT_ENDED, STEP, "conductor", ended_by="plan", because="its time is up")
    draft.add(SWITCHED - 0.2, Kind.ALERT_RAISED, "drift_detector", "control_plane", subject=MODEL)
    for half in range(int(END * 2)):
        at_s = half / 2
        degraded, other = INJECTED < at_s < SWITCHED, SWITCHED <= at_s < BACK
        sure = 0.55 if degraded else 0.9 if other else 0.95
        draft.signals.append((at_s, "model_first", MODEL, float(not other)))
        draft.signals.append((at_s, "model_confidence", MODEL, sure))
        draft.signals.append((at_s, "model_label_same", MODEL, float(not degraded)))
    return draft


def set_to(name: str, value: float, since_s: float, until_s: float = END) -> Change:
    def act(draft: Draft) -> None:
        draft.signals = [
            (a, n, s, value if n == name and since_s <= a <= until_s else v) for a, n, s, v in draft.signals
        ]

    return act


def no_signal(draft: Draft) -> None:
    draft.silence("model_first", MODEL)


def not_injected(draft: Draft) -> None:
    draft.drop(Kind.FAULT_INJECTED, STEP)


def another_fault(draft: Draft) -> None:
    draft.plan = replace(draft.plan, steps=tuple(replace(one, type="cpu_spike") for one in draft.plan.steps))


def silent(draft: Draft) -> None:
    draft.drop(Kind.ALERT_RAISED, "drift_detector")


def alert(at_s: float, subject: str = MODEL, safeguard: str = "drift_detector") -> Change:
    def act(draft: Draft) -> None:
        silent(draft)
        draft.add(at_s, Kind.ALERT_RAISED, safeguard, "control_plane", subject=subject)

    return act


def uncovered(draft: Draft) -> None:
    draft.plan = replace(draft.plan, coverage={})


def same(draft: Draft) -> None:
    """As it goes well."""


FALLBACK: list[tuple[Change, Verdict, str]] = [
    (same, PASS, "stood in for upstream after 4.4 s, sure by 0.90 (0.95 before)"),
    (set_to("model_first", 1.0, 0), FAIL, "no other model answered clients within 15 s"),
    (set_to("model_first", 1.0, 0, ENDED), FAIL, "no other model answered clients within 15 s"),
    (set_to("model_first", 0.0, 2, 3), FAIL, "before it was degraded"),
    (set_to("model_first", 1.0, SWITCHED + 3, SWITCHED + 4), FAIL, "again while it was still degraded"),
    (set_to("model_confidence", 0.55, SWITCHED, BACK), FAIL, "sure by 0.55, and 0.95 was usual"),
    (set_to("model_label_same", 0.0, SWITCHED, BACK), FAIL, "said another thing"),
    (set_to("model_first", 0.0, BACK), FAIL, "was not taken into use again"),
    (set_to("model_first", 0.0, BACK, ENDED + 31), FAIL, "was not taken into use again"),
    (set_to("model_first", 0.0, END - 1), FAIL, "was not taken into use again"),
    (set_to("model_confidence", 0.5, BACK), FAIL, "afterwards"),
    (no_signal, UNSURE, "too few clients"),
    (not_injected, UNSURE, "was not degraded"),
    (another_fault, UNSURE, "no fault of this plan"),
]
ALERTS: list[tuple[Change, Verdict, str]] = [
    (same, PASS, "drift_detector for model_degradation after 3.8 s"),
    (silent, FAIL, "no alert was raised for model_degradation"),
    (alert(INJECTED - 1), FAIL, "no alert was raised"),
    (alert(ENDED + 31), FAIL, "no alert was raised"),
    (alert(SWITCHED, subject="another"), FAIL, "no alert was raised"),
    (alert(SWITCHED, safeguard="rate_limiter"), FAIL, "no alert was raised"),
    (not_injected, UNSURE, "not every fault was injected"),
    (uncovered, UNSURE, "nobody knows whose alert"),
]
CASES = [("fallback_model_activated", *one) for one in FALLBACK] + [("alerts_raised", *one) for one in ALERTS]


@pytest.mark.parametrize(("check", "act", "verdict", "words"), CASES)
def test_what_it_says(tmp_path: Path, check: str, act: Change, verdict: Verdict, words: str) -> None:
    draft = story()
    act(draft)
    found = catalog.checks()[check](claim="x").check(draft.record(tmp_path))
    assert (found.verdict, words in found.because) == (verdict, True), found.because
    assert found.evidence or verdict is UNSURE
