"""Reading a target's state: knowledge, files, snapshot keys, answers; what cannot be read is told, and bounded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from harness import target_state
from harness.contracts import BehaviourQuestion, LedgerPage, Question
from harness.states import State, differences, read_state
from harness.target_state import counts_of, give_up, questions_of, take_state, without
from tests.drafts import PaperTarget
from tests.fake_target import Answer, FakeServer, as_json, serving

PAGE = LedgerPage(url="/all?since={next}", rows="rows")
PIECES = [{"id": f"k{n}", "category": "c", "content": f"text {n}", "used": n, "trust": 0.5} for n in range(5)]
ASKED = BehaviourQuestion(name="deploy", method="POST", path="/check", body={"a": 1}, ignore=("id", "rows.at"))
COUNTED = BehaviourQuestion(name="found", method="GET", path="/found", counts={"index.entries": "knowledge"})


def pages(server: FakeServer, rows: list[dict[str, Any]], size: int = 2) -> None:
    def page(path: str) -> Answer:
        since = int(path.partition("=")[2])
        return as_json({"rows": rows[since : since + size], "next": since + size})

    server.answers["/all"] = page


def taken(folder: Path, server: FakeServer, name: str = "before", **more: Any) -> State:
    target = PaperTarget(**{"base_url": server.base_url, "behaviour": (ASKED,), **more})
    take_state(target, folder, name, pause=lambda _: None)
    torn: list[str] = []
    found = read_state(folder, name, torn)
    assert found is not None and torn == []
    return found


def problems(state: State) -> dict[str, str]:
    return {row.text("part"): row.text("because") for row in state.of("problem")}


def test_knowledge_is_read_to_its_end_without_what_changes(tmp_path: Path) -> None:
    with serving() as server:
        pages(server, PIECES)
        server.answers["/found"] = as_json({"index": {"entries": 5}, "rows": []})
        more: dict[str, Any] = {"ledgers": {"knowledge": PAGE}, "behaviour": (COUNTED,)}
        before = taken(tmp_path, server, **more)
        pages(server, [{**one, "used": 9, "trust": 0.7} for one in PIECES[:4]] + [{**PIECES[4], "content": "other"}])
        after = taken(tmp_path, server, "after", **more)
    assert [row.text("id") for row in before.of("knowledge")] == ["k0", "k1", "k2", "k3", "k4"]
    assert before.of("count")[0].fields | {"least": 5, "most": 5, "rows": 5} == dict(before.of("count")[0].fields)
    assert before.of("answer")[0].fields["answer"] == {"index": {}, "rows": []}
    assert [one.code for one in differences(before, after)] == ["knowledge_changed"]
    assert before.head.fields["found"] == {"knowledge": 5, "count": 1, "answer": 1}


def test_a_count_that_does_not_fit_the_ledger_is_seen(tmp_path: Path) -> None:
    with serving() as server:
        pages(server, PIECES)
        server.answers["/found"] = as_json({"index": {"entries": 4}})
        more: dict[str, Any] = {"ledgers": {"knowledge": PAGE}, "behaviour": (COUNTED,)}
        state = taken(tmp_path, server, **more)
        server.answers["/found"] = as_json({"index": {}})
        lacking = taken(tmp_path, server, **more)
    assert [one.code for one in differences(state, state)] == ["count_wrong"]
    assert "index.entries is no count" in problems(lacking)["found"]


def test_knowledge_beyond_a_limit_is_not_half_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_state, "ENTRIES_MAX", 3)
    with serving() as server:
        pages(server, PIECES)
        state = taken(tmp_path, server, ledgers={"knowledge": PAGE})
        assert not state.of("knowledge") and "3 entries" in problems(state)["knowledge"]
        monkeypatch.setattr(target_state, "ENTRIES_MAX", 5)
        monkeypatch.setattr(target_state, "KNOWLEDGE_S", 0.0)
        state = taken(tmp_path, server, ledgers={"knowledge": PAGE})
    assert not state.of("knowledge") and "time was up" in problems(state)["knowledge"]


def test_knowledge_without_ids_or_pages_is_told(tmp_path: Path) -> None:
    with serving() as server:
        pages(server, [{"content": "x"}])
        assert (
            "row 1 of the ledger has no id"
            in problems(taken(tmp_path, server, ledgers={"knowledge": PAGE}))["knowledge"]
        )
        server.answers["/all"] = Answer(status=500)
        assert "answers 500" in problems(taken(tmp_path, server, ledgers={"knowledge": PAGE}))["knowledge"]


def test_answers_lack_what_is_ignored_and_are_asked_again(tmp_path: Path) -> None:
    said = [Answer(status=503), as_json({"id": 7, "decision": "allow", "rows": [{"at": 1, "n": 2}]})]
    with serving() as server:
        server.answers["/check"] = lambda _: said.pop(0) if len(said) > 1 else said[0]
        state = taken(tmp_path, server)
        assert [seen[2] for seen in server.seen] == ["127.0.0.3", "127.0.0.3"], "from the harness's own address"
        body = server.seen[-1][3]
    (row,) = state.of("answer")
    assert row.fields["answer"] == {"decision": "allow", "rows": [{"n": 2}]} and row.fields["status"] == 200
    assert row.fields["body_sha256"] == hashlib.sha256(body).hexdigest()


def test_each_question_that_was_sent_is_told_with_its_answer(tmp_path: Path) -> None:
    said = [Answer(status=503, headers=(("Retry-After", "1"),)), as_json({"decision": "allow"})]
    found: list[Any] = []
    with serving() as server:
        server.answers["/check"] = lambda _: said.pop(0)
        target = PaperTarget(base_url=server.base_url, behaviour=(ASKED,))
        take_state(target, tmp_path, "before", pause=lambda _: None, asked=found.append)
        bodies = [seen[3] for seen in server.seen]
    assert [(one["status"], one["retry_after"]) for one in found] == [(503, True), (200, False)]
    assert [one["data"] for one in found] == bodies and found[1]["content"] == b'{"decision": "allow"}'


def test_no_answer_is_a_problem_and_a_refusal_an_answer(tmp_path: Path) -> None:
    with serving() as server:
        server.answers["/check"] = Answer(status=503)
        assert problems(taken(tmp_path, server)) == {"deploy": "POST /check answers 503"}
        server.answers["/check"] = Answer(status=500, body=b"no JSON")
        row = taken(tmp_path, server).of("answer")[0]
        assert row.fields["status"] == 500 and set(row.fields["answer"]) == {"body_sha256"}
        server.answers["/check"] = as_json({"text": "x" * target_state.ANSWER_BYTES_MAX})
        assert "more than" in problems(taken(tmp_path, server))["deploy"]


def test_models_that_answer_the_same_are_asked_as_well() -> None:
    same = Question(method="POST", path="/classify", body={"text": "t"})
    target = PaperTarget(
        behaviour=(ASKED,), models={"a.pkl": same, "b": Question(method="GET", path="/b", fields={"label": "x"})}
    )
    assert [one.name for one in questions_of(target)] == ["deploy", "model a.pkl"]


def sealed(**values: Any) -> bytes:
    def seal(value: Any) -> str:
        return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    return json.dumps({**values, "checksums": {name: seal(value) for name, value in values.items()}}).encode()


def test_files_and_snapshot_keys_are_read(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "a.pkl").write_bytes(b"a")
    (models / ".hidden").write_bytes(b"x")
    (tmp_path / "c.yaml").write_bytes(b"c: 1\n")
    snapshot = tmp_path / "state.json"
    snapshot.write_bytes(sealed(index={"n": 4}, rules={"words": ["a"]}, at=7.5))
    paths = {"models": models, "config": tmp_path / "c.yaml", "state_snapshot": snapshot}
    with serving() as server:
        before = taken(tmp_path, server, paths=paths, behaviour=())
        assert [row.text("path").rpartition("/")[2] for row in before.of("file")] == ["a.pkl", "c.yaml", "state.json"]
        assert {row.text("key"): row.fields["counts"] for row in before.of("key")} == {
            "index": {"n": 4},
            "rules": None,
            "at": {"": 7.5},
        }
        snapshot.write_bytes(sealed(index={"n": 5}, rules={"words": []}, at=8.5))
        (models / "a.pkl").unlink()
        after = taken(tmp_path, server, "after", paths=paths, behaviour=())
    assert [one.code for one in differences(before, after)] == ["model_changed", "snapshot_key_changed"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"{")])
def test_a_snapshot_that_is_gone_or_torn_has_lost_its_keys(tmp_path: Path, spoil: Any) -> None:
    snapshot = tmp_path / "state.json"
    snapshot.write_bytes(sealed(index={"n": 4}))
    with serving() as server:
        before = taken(tmp_path, server, paths={"state_snapshot": snapshot}, behaviour=())
        spoil(snapshot)
        after = taken(tmp_path, server, "after", paths={"state_snapshot": snapshot}, behaviour=())
    assert [one.code for one in differences(before, after)] == ["snapshot_key_lost"]


def test_what_is_no_plain_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with serving() as server:
        state = taken(tmp_path, server, paths={"config": tmp_path / "link"}, behaviour=())
        assert "cannot be read" in problems(state)["config"]
        monkeypatch.setattr(target_state, "FILE_BYTES_MAX", 2)
        state = taken(tmp_path, server, paths={"config": tmp_path / "real"}, behaviour=())
    assert "more than 2 bytes" in problems(state)["config"]


def test_an_interrupted_reading_says_so(tmp_path: Path) -> None:
    with serving() as server:
        pages(server, PIECES)
        target = PaperTarget(base_url=server.base_url, ledgers={"knowledge": PAGE}, behaviour=(ASKED,))
        take_state(target, tmp_path, "after", stopped=lambda: True)
    state = read_state(tmp_path, "after", [])
    assert state is not None and problems(state) == dict.fromkeys(("knowledge", "deploy"), "it was interrupted")


def test_a_reading_that_was_given_up_says_why(tmp_path: Path) -> None:
    give_up(tmp_path, "before", 5.0, "it took too long")
    state = read_state(tmp_path, "before", [])
    assert state is not None and state.problem("models") is not None and problems(state) == {"all": "it took too long"}


def test_counts_are_numbers_alone() -> None:
    assert counts_of({"a": 1, "b": {"c": 2}}) == {"a": 1, "b.c": 2}
    assert [counts_of(value) for value in (True, "x", [1], {"a": None}, -1)] == [None] * 5


def test_dotted_fields_are_taken_out_of_lists() -> None:
    content = {"rows": [{"at": 1, "in": {"id": 2, "n": 3}}], "id": 4}
    assert without(content, ("rows.at", "rows.in.id", "id", "no.such")) == {"rows": [{"in": {"n": 3}}]}
