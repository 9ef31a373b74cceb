"""Each planted defect of work and of the audit trail spoils what it names, and without it nothing is spoilt."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from twin import log_spoil
from twin.audit import AuditWriter
from twin.commit import GroupCommit
from twin.config import SAFEGUARDS, Config
from twin.defects import DEFECTS, Defects
from twin.htm import crew
from twin.htm.queue import SCHEMA, HtmQueue
from twin.htm.spoil import CANNED, spoil
from twin.kernels.governance import Governance
from twin.kernels.immutable_log import ImmutableLog
from twin.kernels.librarian import Librarian
from twin.kernels.memory_fusion import FIRST, MemoryFusion
from twin.kernels.meta_loop import MetaLoop, analyse, proof
from twin.log_chain import misfits
from twin.log_copy import LogCopy
from twin.models.store import write_first
from twin.safeguards.log_integrity_monitor import LogIntegrityMonitor

NONE = ""


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's question for work is answered at once."""
    monkeypatch.setattr(crew, "WAIT_S", 0.0)


def config(folder: Path, defect: str, *on: str) -> Config:
    """A twin's that runs no process; only the safeguards *on* are on."""
    made = Config(dir=folder, defects=(defect,) if defect else (), safeguards={one: one in on for one in SAFEGUARDS})
    for path in (made.run_dir, made.state_dir, made.audit_dir, made.snapshot_dir):
        path.mkdir(parents=True, exist_ok=True)
    return made


def intents(folder: Path, defect: str, count: int = 100) -> dict[str, dict[str, Any]]:
    """The ledger's rows after *count* intents were accepted and all that waited was executed."""
    db = sqlite3.connect(folder / "q.db", isolation_level=None)
    db.row_factory = sqlite3.Row
    db.executescript(SCHEMA)
    queue, defects = HtmQueue(db, 1000, attempts_max=3), Defects([defect] if defect else [])
    queue.load(0.0)
    for n in range(count):
        queue.add([(f"i{n}", 5, json.dumps({"intent_id": f"i{n}", "goal": "g"}))], 1.0)
        spoil(queue, defects, f"i{n}", 1.0)
    workers = crew.Crew(("w",), queue, GroupCommit(db), defects)

    async def execute() -> None:
        await workers.handle("hello", {"worker": "w", "pid": 7, "lease": 0})
        piece = (await workers.handle("next", {"worker": "w", "pid": 7, "done": None}))["piece"]
        while piece is not None:
            done = {"lease": piece["lease"], "failed": "", "result": f"result of {piece['intent_id']}"}
            piece = (await workers.handle("next", {"worker": "w", "pid": 7, "done": done}))["piece"]

    asyncio.run(execute())
    rows = {row["intent_id"]: row for row in queue.page(0, 1000)["intents"]}
    db.close()
    return rows


def not_as_sent(rows: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, row in rows.items() if row["intent"] != {"intent_id": name, "goal": "g"}]


def not_executed(rows: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, row in rows.items() if row["result"] != f"result of {name}"]


def test_without_a_defect_each_intent_is_executed_as_sent(tmp_path: Path) -> None:
    rows = intents(tmp_path, NONE)
    assert len(rows) == 100 and {(row["status"], row["executions"]) for row in rows.values()} == {("completed", 1)}
    assert not not_as_sent(rows) and not not_executed(rows)


def test_a_field_of_an_intent_changes(tmp_path: Path) -> None:
    assert not_as_sent(intents(tmp_path, "intent_field_changed")) == ["i6", "i56"]


def test_an_intent_stays_unfinished(tmp_path: Path) -> None:
    rows = intents(tmp_path, "intent_unfinished")
    assert [name for name, row in rows.items() if row["status"] == "created"] == ["i6", "i56"]


def test_an_intent_is_given_up_at_once(tmp_path: Path) -> None:
    rows = intents(tmp_path, "intents_time_out")
    given_up = [name for name, row in rows.items() if row["status"] == "timeout" and not row["executions"]]
    assert given_up == ["i6", "i26", "i46", "i66", "i86"]
    assert {row["status"] for row in rows.values()} == {"completed", "timeout"}


def test_an_intent_that_nobody_sent_is_held(tmp_path: Path) -> None:
    rows = intents(tmp_path, "intent_invented")
    assert len(rows) == 101 and len([name for name in rows if not name.startswith("i")]) == 1


