"""Reading back what the target holds: every page, after it had its time, and never for longer than it may last."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.contracts import LedgerPage
from harness.read_back import PAGES_MAX, READING_S, STALLED_S, TRIES, read_back
from tests.drafts import PaperTarget
from tests.fake_target import Answer, FakeServer, as_json, serving

PAGE = LedgerPage(url="/intents?since={next}&limit=2", rows="intents")
AUDIT = LedgerPage(url="/audit?since={next}", rows="entries")


@dataclass
class Clock:
    """Time passes where somebody waits."""

    now_s: float = 0.0
    waits: int = 0

    def now(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.now_s += max(seconds, 0.01)
        self.waits += 1


@dataclass
class Held:
    """The intents of a target; *finish* of them are completed more after each look at all of them."""

    rows: list[dict[str, Any]]
    finish: int = 0
    asked: list[int] = field(default_factory=list)

    def answer(self, path: str) -> Answer:
        since = int(parse_qs(urlsplit(path).query)["since"][0])
        self.asked.append(since)
        page = self.rows[since : since + 2]
        told = as_json({"intents": page, "next": since + len(page)})
        for row in [row for row in self.rows if row["status"] != "completed"][: 0 if page else self.finish]:
            row["status"] = "completed"
        return told


def intents(count: int, status: str = "completed") -> list[dict[str, Any]]:
    return [{"intent_id": f"r-{n}", "status": status, "executions": 1} for n in range(count)]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


def target(server: FakeServer, **ledgers: LedgerPage) -> PaperTarget:
    return PaperTarget(base_url=server.base_url, ledgers=ledgers)


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "target" / f"{name}.jsonl").read_text().split("\n")[:-1]]


def test_every_page_is_read_and_kept_as_it_is(server: FakeServer, tmp_path: Path) -> None:
    held = Held(intents(5))
    held.rows[3]["note"] = "ä\u2028\n"
    server.answers["/intents"] = held.answer
    assert read_back(target(server, intents=PAGE), tmp_path, {"intents": {"r-0", "r-4"}}, 5.0) == []
    assert rows_of(tmp_path, "intents") == held.rows
    assert held.asked == [0, 2, 4, 5] * 2 and {seen[2] for seen in server.seen} == {"127.0.0.3"}


def test_it_waits_until_all_that_was_accepted_is_completed(server: FakeServer, tmp_path: Path) -> None:
    held, clock = Held(intents(6, "executing"), finish=1), Clock()
    server.answers["/intents"] = held.answer
    wanted = {f"r-{n}" for n in range(6)}
    assert read_back(target(server, intents=PAGE), tmp_path, {"intents": wanted}, 60.0, clock.now, clock.pause) == []
    assert [row["status"] for row in rows_of(tmp_path, "intents")] == ["completed"] * 6
    looks, last = held.asked[:-4], held.asked[-4:]
    assert looks.count(0) == 3 < looks.count(4) == 7, "pages that cannot change any more are not looked at again,"
    assert last == [0, 2, 4, 6], "until all of them are taken down at the end"


def test_a_target_that_finishes_nothing_more_is_not_waited_for_to_the_end(server: FakeServer, tmp_path: Path) -> None:
    held, clock = Held([*intents(3), *intents(1, "created")]), Clock()
    server.answers["/intents"] = held.answer
    problems = read_back(
        target(server, intents=PAGE), tmp_path, {"intents": {"r-1", "gone"}}, 300.0, clock.now, clock.pause
    )
    assert problems == ["ledger intents still lacked 1 of 2 at the end: gone"]
    assert STALLED_S <= clock.now_s < STALLED_S + 2 and len(rows_of(tmp_path, "intents")) == 4


def test_what_changes_after_it_was_completed_is_taken_down_as_it_ends(server: FakeServer, tmp_path: Path) -> None:
    """The second execution of an intent comes after the look that saw it completed."""
    held, clock = Held(intents(4, "executing"), finish=1), Clock()
    server.answers["/intents"] = held.answer

    def pause(seconds: float) -> None:
        clock.pause(seconds)
        held.rows[0]["executions"] = 2

    wanted = {f"r-{n}" for n in range(4)}
    assert read_back(target(server, intents=PAGE), tmp_path, {"intents": wanted}, 60.0, clock.now, pause) == []
    assert [row["executions"] for row in rows_of(tmp_path, "intents")] == [2, 1, 1, 1]


def test_what_nobody_had_an_answer_to_is_waited_for_where_the_target_holds_it(
    server: FakeServer, tmp_path: Path
) -> None:
    held, clock = Held([*intents(2), *intents(1, "created")]), Clock()
    held.rows[2]["intent_id"] = "r-unanswered"
    held.finish = 1
    server.answers["/intents"] = held.answer
    maybe = {"intents": {"r-unanswered", "r-never-came"}}
    told = read_back(target(server, intents=PAGE), tmp_path, {}, 60.0, clock.now, clock.pause, maybe=maybe)
    assert told == [] and rows_of(tmp_path, "intents")[2]["status"] == "completed" and clock.waits == 1


def test_work_that_failed_for_good_is_not_waited_for(server: FakeServer, tmp_path: Path) -> None:
    clock = Clock()
    server.answers["/intents"] = Held(intents(1, "timeout")).answer
    maybe = {"intents": {"r-0"}}
    assert read_back(target(server, intents=PAGE), tmp_path, {}, 60.0, clock.now, clock.pause, maybe=maybe) == []
    assert clock.waits == 0


def test_knowledge_is_awaited_and_has_no_state(server: FakeServer, tmp_path: Path) -> None:
    clock, rows = Clock(), [{"id": "k-1", "content": "c"}]
    page = LedgerPage(url="/knowledge?since={next}", rows="knowledge")

    def answer(path: str) -> Answer:
        since = int(path.rpartition("=")[2])
        rows.extend([{"id": "k-2", "content": "c"}] if clock.waits and len(rows) == 1 else [])
        return as_json({"knowledge": rows[since:], "next": len(rows)})

    server.answers["/knowledge"] = answer
    where, wanted = target(server, knowledge=page), {"knowledge": {"k-1", "k-2"}}
    assert read_back(where, tmp_path, wanted, 30.0, clock.now, clock.pause) == [] and clock.waits == 1
    assert [row["id"] for row in rows_of(tmp_path, "knowledge")] == ["k-1", "k-2"]
    problems = read_back(where, tmp_path, {"knowledge": {"k-3"}}, 30.0, clock.now, clock.pause)
    assert problems == ["ledger knowledge still lacked 1 of 1 at the end: k-3"]


def slow(clock: Clock, seconds: float) -> Callable[[str], Answer]:
    """Pages without end, each of which takes its time."""

    def answer(path: str) -> Answer:
        clock.now_s += seconds
        since = int(path.partition("since=")[2].partition("&")[0])
        return as_json({"intents": [{"intent_id": f"x-{since}", "status": "created"}], "next": since + 1})

    return answer


def test_one_deadline_holds_for_all_the_pages_of_all_ledgers(server: FakeServer, tmp_path: Path) -> None:
    clock = Clock()
    server.answers = {"/intents": slow(clock, 4.0), "/audit": as_json({"entries": [], "next": 0})}
    three = target(server, intents=PAGE, more=PAGE, audit=AUDIT)
    problems = read_back(three, tmp_path, {}, 20.0, clock.now, clock.pause)
    assert [problem.partition(": ")[2].partition(",")[0] for problem in problems] == ["its time was up"] * 3
    assert clock.now_s <= 20.0 + READING_S + 4.0 and not list((tmp_path / "target").iterdir())


def test_who_wants_no_more_of_it_has_its_end_at_once(server: FakeServer, tmp_path: Path) -> None:
    held, clock = Held(intents(3, "executing")), Clock()
    server.answers = {"/intents": held.answer, "/audit": as_json({"entries": [], "next": 0})}
    both = target(server, intents=PAGE, audit=AUDIT)
    problems = read_back(
        both, tmp_path, {"intents": {"r-0"}}, 60.0, clock.now, clock.pause, stopped=lambda: clock.waits >= 2
    )
    assert problems == [f"ledger {name} could not be read: it was interrupted" for name in ("intents", "audit")]
    assert clock.now_s < 2.0 and not list((tmp_path / "target").iterdir())


def test_the_deadline_ends_the_waiting(server: FakeServer, tmp_path: Path) -> None:
    clock = Clock()
    page = LedgerPage(url="/intents?since={next}", rows="intents")
    server.answers["/intents"] = lambda path: as_json(
        {"intents": intents(1, "created") if path.endswith("=0") else [], "next": 1}
    )
    problems = read_back(target(server, intents=page), tmp_path, {"intents": {"r-0"}}, 3.0, clock.now, clock.pause)
    assert problems and 3.0 <= clock.now_s < 4.0


def test_the_audit_is_read_last_and_waited_for_by_reference(server: FakeServer, tmp_path: Path) -> None:
    looks: list[str] = []

    def audit(path: str) -> Answer:
        looks.append(path)
        entries = [{"sequence": 1, "reference": "a"}, {"sequence": 2, "reference": "b"}]
        known = entries[: 1 if len(looks) < 4 else 2]
        since = int(path.rpartition("=")[2])
        return as_json({"entries": known[since:], "next": len(known)})

    clock = Clock()
    server.answers = {"/audit": audit, "/intents": Held(intents(1)).answer}
    both = target(server, audit=AUDIT, intents=PAGE)
    assert read_back(both, tmp_path, {"audit": {"a", "b"}}, 30.0, clock.now, clock.pause) == []
    assert [row["reference"] for row in rows_of(tmp_path, "audit")] == ["a", "b"]
    assert [seen[1].partition("?")[0] for seen in server.seen][:2] == ["/intents", "/intents"]


def test_two_ledgers_that_lack_something_are_waited_for_at_the_same_time(server: FakeServer, tmp_path: Path) -> None:
    clock = Clock()
    server.answers = {"/intents": Held(intents(1)).answer, "/audit": as_json({"entries": [], "next": 0})}
    both, wanted = target(server, intents=PAGE, audit=AUDIT), {"intents": {"gone"}, "audit": {"lost"}}
    assert read_back(both, tmp_path, wanted, 60.0, clock.now, clock.pause) == [
        "ledger intents still lacked 1 of 1 at the end: gone",
        "ledger audit still lacked 1 of 1 at the end: lost",
    ]
    assert STALLED_S <= clock.now_s < STALLED_S + 2 and len(rows_of(tmp_path, "intents")) == 1


def test_while_one_ledger_goes_on_the_others_are_waited_for_too(server: FakeServer, tmp_path: Path) -> None:
    """The log's entry comes when the work is done, long after the log has last changed."""
    clock, done_s = Clock(), 2 * STALLED_S

    def audit(path: str) -> Answer:
        entries = [{"sequence": 1, "reference": "a"}] if clock.now_s > done_s else []
        return as_json({"entries": entries[int(path.rpartition("=")[2]) :], "next": len(entries)})

    def work(path: str) -> Answer:
        since, over = int(path.partition("since=")[2].partition("&")[0]), int(clock.now_s)
        rows = [{**row, "status": "completed" if n < over else "created"} for n, row in enumerate(intents(30))]
        return as_json({"intents": rows[since:], "next": len(rows)})

    server.answers = {"/intents": work, "/audit": audit}
    both, wanted = target(server, intents=PAGE, audit=AUDIT), {"intents": {"r-29"}, "audit": {"a"}}
    assert read_back(both, tmp_path, wanted, 60.0, clock.now, clock.pause) == []
    assert done_s < clock.now_s < done_s + 2


