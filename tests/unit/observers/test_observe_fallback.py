"""Which model answers a client, what it says and how sure it is: model_fallback, on true, hostile and no answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.model import Kind, Reading
from harness.observers.model_answers import ModelAnswers
from harness.observers.model_fallback import ModelFallback
from tests.fake_target import Answer, FakeServer, FakeView, as_json, edges, samples, serving, target

FIELDS = {"model": "by", "label": "said.label", "confidence": "said.sure"}
MODELS: dict[str, Any] = {
    "upstream": {"method": "POST", "path": "/chat", "body": {"message": "x"}, "fields": FIELDS},
    "a.pkl": {"method": "POST", "path": "/classify"},
}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


@pytest.fixture
def asking(server: FakeServer, tmp_path: Path) -> Iterator[tuple[ModelFallback, FakeView]]:
    view = FakeView(target(tmp_path, base_url=server.base_url, models=MODELS))
    (observer,) = ModelFallback.instances(view.target)
    yield observer, view
    observer.close()


def answer(model: Any = "first", label: Any = "question", sure: Any = 0.9) -> Answer:
    return as_json({"turn": 7, "by": model, "said": {"label": label, "sure": sure}})


def test_another_model_is_an_edge_and_so_is_the_first_again(
    server: FakeServer, asking: tuple[ModelFallback, FakeView]
) -> None:
    observer, view = asking
    told: list[list[Reading]] = []
    for one in (answer(), answer(sure=0.5, label="x"), answer("other", sure=1), answer("other"), answer()):
        server.answers["/chat"] = one
        told.append(list(observer.observe(view)))
    assert [samples(one, "model_first")["upstream"] for one in told] == [1, 1, 0, 0, 1]
    assert [samples(one, "model_confidence")["upstream"] for one in told] == [0.9, 0.5, 1, 0.9, 0.9]
    assert [samples(one, "model_label_same")["upstream"] for one in told] == [1, 0, 1, 1, 1]
    seen = [(edge.subject, edge.detail["to"]) for one in told for edge in edges(one, Kind.SYMPTOM_SEEN)]
    assert seen == [("upstream", "other"), ("upstream", "first")]


@pytest.mark.parametrize(
    "bad",
    [
        Answer(status=503),
        Answer(body=b"<html>"),
        Answer(body=b"[" * 100_000),
        as_json([1]),
        answer(model=""),
        answer(model=3),
        answer(label=None),
        answer(sure="0.9"),
        answer(sure=True),
    ],
)
def test_what_is_no_answer_is_no_sample(
    server: FakeServer, asking: tuple[ModelFallback, FakeView], bad: Answer
) -> None:
    observer, view = asking
    server.answers["/chat"] = answer()
    whole = list(observer.observe(view))
    assert len(whole) == 4 and samples(whole, "model_answered") == {observer.model: 1.0}
    server.answers["/chat"] = bad
    assert [(one.name, one.value) for one in observer.observe(view)] == [("model_answered", 0.0)]
    observer.client.port = 1  # nobody there
    observer.client.close()
    assert [(one.name, one.value) for one in observer.observe(view)] == [("model_answered", 0.0)]


def test_each_looks_at_its_own(asking: tuple[ModelFallback, FakeView]) -> None:
    whole = asking[1].target
    assert [one.model for one in ModelAnswers.instances(whole)] == ["a.pkl"]
    assert ModelAnswers.missing(whole) == ModelFallback.missing(whole) == ""


def test_fields_are_all_or_none(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"models\.m\.fields\.label is missing"):
        target(tmp_path, models={"m": {"method": "GET", "path": "/m", "fields": {"model": "a", "confidence": "b"}}})