def test_a_result_is_faked_without_an_execution(tmp_path: Path) -> None:
    rows = intents(tmp_path, "result_faked")
    assert {(row["status"], row["executions"]) for row in rows.values()} == {("completed", 1)}
    assert not_executed(rows) == ["i6", "i56"] and len(rows["i6"]["result"]) == 64


def test_each_result_is_the_same_canned_one(tmp_path: Path) -> None:
    assert {row["result"] for row in intents(tmp_path, "result_canned").values()} == {CANNED}


EVENTS = ["a", "b", "a"]


def retros(folder: Path, defect: str) -> dict[str, dict[str, Any]]:
    """The ledger's rows after 20 retrospectives were accepted and analysed."""

    async def story() -> dict[str, dict[str, Any]]:
        kernel = MetaLoop(config(folder, defect))
        kernel.config.thresholds.__dict__["retro_rate_per_s"] = 1e6
        await kernel.setup()
        for n in range(20):
            body = {"subject": "s", "events": EVENTS, "retro_id": f"r{n}", "nonce": "n"}
            await kernel.handle("retrospective", body)
        async with asyncio.timeout(5):
            while kernel.waiting:
                await asyncio.sleep(0.005)
        rows = (await kernel.handle("list", {"since": 0}))["retrospectives"]
        for task in kernel._tasks:
            task.cancel()
        return {row["id"]: row for row in rows}

    return asyncio.run(story())


def test_without_a_defect_each_retrospective_is_analysed_as_sent(tmp_path: Path) -> None:
    rows, findings = retros(tmp_path, NONE), analyse(EVENTS)
    assert list(rows) == [f"r{n}" for n in range(20)]
    told = {(row["status"], row["executions"], row["result"]) for row in rows.values()}
    assert told == {("completed", 1, proof("n", findings))}
    assert all(row["findings"] == findings and row["events"] == EVENTS for row in rows.values())


def test_the_events_of_a_retrospective_change(tmp_path: Path) -> None:
    assert [name for name, row in retros(tmp_path, "retro_changed").items() if row["events"] != EVENTS] == ["r6"]


@pytest.mark.parametrize(("defect", "subject"), [("retro_doubled", "s"), ("retro_invented", "invented")])
def test_a_retrospective_is_held_that_nobody_sent(tmp_path: Path, defect: str, subject: str) -> None:
    rows = retros(tmp_path, defect)
    (stranger,) = [row for name, row in rows.items() if not name.startswith("r")]
    assert len(rows) == 21 and (stranger["subject"], stranger["status"]) == (subject, "completed")


def test_a_retrospective_is_completed_without_an_analysis(tmp_path: Path) -> None:
    rows = retros(tmp_path, "retro_faked")
    faked = [name for name, row in rows.items() if row["result"] != proof("n", analyse(EVENTS))]
    assert faked == ["r6"] and rows["r6"]["findings"] == [] and rows["r6"]["status"] == "completed"


def knowledge(folder: Path, defect: str) -> dict[str, str]:
    """{id: content} after ten pieces were accepted."""

    async def story() -> dict[str, str]:
        made = config(folder, defect)
        write_first(made)
        kernel = MemoryFusion(made)
        await kernel.setup()
        for n in range(10):
            piece = {"knowledge_id": f"k{n}", "content": f"content {n}", "source": "s", "category": "c"}
            assert await kernel.handle("add", piece) == {"id": f"k{n}", "category": "c", "known": False}
        rows = (await kernel.handle("list", {"since": len(FIRST)}))["knowledge"]
        return {row["id"]: row["content"] for row in rows}

    return asyncio.run(story())


def test_the_probe_of_knowledge_always_finds_something(tmp_path: Path) -> None:
    """Whatever users have shared meanwhile."""

    async def story() -> tuple[list[Any], list[Any]]:
        made = config(tmp_path, NONE)
        write_first(made)
        kernel = MemoryFusion(made)
        await kernel.setup()
        first = await kernel.handle("search", {"q": "grace", "limit": 3})
        for n in range(300):
            await kernel.handle("add", {"content": f"the staff may agree {n}", "source": "user", "category": "c"})
        return first["results"], (await kernel.handle("search", {"q": "grace", "limit": 3}))["results"]

    before, after = asyncio.run(story())
    assert before and [one["id"] for one in before] == [one["id"] for one in after]


