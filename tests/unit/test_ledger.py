"""The ledgers of a run: rows are read with their lines, what is wrong with one is said, nothing is taken for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.checks.journal_intact import JournalIntact
from harness.judge import judge
from harness.ledger import LedgerRow, LedgerWriter, awaited, maybe_held, read_held, read_ledger
from harness.model import Verdict
from harness.record import Record
from tests.drafts import healthy

ROW: dict[str, Any] = {
    "at_s": 12.5,
    "user": "htm_flood",
    "kind": "intent",
    "id": "r-1",
    "valid": True,
    "flaw": "",
    "attempts": 2,
    "outcome": "accepted",
    "status": 200,
    "reference": "",
}
BAD: list[tuple[dict[str, Any] | str, str]] = [
    ("{", "is not JSON"),
    ("[1]", "a mapping is expected, not [1]"),
    ("[" * 100_000, "is not JSON"),
    ({"id": None}, "id: None does not fit"),
    ({"id": ""}, "is missing"),
    ({"attempts": True}, "attempts: True does not fit"),
    ({"valid": 1}, "valid: 1 does not fit"),
    ({"at_s": "1"}, "at_s: '1' does not fit"),
    ({"at_s": float("nan")}, "is missing"),
    ({"outcome": "acepted"}, "no outcome is called 'acepted'. Did you mean 'accepted'?"),
    ({"kind": "intents"}, "no kind is called 'intents'. Did you mean 'intent'?"),
    ({"flaw": "unknown_enum"}, "a flaw of just what is invalid"),
    ({"begun_s": "1"}, "begun_s: '1' does not fit"),
    ({"begun_s": float("inf")}, "begun_s: inf does not fit"),
    ({"sent": ["goal"]}, "sent: ['goal'] does not fit"),
    ({"sent": {"goal": 7}}, "sent: a digest of each field is expected"),
    ({"lost": -1}, "refusals, lost, misnamed: whole numbers are expected"),
    ({"misnamed": -1}, "refusals, lost, misnamed: whole numbers are expected"),
    ({"refusals": {"rate_limited": 0}}, "refusals, lost, misnamed: whole numbers are expected"),
    ({"told": {f"n{number}": 1 for number in range(101)}}, "at most 100 names are expected"),
    ({"referense": "x"}, "no field is called 'referense'. Did you mean 'reference'?"),
]


def test_a_row_is_what_was_written() -> None:
    row = LedgerRow.from_json(json.dumps(ROW), 7)
    assert {name: getattr(row, name) for name in ROW} == ROW
    assert row.place == "ledger.jsonl:7" and row.attack and (row.question, row.answer) == ("", "")
    assert not LedgerRow.from_json(json.dumps({**ROW, "user": "legitimate"})).attack
    assert not LedgerRow.from_json(json.dumps({**ROW, "user": "probe"})).attack
    assert (row.sent, row.told, row.refusals, row.lost, row.begun_s, row.digest) == ({}, {}, {}, 0, None, "")


@pytest.mark.parametrize(("bent", "words"), BAD, ids=[words for _, words in BAD])
def test_what_is_no_row_is_said_in_words(bent: dict[str, Any] | str, words: str) -> None:
    text = bent if isinstance(bent, str) else json.dumps({**ROW, **bent})
    with pytest.raises(ValueError) as caught:
        LedgerRow.from_json(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", sorted(ROW.keys() - {"reference"}))
def test_a_field_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is missing"):
        LedgerRow.from_json(json.dumps({key: value for key, value in ROW.items() if key != name}))


def test_the_writer_appends_and_a_reader_sees_what_was_flushed(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path)
    writer.append([ROW, {**ROW, "id": "r-2\u2028"}])
    writer.flush()
    torn: list[str] = []
    rows = read_ledger(tmp_path, torn)
    assert rows is not None and [(row.id, row.line) for row in rows] == [("r-1", 1), ("r-2\u2028", 2)] and not torn
    writer.close()
    with pytest.raises(FileExistsError):
        LedgerWriter(tmp_path)


def test_no_file_is_not_the_same_as_an_empty_one(tmp_path: Path) -> None:
    torn: list[str] = []
    assert read_ledger(tmp_path, torn) is None and read_held(tmp_path, "intents", torn) is None
    (tmp_path / "target").mkdir()
    (tmp_path / "ledger.jsonl").touch()
    (tmp_path / "target" / "intents.jsonl").touch()
    assert read_ledger(tmp_path, torn) == () == read_held(tmp_path, "intents", torn) and torn == []


def test_what_is_torn_or_bent_is_left_out_and_said_by_the_record(tmp_path: Path) -> None:
    draft = healthy()
    good = json.dumps(ROW) + "\n"
    draft.files = {
        "ledger.jsonl": good + json.dumps({**ROW, "outcome": "fine"}) + "\n" + good + good[:-9],
        "target/intents.jsonl": '{"intent_id": "r-1"}\n[]\n{"intent_id": "r',
    }
    record = draft.record(tmp_path)
    assert [row.line for row in record.ledger or ()] == [1, 3]
    assert [row.place for row in record.held("intents") or ()] == ["target/intents.jsonl:1"]
    assert record.held("audit") is None
    assert record.torn == (
        "ledger.jsonl:2: no outcome is called 'fine'. Known: accepted, refused, rejected, unanswered;"
        " the row is left out",
        "ledger.jsonl:4: the last line is torn, and left out",
        "target/intents.jsonl:2: a mapping is expected, not []; the row is left out",
        "target/intents.jsonl:3: the last line is torn, and left out",
    )
    found = next(one for one in judge(record) if one.check == "journal_intact")
    assert found.verdict is Verdict.INCONCLUSIVE and found.evidence == ("ledger.jsonl:2",)


@pytest.mark.parametrize("name", ["ledger.jsonl", "target/intents.jsonl"])
@pytest.mark.parametrize("way", ["edited", "gone", "new"])
def test_a_ledger_that_is_not_as_the_run_left_it_is_seen(tmp_path: Path, name: str, way: str) -> None:
    draft = healthy()
    files = {"ledger.jsonl": json.dumps(ROW) + "\n", "target/intents.jsonl": '{"intent_id": "r-1"}\n'}
    draft.files = {key: text for key, text in files.items() if way != "new" or key != name}
    folder = draft.write(tmp_path)
    check = JournalIntact(claim="the timeline's hash chain is whole")
    assert check.check(Record.load(folder)).verdict is Verdict.PASS
    if way == "gone":
        (folder / name).unlink()
    else:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(files[name].replace("r-1", "r-2"))
    found = check.check(Record.load(folder))
    assert (found.verdict, found.code) == (Verdict.INCONCLUSIVE, "journal_intact.files_altered")
    assert name in found.because


def test_what_the_target_must_come_to_hold() -> None:
    def row(**changes: Any) -> LedgerRow:
        return LedgerRow.from_json(json.dumps({**ROW, **changes}))

    rows = [
        row(),
        row(id="r-2", outcome="unanswered"),
        row(id="r-3", outcome="rejected", valid=False, flaw="oversized", reference="x1"),
        row(id="d-1", kind="decision", reference="d1"),
        row(id="t-1", kind="retrospective"),
        row(id="k-1", kind="knowledge"),
        row(id="k-2", kind="knowledge", outcome="unanswered"),
        row(id="p-1", kind="retrospective", user="probe", reference="p1"),
        row(id="p-2", kind="retrospective", user="probe", outcome="unanswered"),
    ]
    held = {"intents": {"r-1"}, "retrospectives": {"t-1"}, "knowledge": {"k-1"}}
    assert awaited(rows) == {**held, "audit": {"x1", "d1", "p1"}}
    assert maybe_held(rows) == {"intents": {"r-2"}, "retrospectives": set(), "knowledge": {"k-2"}}
