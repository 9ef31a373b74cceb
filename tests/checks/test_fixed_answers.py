"""answers_agree: models and routes answer a fixed question the same throughout, but for what a fault has damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.model import Kind, Verdict
from tests.drafts import END, INJECTED
from tests.trails import Trail, found, trail

CHECK, CLASSIFIER, CHAT, KNOWLEDGE = "answers_agree", "classifier_model.pkl", "conversation", "GET /api/knowledge"
Break = Callable[[Trail], Any]
HALVES = [number / 2 for number in range(int(END * 2))]


def heard(signal: str, subject: str, *wrong: float) -> Break:
    """Looks at an answer, two in each second; those at *wrong* found another one."""
    return lambda made: made.draft.signals.extend((at_s, signal, subject, float(at_s not in wrong)) for at_s in HALVES)


def classifier(*wrong: float, silent: tuple[float, ...] = ()) -> Break:
    def change(made: Trail) -> None:
        heard("model_answers_same", CLASSIFIER, *wrong, *silent)(made)
        heard("model_answered", CLASSIFIER, *silent)(made)

    return change


def chat(*wrong: float, others: tuple[float, ...] = ()) -> Break:
    def change(made: Trail) -> None:
        heard("model_label_same", CHAT, *wrong, *others)(made)
        heard("model_first", CHAT, *others)(made)

    return change


def earlier(status: int) -> Break:
    """A run of an earlier version, which told the status of a change alone."""

    def change(made: Trail) -> None:
        heard("model_answers_same", CLASSIFIER, 20.0, 20.5)(made)
        about = {"what": "model_answer_changed", "status": status, "said": "x"}
        made.draft.add(20.0, Kind.SYMPTOM_SEEN, CLASSIFIER, "model_answers", **about)

    return change


def struck(what: Break, **step: Any) -> Break:
    """The load on the CPU is another fault."""

    def change(made: Trail) -> None:
        what(made)
        plan = made.draft.plan
        steps = tuple(replace(one, **step) if one.step_id == "cpu_spike" else one for one in plan.steps)
        made.draft.plan = replace(plan, steps=steps)

    return change


def damaged_files(made: Trail) -> None:
    heard("route_answer", KNOWLEDGE, 20.0)(made)
    made.draft.change(Kind.FAULT_INJECTED, "cpu_spike", files=[{"path": "/x/state.json"}])


ROWS: dict[str, tuple[Break, Verdict, str]] = {
    "the classifier is steady": (classifier(), Verdict.PASS, "shown"),
    "it says something else": (classifier(20.0), Verdict.FAIL, "model_differs"),
    "it is silent": (classifier(silent=(20.0, 20.5)), Verdict.PASS, "shown"),
    "it says something else in an earlier version": (earlier(200), Verdict.FAIL, "model_differs"),
    "it was silent in an earlier version": (earlier(504), Verdict.PASS, "shown"),
    "its file is damaged": (
        struck(classifier(20.0), type="model_corruption", target="models", subject=CLASSIFIER),
        Verdict.PASS,
        "shown",
    ),
    "its file is damaged later": (
        struck(classifier(INJECTED - 1.1, 7.0), type="model_corruption", target="models", subject=CLASSIFIER),
        Verdict.FAIL,
        "model_differs",
    ),
    "files are damaged": (damaged_files, Verdict.PASS, "shown"),
    "it never said the same": (classifier(*HALVES[1:]), Verdict.INCONCLUSIVE, "answers_vary"),
    "the chat's model says something else": (chat(20.0), Verdict.FAIL, "model_differs"),
    "another model stands in": (chat(others=(20.0,)), Verdict.PASS, "shown"),
    "the chat's model is degraded": (
        struck(chat(20.0), type="model_degradation", target=CHAT, subject=CHAT),
        Verdict.PASS,
        "shown",
    ),
    "knowledge is found": (heard("route_answer", KNOWLEDGE), Verdict.PASS, "shown"),
    "nothing is found under a fault": (heard("route_answer", KNOWLEDGE, 12.0, 12.5), Verdict.FAIL, "route_differs"),
    "nothing was ever found": (heard("route_answer", KNOWLEDGE, *HALVES), Verdict.INCONCLUSIVE, "answers_vary"),
}


@pytest.mark.parametrize("name", ROWS)
def test_fixed_questions(tmp_path: Path, name: str) -> None:
    broken, verdict, code = ROWS[name]
    made = trail()
    broken(made)
    one = found(CHECK, made.record(tmp_path))
    assert (one.verdict, one.code) == (verdict, f"{CHECK}.{code}"), one.because
    assert verdict is Verdict.PASS or any(place.startswith(("signals.csv:", "timeline:")) for place in one.evidence)