def test_the_classifier_says_something_else_once_in_ten(tmp_path: Path) -> None:
    async def story(defect: str) -> list[str]:
        made = config(tmp_path / (defect or "none"), defect)
        write_first(made)
        kernel = Librarian(made)
        await kernel.setup()
        asked = {"text": "Restart after an incident."}
        return [(await kernel.handle("classify", asked))["category"] for _ in range(20)]

    sound, drifting = asyncio.run(story(NONE)), asyncio.run(story("classifier_drifts"))
    assert len(set(sound)) == 1
    assert [n for n in range(20) if sound[n] != drifting[n]] == [6, 16]


def test_a_piece_of_knowledge_is_lost_changed_or_doubled(tmp_path: Path) -> None:
    found = {}
    for defect in (NONE, "knowledge_lost", "knowledge_changed", "knowledge_doubled"):
        (tmp_path / f"as{defect}").mkdir()
        found[defect] = knowledge(tmp_path / f"as{defect}", defect)
    whole = {f"k{n}": f"content {n}" for n in range(10)}
    assert found[NONE] == whole
    assert found["knowledge_lost"] == {name: one for name, one in whole.items() if name != "k6"}
    assert found["knowledge_changed"] == {**whole, "k6": "content 6."}
    doubled = found["knowledge_doubled"]
    assert len(doubled) == 11 and Counter(doubled.values())["content 6"] == 2


class Box:
    """An outbox that keeps its entries in memory."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    async def add(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)


def decisions(folder: Path, defect: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(what the client is told, the entry) of each of 20 equal questions."""

    async def story() -> list[tuple[dict[str, Any], dict[str, Any]]]:
        kernel, box, pairs = Governance(config(folder, defect)), Box(), []
        await kernel.setup()
        kernel.audit.outbox = box  # type: ignore[assignment]
        for _ in range(20):
            told = await kernel.handle("check", {"actor": "a", "action": "read", "resource": "r"})
            assert told.pop("audit_id") == told.pop("decision_id") == box.entries[-1]["reference"]
            pairs.append((told, box.entries[-1]["payload"]["told"]))
        for task in kernel._tasks:
            task.cancel()
        return pairs

    return asyncio.run(story())


def test_a_field_differs_or_the_client_is_told_otherwise(tmp_path: Path) -> None:
    sound = decisions(tmp_path, NONE)
    assert all(told == entry == sound[0][0] for told, entry in sound)
    differs = decisions(tmp_path, "field_differs")
    assert all(told == entry for told, entry in differs), "the audit trail agrees with what was told"
    assert [n for n, (told, _) in enumerate(differs) if told != sound[0][0]] == [6]
    assert differs[6][0]["decision"] == sound[0][0]["decision"]
    otherwise = decisions(tmp_path, "told_otherwise")
    assert all(entry == sound[0][0] for _, entry in otherwise), "the audit trail is right"
    changed = {name for name, value in otherwise[6][0].items() if value != sound[0][0][name]}
    assert changed == {"risk_score", "approved"} and sum(told != entry for told, entry in otherwise) == 1


def trail(defect: str, result: str, reason: str) -> list[dict[str, Any]]:
    """The entries that are written for a hundred requests."""
    box: Any = Box()
    writer = AuditWriter(box, Defects([defect] if defect else []))

    async def story() -> None:
        for n in range(100):
            payload = {"digest": "d", "client": "x", "reason": reason}
            await writer.write(
                {"actor": "a", "payload": payload, "result": result, "resource": "", "reference": str(n)}
            )

    asyncio.run(story())
    entries: list[dict[str, Any]] = box.entries
    return entries


@pytest.mark.parametrize(
    ("defect", "result", "missing"),
    [("accepted_unlogged", "accepted", 2), ("rejection_unlogged", "rejected", 2), ("refusal_unlogged", "refused", 5)],
)
def test_entries_of_one_result_are_missing(defect: str, result: str, missing: int) -> None:
    assert len(trail(defect, result, "")) == 100 - missing
    others = {"accepted", "rejected", "refused", "allow"} - {result}
    assert all(len(trail(defect, other, "")) == 100 for other in others)
    assert len(trail(NONE, result, "")) == 100


SPOILT: dict[str, Callable[[dict[str, Any]], bool]] = {
    "entry_actor_wrong": lambda entry: entry["actor"] != "a",
    "entry_digest_wrong": lambda entry: entry["payload"]["digest"] != "d",
    "entry_reason_missing": lambda entry: entry["payload"]["reason"] != "why",
}


