"""A model's answers made worse on their way: what clients get, what is measured, and that nothing of it stays."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.helpers.degrader import LENGTH, Degrader
from faults.model_degradation import ModelDegradation
from harness.contracts import Target, TargetLacks
from harness.guardian_link import GuardianLink
from harness.target import load_target
from harness.undo import heal
from tests.contract.lines import LinkTarget, _dial, linked
from tests.contract.test_link_faults import Live, first_state
from tests.contract.test_link_faults_twin import live
from tests.processes import wait_for
from tests.twin.client import Client
from tests.twin.test_gateway_guards import running

FAULT = ModelDegradation(model_id="memory", confidence_drop=0.4, duration_seconds=15)
LABELS = ("greeting", "question", "request")


def framed(content: Any) -> bytes:
    body = json.dumps(content).encode()
    return LENGTH.pack(len(body)) + body


def answer(label: Any, confidence: Any) -> dict[str, Any]:
    return {"id": 7, "result": {"label": label, "confidence": confidence, "more": [1]}}


def passed(degrader: Degrader, content: Any) -> Any:
    message = degrader.degrade(framed(content))
    assert LENGTH.unpack(message[: LENGTH.size])[0] == len(message) - LENGTH.size
    return json.loads(message[LENGTH.size :])


def degrader(seed: int = 1) -> Degrader:
    return Degrader(0.4, "result.label", "result.confidence", seed)


def test_labels_are_by_chance_and_confidence_falls() -> None:
    one = degrader()
    assert passed(one, answer("greeting", 0.9)) == answer("greeting", 0.5), "there is no other label yet"
    got = [passed(one, answer(LABELS[n % 3], 0.9))["result"] for n in range(600)]
    counts = Counter(one["label"] for one in got)
    assert set(counts) == set(LABELS) and min(counts.values()) > 150 and {one["confidence"] for one in got} == {0.5}
    row = one.row()
    assert row["confidence_drop"] == pytest.approx(0.4) and row["changed_percent"] == 100.0
    assert 60 < row["relabelled_percent"] < 73 and row["answers_seen"] == 601 and one.row() == {}
    assert passed(one, answer("request", 0.1))["result"]["confidence"] == 0.0
    assert one.row()["confidence_drop"] == pytest.approx(0.1), "what cannot fall so far is measured as it is"


def test_the_seed_decides() -> None:
    first, again, other = (
        [passed(one, answer(LABELS[n % 3], 0.9))["result"]["label"] for n in range(60)]
        for one in (degrader(1), degrader(1), degrader(2))
    )
    assert first == again != other


@pytest.mark.parametrize(
    "content",
    [
        {"id": 1, "status": 404, "error": "x", "detail": {}},
        {"id": 1, "result": {}},
        {"id": 1, "result": [1]},
        {"result": {"label": 3, "confidence": 0.9}},
        answer("question", True),
        answer("question", "0.9"),
        [1],
        None,
    ],
)
def test_what_is_no_answer_of_a_model_passes_untouched(content: Any) -> None:
    one = degrader()
    assert one.degrade(framed(content)) == framed(content) and one.row() == {}
    assert one.degrade(b"\0\0\0\1{") == b"\0\0\0\1{"


@pytest.mark.parametrize("drop", [0.0, -0.1, 1.5])
def test_a_drop_that_is_none_is_refused(drop: float) -> None:
    with pytest.raises(ValueError, match="confidence_drop: above 0 and at most 1"):
        ModelDegradation(model_id="memory", confidence_drop=drop, duration_seconds=15)


# On a line, and on the embedded Grace


@pytest.fixture
def guardian(tmp_path: Path) -> Iterator[GuardianLink]:
    folder = tmp_path / "run"
    folder.mkdir()
    one = GuardianLink(folder, f"drift-{os.getpid()}-{tmp_path.name}")
    yield one
    one.close()


def ask(target: LinkTarget, label: str) -> dict[str, Any]:
    """Who is asked says the same again, so the question is an answer."""
    with _dial(target.address_file.read_text().strip()) as line, line.makefile("rwb") as file:
        file.write(framed(answer(label, 0.9)))
        file.flush()
        told: dict[str, Any] = json.loads(file.read(LENGTH.unpack(file.read(LENGTH.size))[0]))["result"]
        return told


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_prepared_injected_and_healed_twice(tmp_path: Path, guardian: GuardianLink, kind: str) -> None:
    with linked(tmp_path, kind) as target:
        before, whole = first_state(target), answer("question", 0.9)["result"]
        unused = FAULT.prepare(target)  # type: ignore[arg-type]
        assert first_state(target) == before and ask(target, "question") == whole
        assert all(result["verified"] for result in heal(unused)) and first_state(target) == before
        one = Live(FAULT, target, guardian)
        assert one.sample().achieved is None, "no answer, no measure"
        got = [ask(target, LABELS[n % 3]) for n in range(30)]
        assert {row["confidence"] for row in got} == {0.5} and len({row["label"] for row in got[6:]}) == 3
        assert sum(row["label"] != LABELS[n % 3] for n, row in enumerate(got)) >= 10
        sample = wait_for(lambda: (s := one.sample()).achieved is not None and s, 4, "a measure")
        assert sample.achieved == pytest.approx(0.4) and sample.achieved >= FAULT.asked.floor
        assert sample.detail["changed_percent"] == 100.0
        for _ in range(2):
            one.heal()
            assert first_state(target) == before and ask(target, "question") == whole
    assert FAULT.subject == FAULT.target == "memory"


@pytest.mark.slow
def test_a_line_whose_messages_are_not_known_is_refused(tmp_path: Path) -> None:
    with linked(tmp_path, framing="") as target, pytest.raises(TargetLacks, match="model_degradation: the framing"):
        FAULT.prepare(target)  # type: ignore[arg-type]


def say(client: Client, message: str = "what is the status of the queue") -> dict[str, Any]:
    status, told = client.ask("POST", "/api/chat", {"message": message, "user": "u"})[:2]
    assert status == 200, told
    return told  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_drift_is_seen_another_model_stands_in_and_makes_way(tmp_path: Path) -> None:
    folder = tmp_path / "twin"
    folder.mkdir()
    with running(folder, off="resource_pressure_monitor") as client:
        target: Target = load_target(folder / "target.yaml")
        first = say(client)
        assert first["model"] == "upstream_model" and first["intent"] == "question" and first["confidence"] > 0.9
        fault = ModelDegradation(model_id="upstream_model", confidence_drop=0.4, duration_seconds=30)
        with live(fault, target, tmp_path) as sample:
            wait_for(lambda: say(client)["confidence"] < 0.7, 3, "a degraded answer")
            assert say(client)["model"] == "upstream_model"
            wait_for(lambda: client.engaged("drift_detector") == ["upstream_model"], 15, "the engagement")
            wait_for(lambda: say(client)["model"] == "fallback", 5, "the fallback")
            during = say(client)
            assert during["intent"] == "question" and during["confidence"] > 0.9
            assert sample().achieved == pytest.approx(0.4), "it is asked beside the conversation"
            alerts = [one["payload"] for one in client.events("security.alert")]
            assert [(one["kind"], one["subject"]) for one in alerts] == [("drift_detector", "upstream_model")]
        wait_for(lambda: client.engaged("drift_detector") == [], 20, "the release")
        assert say(client)["model"] == "upstream_model" and say(client)["confidence"] > 0.9
        assert len(client.incidents("drift_detector")) == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_model_that_has_ended_is_replaced_by_its_owner_and_is_no_drift(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        assert say(client)["model"] == "upstream_model"
        pid_file = tmp_path / "run" / "upstream_model.pid"
        old = int(pid_file.read_text())
        os.kill(old, 9)
        wait_for(lambda: say(client)["model"] == "fallback", 3, "an answer without it")
        wait_for(lambda: int(pid_file.read_text()) != old and say(client)["model"] == "upstream_model", 10)
        assert client.incidents("drift_detector") == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_who_sends_nonsense_is_not_taken_for_drift(tmp_path: Path) -> None:
    with running(tmp_path, off="rate_limiter") as client:
        for n in range(600):
            say(client, f"' OR {n}=1; hello DROP TABLE hello <script>")
        assert client.incidents("drift_detector") == []
