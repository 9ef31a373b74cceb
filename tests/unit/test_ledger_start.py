"""A target that has lived long: a run reads what came since it began, and the chain from the entry before on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.checks.audit_complete import chain_problem
from harness.contracts import LedgerPage
from harness.ledger import HeldRow
from harness.ledger_start import cursors, last_before, ledger_starts, rows_before
from harness.model import Event, Kind
from harness.read_back import PAGES_MAX, read_back
from tests.drafts import PaperTarget
from tests.fake_target import Answer, FakeServer, as_json, serving
from tests.ledgers import chained

PAGE = 1000
LEDGER = LedgerPage(url="/audit?since={next}&limit=1000", rows="entries", last="/audit?last=1")


class LongLog:
    """A log of *entries*, of which only the last ones are there to be read: nobody may ask for the others."""

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self.asked: list[str] = []

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        query = {name: int(values[0]) for name, values in parse_qs(urlsplit(path).query).items()}
        since = max(0, self.entries - query["last"]) if "last" in query else query["since"]
        rows = [self.row(number) for number in range(since + 1, min(since + PAGE, self.entries) + 1)]
        return as_json({"entries": rows, "next": since + len(rows)})

    def row(self, number: int) -> dict[str, Any]:
        return {"sequence": number, "entry_hash": f"h{number}", "reference": f"r{number}"}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


def target(server: FakeServer, page: LedgerPage = LEDGER) -> PaperTarget:
    return PaperTarget(base_url=server.base_url, ledgers={"audit": page})


def began(told: object, kind: Kind = Kind.RUN_STARTED) -> list[Event]:
    detail = {"ledgers": json.loads(json.dumps(told))}
    event = Event(seq=1, at_s=0.0, wall_time="", kind=kind, subject="", source="", detail=detail, prev_hash="", hash="")
    return [event]


def test_what_a_run_reads_does_not_grow_with_what_was_there_before(server: FakeServer, tmp_path: Path) -> None:
    """More pages than one reading may have were there already; the run is judged all the same."""
    counts = []
    for number, before in enumerate((5 * PAGE, 2 * PAGES_MAX * PAGE)):
        log = LongLog(before)
        server.answers["/audit"] = log.answer
        found = ledger_starts(target(server))
        assert found == {"audit": {"since": before, "last": {"sequence": before, "entry_hash": f"h{before}"}}}
        log.entries += 2500
        folder = tmp_path / str(number)
        folder.mkdir()
        wanted = {"audit": {f"r{before + 1}", f"r{before + 2500}"}}
        assert read_back(target(server), folder, wanted, 5.0, since=cursors(began(found))) == []
        rows = [json.loads(line) for line in (folder / "target" / "audit.jsonl").read_text().splitlines()]
        assert [rows[0]["sequence"], rows[-1]["sequence"], len(rows)] == [before + 1, before + 2500, 2500]
        counts.append(len(log.asked))
    assert counts[0] == counts[1] <= 12


def test_without_its_beginning_the_long_one_cannot_be_read(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way back: what a run without a cursor would have to do. A reading has fewer pages here, a log as well."""
    pages = 50
    monkeypatch.setattr("harness.read_back.PAGES_MAX", pages)
    log = LongLog(2 * pages * PAGE)
    server.answers["/audit"] = log.answer
    told = read_back(target(server), tmp_path, {"audit": set()}, 0.5)
    assert told == [f"ledger audit could not be read: it has more than {pages} pages"] and len(log.asked) == pages


@pytest.mark.parametrize(
    ("entries", "page", "whole", "asked"),
    [
        (0, LEDGER, (), 1),
        (PAGE, LEDGER, (), 2),
        (5 * PAGE, replace(LEDGER, last=""), (), 6),
        (5 * PAGE, LEDGER, ("audit",), 1),
    ],
    ids=["empty", "one page", "no `last` in the manifest", "a fault changes what is older"],
)
def test_what_is_short_or_must_be_whole_is_read_from_its_beginning(
    server: FakeServer, entries: int, page: LedgerPage, whole: tuple[str, ...], asked: int
) -> None:
    log = LongLog(entries)
    server.answers["/audit"] = log.answer
    found = ledger_starts(target(server, page), whole)
    assert found == {"audit": {"rows_before": entries}} and len(log.asked) == asked
    assert cursors(began(found)) == {} and rows_before(began(found), "audit") == entries


def test_how_many_rows_were_there_before_is_known_or_none() -> None:
    assert rows_before(began({"audit": {"since": 7}}), "audit") == 0, "only later ones are read"
    for told in ({}, {"audit": {"problem": "answers 503"}}, {"audit": {"rows_before": "7"}}):
        assert rows_before(began(told), "audit") is None


def test_a_ledger_that_is_too_long_to_be_counted_is_not_known(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.ledger_start.COUNT_LIMIT_S", 0.0)
    server.answers["/audit"] = LongLog(PAGE).answer
    found = ledger_starts(target(server, replace(LEDGER, last="")))
    assert "counted for 0 s" in found["audit"]["problem"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=503), "answers 503"),
        (as_json({"rows": [], "next": 0}), "no list of rows called 'entries'"),
        (as_json({"entries": [{"sequence": 1}]}), "no next cursor"),
    ],
)
def test_an_end_that_is_not_told_is_said_and_all_is_read(server: FakeServer, answer: Answer, words: str) -> None:
    server.answers["/audit"] = answer
    found = ledger_starts(target(server))
    assert words in found["audit"]["problem"] and cursors(began(found)) == {}
    assert last_before(began(found), "audit") is None


def test_only_the_first_event_of_a_run_tells_where_it_began() -> None:
    told = {"audit": {"since": 7, "last": {"sequence": 7, "entry_hash": "x"}}}
    assert cursors(began(told)) == {"audit": 7} and last_before(began(told), "audit") == told["audit"]["last"]
    assert cursors(began(told, Kind.READ_BACK)) == {} == cursors([])
    assert last_before([], "audit") is None and last_before(began({"audit": {"since": 7}}), "audit") is None


def held(count: int) -> list[HeldRow]:
    rows = [{"actor": "a", "action": "b", "resource": "c", "payload": "{}", "result": "r"} for _ in range(count)]
    made = chained(rows)
    return [HeldRow(fields=row, file="target/audit.jsonl", line=number) for number, row in enumerate(made, 1)]


def test_a_chain_is_proved_from_the_entry_before_the_run_and_red_where_that_has_changed() -> None:
    rows = held(6)
    before, later = dict(rows[2].fields), rows[3:]
    assert not chain_problem(rows) and not chain_problem(later, before)
    assert "another number than 1" in str(chain_problem(later)), "without it nothing is taken on trust"
    assert "does not carry the hash" in str(chain_problem(later, {**before, "entry_hash": "0" * 64}))
    assert "another number than 4" in str(chain_problem(rows[4:], before)), "one is missing right behind it"
    later[1] = replace(later[1], fields={**later[1].fields, "result": "changed"})
    assert "not what its hash was made of" in str(chain_problem(later, before))