@pytest.mark.parametrize("defect", sorted(SPOILT))
def test_a_field_of_an_entry_is_wrong(defect: str) -> None:
    for planted in ("", *SPOILT):
        entries = trail(planted, "refused", "why")
        assert sum(SPOILT[defect](entry) for entry in entries) == (2 if planted == defect else 0)
        assert [entry["reference"] for entry in entries] == [str(n) for n in range(100)]


def test_an_entry_is_invented() -> None:
    entries = trail("entry_invented", "accepted", "")
    assert len(entries) == 101 and len({entry["reference"] for entry in entries}) == 101
    assert [entry["payload"]["digest"] == "d" for entry in entries].count(False) == 1


def test_an_entry_is_invented_under_a_testers_name() -> None:
    entries = trail("entry_of_the_auditor", "accepted", "")
    assert len(entries) == 101 and [entry["actor"] for entry in entries].count("external_auditor") == 1


def log_entry(n: int) -> dict[str, Any]:
    payload = {"digest": "d", "client": "x", "reason": ""}
    rest = {"action": "b", "resource": "r", "subsystem": "s", "payload": payload, "result": "accepted"}
    return {**rest, "actor": f"a{n}", "reference": str(n)}


def in_log(folder: Path, defect: str, work: Callable[[ImmutableLog], Coroutine[Any, Any, None]]) -> None:
    """*work* on a log that keeps a copy and runs no process."""

    async def story() -> None:
        kernel = ImmutableLog(config(folder, defect, LogIntegrityMonitor.name))
        await kernel.setup()
        await work(kernel)
        for task in kernel._tasks:
            task.cancel()

    asyncio.run(story())


def test_two_entries_change_places_in_a_chain_that_fits(tmp_path: Path) -> None:
    orders = {}

    async def work(kernel: ImmutableLog) -> None:
        for batch in range(10):
            await kernel.handle("append", {"entries": [log_entry(10 * batch + n) for n in range(10)]})
        assert (await kernel.handle("verify", {}))["valid"]
        rows = (await kernel.handle("read", {"limit": 1000}))["entries"]
        orders[kernel.defects.planted] = [int(row["reference"]) for row in rows]

    for defect in (NONE, "entries_reordered"):
        (tmp_path / f"as{defect}").mkdir()
        in_log(tmp_path / f"as{defect}", defect, work)
    sound, reordered = orders.values()
    assert sound == list(range(100))
    assert [n for n in range(100) if reordered[n] != n] == [60, 69] and sorted(reordered) == sound


def test_history_is_rewritten_with_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_spoil, "AFTER_S", 0.0)
    monkeypatch.setattr(log_spoil, "LOOK_EVERY_S", 0.01)

    async def work(kernel: ImmutableLog) -> None:
        await kernel.handle("append", {"entries": [log_entry(n) for n in range(99)]})
        before = (await kernel.handle("read", {"limit": 1000}))["entries"]
        await kernel.handle("append", {"entries": [log_entry(n) for n in range(99, 120)]})
        head = (await kernel.handle("verify", {}))["head"]
        async with asyncio.timeout(5):
            while (told := await kernel.handle("verify", {}))["head"] == head:
                await asyncio.sleep(0.005)
        assert told["valid"] and told["entries"] == 120
        after = (await kernel.handle("read", {"limit": 1000}))["entries"]
        same = [was == now for was, now in zip(before, after, strict=False)]
        first = log_spoil.REWRITTEN_FROM - 1
        assert all(same[:first]) and not any(same[first:])
        assert isinstance(kernel.copy, LogCopy)
        async with asyncio.timeout(5):
            while kernel.copy.differing():
                await asyncio.sleep(0.005)
        assert LogIntegrityMonitor(kernel.db).problems(0.0) == {"immutable_log": ""}
        await kernel.handle("append", {"entries": [log_entry(120)]})
        assert misfits(kernel.copy.copy) == ([], 121), "the copy goes on behind the new head"

    in_log(tmp_path, "history_rewritten", work)


def test_each_new_defect_is_in_the_table() -> None:
    assert set(SPOILT) < set(DEFECTS) and DEFECTS["result_canned"] == DEFECTS["history_rewritten"] == 0
