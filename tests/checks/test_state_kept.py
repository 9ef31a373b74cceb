"""Check state_kept: the same state passes, and each way to lose or change a part of it is red under its own code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.judge import judge
from harness.model import Finding, Kind, Verdict
from tests import states
from tests.states import CONFIG, MODEL, SNAPSHOT, States, row


def judged(made: States, folder: Path) -> Finding:
    findings = judge(made.draft().record(folder))
    return next(one for one in findings if one.check == "state_kept")


def test_the_same_state_is_shown_with_what_was_compared(tmp_path: Path) -> None:
    found = judged(States(), tmp_path)
    assert (found.verdict, found.code, found.missing) == (Verdict.PASS, "state_kept.shown", ())
    assert {"state/before.json:2", "state/after.json:2", "state/before.json:3", "state/before.json:6"} <= set(
        found.evidence
    )
    for part in ("4 pieces of knowledge", "2 files", "3 snapshot keys", "2 answers"):
        assert part in found.because


def drop(name: str) -> Callable[[States], None]:
    return lambda made: made.after.remove(row(made.after, name))


def change(name: str, **fields: Any) -> Callable[[States], None]:
    return lambda made: row(made.after, name).update(fields)


def double(made: States) -> None:
    made.after.append(dict(row(made.after, "k2")))


def forget_all(made: States) -> None:
    made.after = [one for one in made.after if one["what"] != "knowledge"]
    row(made.after, "found").update(least=0, most=0, rows=0)


RED: dict[str, tuple[Callable[[States], None], str, str]] = {
    "one piece is gone": (drop("k3"), "knowledge_lost", "k3"),
    "all knowledge is gone": (forget_all, "knowledge_lost", "4 pieces of knowledge are gone (k0, k1, k2, ...)"),
    "a piece says something else": (change("k1", sha256="other"), "knowledge_changed", "k1"),
    "a piece is there twice": (double, "knowledge_doubled", "k2"),
    "a model is another": (
        change(MODEL, sha256="model-2"),
        "model_changed",
        "classifier.pkl was model-1 and is model-2",
    ),
    "a model is gone": (drop(MODEL), "model_changed", "is gone"),
    "the settings are others": (change(CONFIG, sha256="config-2"), "config_changed", "grace.yaml"),
    "the settings are gone": (change(CONFIG, sha256=""), "config_changed", "is gone"),
    "a key of the snapshot is gone": (drop("governance_rules"), "snapshot_key_lost", "governance_rules"),
    "a key without counts differs": (
        change("governance_rules", sha256="rules-2"),
        "snapshot_key_changed",
        "holds more than counts",
    ),
    "a count falls": (
        change("memory_index", sha256="i2", counts={"entries": 3, "categories.a": 4}),
        "snapshot_key_changed",
        "entries was 4 and is 3",
    ),
    "a count is gone": (
        change("memory_index", sha256="i2", counts={"entries": 9}),
        "snapshot_key_changed",
        "categories.a was 4 and is 0",
    ),
    "counts become something else": (
        change("memory_index", sha256="i2", counts=None),
        "snapshot_key_changed",
        "does no longer",
    ),
    "a key loses its checksum": (change("memory_index", valid=False), "snapshot_key_changed", "checksum"),
    "a count says less than is there": (change("found", least=3, most=3), "count_wrong", "is 3 where the ledger"),
    "a count says more than is there": (change("found", least=5, most=6), "count_wrong", "5 and then 6"),
    "an answer differs": (
        change("deploy", answer={"decision": "allow", "risk": 0.61}),
        "answer_changed",
        'deploy: decision was "review" and is "allow"',
    ),
    "an answer differs in a list": (
        change("delete", answer={"decision": "deny", "reasons": ["risk", {"from": 0.95}]}),
        "answer_changed",
        "delete: reasons[1].from was 0.85 and is 0.95",
    ),
    "an answer lacks a field": (change("deploy", answer={"decision": "review"}), "answer_changed", "risk is gone"),
    "an answer is refused": (change("deploy", status=500), "answer_changed", "status was 200 and is 500"),
}


@pytest.mark.parametrize("name", RED)
def test_what_is_lost_or_changed_fails(tmp_path: Path, name: str) -> None:
    spoil, code, words = RED[name]
    made = States()
    spoil(made)
    found = judged(made, tmp_path)
    assert (found.verdict, found.code) == (Verdict.FAIL, f"state_kept.{code}"), found.because
    assert words in found.because
    assert any(place.startswith("state/after.json:") for place in found.evidence)
    folder = next(tmp_path.rglob("plan.json")).parent
    for place in found.evidence:
        file, _, line = place.rpartition(":")
        assert isinstance(json.loads((folder / file).read_text().splitlines()[int(line) - 1].rstrip(",")), dict)


def test_every_clause_is_named_in_one_finding(tmp_path: Path) -> None:
    made = States()
    for name in ("one piece is gone", "a model is another", "an answer differs"):
        RED[name][0](made)
    made.after.append({"what": "problem", "part": "config", "because": "no disk"})
    found = judged(made, tmp_path)
    assert found.code == "state_kept.knowledge_lost"
    assert all(words in found.because for words in ("k3", "classifier.pkl", "deploy", "no disk"))


def test_what_is_new_or_has_grown_is_fine(tmp_path: Path) -> None:
    made = States()
    made.after.append({"what": "knowledge", "id": "new", "sha256": "new"})
    row(made.after, "found").update(least=5, most=6, rows=5)
    row(made.after, "memory_index").update(sha256="i2", counts={"entries": 5, "categories.a": 4, "categories.b": 1})
    row(made.after, "taken_at").update(sha256="t2", counts={"": 160.0})
    made.after.append(states.file("models", "/t/models/new.pkl", "new"))
    assert judged(made, tmp_path).code == "state_kept.shown"


def test_a_file_that_the_harness_put_back_accuses_nobody(tmp_path: Path) -> None:
    made = States()
    made.damage(CONFIG, ended_by="plan")
    found = judged(made, tmp_path)
    assert found.verdict is Verdict.PASS and "1 files" in found.because
    assert "grace.yaml was put back by the harness, which says nothing of the target" in found.because


def test_a_snapshot_that_the_harness_put_back_is_not_compared(tmp_path: Path) -> None:
    made = States()
    made.damage(SNAPSHOT, ended_by="plan")
    drop("governance_rules")(made)
    found = judged(made, tmp_path)
    assert found.verdict is Verdict.PASS and "snapshot keys" not in found.because


def test_a_damaged_file_that_the_target_put_back_is_compared(tmp_path: Path) -> None:
    made = States()
    made.damage(MODEL, ended_by="target")
    assert judged(made, tmp_path).code == "state_kept.shown"
    made = States()
    made.damage(MODEL, ended_by="target")
    change(MODEL, sha256="model-2")(made)
    assert judged(made, tmp_path / "red").code == "state_kept.model_changed"


def test_nothing_left_to_compare_is_inconclusive(tmp_path: Path) -> None:
    made = States(before=[states.file("config", CONFIG, "c")], after=[states.file("config", CONFIG, "c")])
    made.damage(CONFIG, ended_by="plan")
    assert_not_taken(judged(made, tmp_path), "nothing of the target's state could be compared")


def assert_not_taken(found: Finding, words: str) -> None:
    assert (found.verdict, found.code) == (Verdict.INCONCLUSIVE, "state_kept.not_taken"), found.because
    assert words in found.because and found.evidence


@pytest.mark.parametrize("name", ["before", "after"])
def test_a_state_that_was_not_read_is_inconclusive(tmp_path: Path, name: str) -> None:
    made = States()
    setattr(made, name, [])
    assert_not_taken(judged(made, tmp_path), f"no state/{name}.json")


@pytest.mark.parametrize("name", ["before", "after"])
@pytest.mark.parametrize("part", ["knowledge", "models", "deploy", "all"])
def test_a_part_that_was_not_read_is_inconclusive(tmp_path: Path, name: str, part: str) -> None:
    made = States()
    kept = [one for one in getattr(made, name) if not _of(one, part)]
    setattr(made, name, [*kept, {"what": "problem", "part": part, "because": "its time was up"}])
    assert_not_taken(judged(made, tmp_path), f"state/{name}.json lacks {part}: its time was up")


def _of(one: dict[str, Any], part: str) -> bool:
    return part in ("all", one.get("name"), one.get("place"), one["what"])


def test_a_state_that_was_read_during_the_faults_is_inconclusive(tmp_path: Path) -> None:
    assert_not_taken(judged(States(before_ended_s=9.0), tmp_path), "the first fault came at 8.1 s")


def test_questions_that_had_no_answer_before_are_inconclusive(tmp_path: Path) -> None:
    made = States()
    for rows in (made.before, made.after):
        row(rows, "deploy").update(status=404)
    assert_not_taken(judged(made, tmp_path), "deploy was answered 404 before the faults")


def test_a_question_that_was_not_asked_again_is_inconclusive(tmp_path: Path) -> None:
    made = States()
    drop("deploy")(made)
    assert_not_taken(judged(made, tmp_path), "1 questions were not asked again (deploy)")


def test_a_snapshot_without_keys_is_inconclusive(tmp_path: Path) -> None:
    made = States()
    for name in ("before", "after"):
        setattr(made, name, [one for one in getattr(made, name) if one["what"] != "key"])
    assert_not_taken(judged(made, tmp_path), "no keys with checksums")


@pytest.mark.parametrize("line", ["", "{", '{"what": "thing"}', "[]"])
def test_a_torn_state_is_inconclusive(tmp_path: Path, line: str) -> None:
    draft = States().draft()
    lines = draft.files["state/after.json"].split("\n")
    draft.files["state/after.json"] = "\n".join([*lines[:3], line, *lines[3:]])
    record = draft.record(tmp_path)
    assert_not_taken(next(one for one in judge(record) if one.check == "state_kept"), "no state/after.json")
    assert record.torn == ("state/after.json:4: is no row of a state",)


def test_what_the_manifest_lacks_is_named(tmp_path: Path) -> None:
    found = judged(States(offers=("ledgers.knowledge", "behaviour")), tmp_path)
    assert found.verdict is Verdict.PASS
    assert found.missing == ("paths.models", "paths.state_snapshot", "paths.config")
    found = judged(States(offers=("routes",)), tmp_path / "none")
    assert not found.judged and found.code == "state_kept.not_judged"


def test_a_run_that_was_cut_short_accuses_nobody(tmp_path: Path) -> None:
    made = States()
    drop("k3")(made)
    made.run.cut_short(20.0)
    assert judged(made, tmp_path).verdict is Verdict.INCONCLUSIVE


def test_an_edited_state_file_is_seen(tmp_path: Path) -> None:
    folder = States().draft().write(tmp_path)
    from harness.journal import file_hashes, read_journal

    events, _ = read_journal(folder / "timeline.jsonl")
    kept = next(one for one in events if one.kind is Kind.RUN_FINISHED).detail["sha256"]
    assert {"state/before.json", "state/after.json"} <= set(kept) and kept == file_hashes(folder)