def test_a_log_that_goes_on_for_ever_is_not_waited_for_when_ours_does_not_come(
    server: FakeServer, tmp_path: Path
) -> None:
    clock = Clock()

    def audit(path: str) -> Answer:
        entries = [{"sequence": 0, "reference": "a"}, *({"sequence": n} for n in range(1, 1 + int(clock.now_s * 4)))]
        since = int(path.rpartition("=")[2])
        return as_json({"entries": entries[since:], "next": len(entries)})

    server.answers["/audit"] = audit
    both = {"audit": {"a", "lost"}}
    problems = read_back(target(server, audit=AUDIT), tmp_path, both, 60.0, clock.now, clock.pause)
    assert problems == ["ledger audit still lacked 1 of 2 at the end: lost"]
    assert STALLED_S <= clock.now_s < STALLED_S + 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=404), "answers 404"),
        (Answer(body=b"<html>"), "does not answer with JSON"),
        (as_json({"rows": []}), "has no list of rows called 'intents'"),
        (as_json({"intents": [1]}), "has no list of rows called 'intents'"),
        (as_json({"intents": [{}], "next": 0}), "no next cursor that goes on"),
        (as_json({"intents": [{}]}), "no next cursor that goes on"),
    ],
)
def test_a_ledger_that_cannot_be_read_is_said_and_leaves_no_file(
    server: FakeServer, tmp_path: Path, answer: Answer, words: str
) -> None:
    clock = Clock()
    server.answers = {"/intents": answer, "/audit": as_json({"entries": [], "next": 0})}
    both = target(server, intents=PAGE, audit=AUDIT)
    problems = read_back(both, tmp_path, {}, 30.0, clock.now, clock.pause)
    assert len(problems) == 1 and words in problems[0] and "ledger intents could not be read" in problems[0]
    assert not (tmp_path / "target" / "intents.jsonl").exists() and rows_of(tmp_path, "audit") == []
    assert len([seen for seen in server.seen if seen[1].startswith("/intents")]) <= 2 * TRIES


def test_a_page_that_a_busy_target_refuses_is_asked_for_again(server: FakeServer, tmp_path: Path) -> None:
    answers = [Answer(status=503), Answer(status=504)]
    held, clock = Held(intents(2)), Clock()
    server.answers["/intents"] = lambda path: answers.pop() if answers else held.answer(path)
    assert read_back(target(server, intents=PAGE), tmp_path, {}, 30.0, clock.now, clock.pause) == []
    assert len(rows_of(tmp_path, "intents")) == 2


def test_a_ledger_without_end_is_given_up(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.read_back.PAGES_MAX", 40)
    clock = Clock()
    server.answers["/intents"] = lambda path: as_json(
        {"intents": [{"intent_id": "x", "status": "created"}], "next": int(path.split("=")[1].split("&")[0]) + 1}
    )
    problems = read_back(target(server, intents=PAGE), tmp_path, {}, 30.0, clock.now, clock.pause)
    assert problems == ["ledger intents could not be read: it has more than 40 pages"] and PAGES_MAX >= 5000


def test_a_cursor_is_the_targets_own_word(server: FakeServer, tmp_path: Path) -> None:
    pages = {"0": (["a"], "k&x=/1"), "k%26x%3D%2F1": (["b"], "end"), "end": ([], "end")}

    def answer(path: str) -> Answer:
        names, following = pages[path.partition("since=")[2].partition("&")[0]]
        return as_json({"intents": [{"intent_id": name} for name in names], "next": following})

    server.answers["/intents"] = answer
    assert read_back(target(server, intents=PAGE), tmp_path, {}, 5.0) == []
    assert [row["intent_id"] for row in rows_of(tmp_path, "intents")] == ["a", "b"]
