"""Settling: a small target in memory and a clock set by hand; every payload is settled once, and told as it was."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from harness.ledger_row import request_fields
from locustfiles.attacks import governance, intents, retros
from locustfiles.attacks.payload import Payload
from locustfiles.attacks.settling import Bounds, Settling
from locustfiles.engine.sources import Source
from tests.attacks.test_payloads import fault_of

MS = 1_000_000
S = 1000 * MS


@dataclass
class Target:
    """An HTM that is right about everything: a token bucket, a validator, intents kept by id."""

    per_s: float = 1e9
    burst: float = 1e9
    lose: Callable[[int], bool] = lambda count: False  # which answers get lost; the request was carried out
    held: dict[str, bytes] = field(default_factory=dict)
    executions: Counter[str] = field(default_factory=Counter)
    count: int = 0
    tokens: float | None = None
    at_s: float = 0.0

    def answer(self, data: bytes, now_s: float) -> tuple[int, dict[str, Any], float | None]:
        self.count += 1
        tokens = self.burst if self.tokens is None else self.tokens
        self.tokens = min(self.burst, tokens + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.tokens < 1:
            return 429, {"error": "rate_limited"}, 1.0
        self.tokens -= 1
        head, _, body = data.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n") and head.startswith(b"POST /api/x HTTP/1")
        fault = fault_of(body)
        if fault:
            status = {"oversized": 413, "broken_json": 400, "not_an_object": 400}.get(fault, 422)
            return status, {"error": fault, "rejection_id": f"r{self.count}"}, None
        intent_id = json.loads(body)["intent_id"]
        if self.held.setdefault(intent_id, body) != body:
            return 409, {"error": "duplicate_intent", "rejection_id": f"r{self.count}"}, None
        self.executions[intent_id] = 1
        return 200, {"intent_id": intent_id, "status": "created"}, None


@dataclass
class Drive:
    """What the engine does: so many connections, each answer after *latency_ms*; time passes only here."""

    now_ns: int = 0
    sent: Counter[str] = field(default_factory=Counter)

    def source(self, payloads: Iterator[Payload], **words: Any) -> Settling:
        deadline_s = words.pop("deadline_s", None)
        words |= {"deadline_ns": int(deadline_s * S)} if deadline_s else {}
        rest = {"path": "/api/x", "host": "h", "user": "htm_flood", "seed": 7, **words}
        return Settling(payloads, now_s=lambda: self.now_ns / S, clock_ns=lambda: self.now_ns, **rest)

    def run(self, source: Settling, target: Target, connections: int = 100, latency_ms: float = 5.0) -> None:
        under_way: list[tuple[int, Any, Any]] = []
        for _ in range(3_000_000):
            if source.settled:
                return
            due = None
            while len(under_way) < connections and isinstance(found := source.take(self.now_ns), tuple):
                token, data = found
                self.sent[token.payload.id] += 1
                source.written(token)
                answer = target.answer(data, self.now_ns / S)
                under_way.append((self.now_ns + int(latency_ms * MS), token, answer))
            else:
                due = found if len(under_way) < connections else None
            times = [*([due] if due is not None else []), *(at for at, _, _ in under_way[:1])]
            if not times:
                continue
            self.now_ns = max(self.now_ns, min(times))
            while under_way and under_way[0][0] <= self.now_ns:
                _, token, (status, body, retry_after_s) = under_way.pop(0)
                if target.lose(target.count + token.attempts):
                    source.lost(token, "reset")
                else:
                    source.answered(token, status, json.dumps(body).encode(), retry_after_s, int(latency_ms * MS))
        raise AssertionError("it does not settle")


def test_a_flood_through_a_rate_limit_is_settled_exactly_and_in_time() -> None:
    drive, target = Drive(), Target(per_s=200, burst=400)
    source = drive.source(intents.generate(7, 10_000, 0.5), deadline_s=90)
    drive.run(source, target)
    rows = source.take_rows()
    assert source.take_rows() == []
    assert len(rows) == 10_000 and Counter((row["valid"], row["outcome"]) for row in rows) == {
        (True, "accepted"): 5000,
        (False, "rejected"): 5000,
    }
    assert len(target.held) == 5000 and drive.now_ns < 52 * S, "48 s is what the limit allows"
    assert source.outcomes["ok"] == source.outcomes["rejected"] == 5000 and source.outcomes["limited"] > 5000
    assert sum(source.outcomes.values()) == target.count == sum(row["attempts"] for row in rows)
    assert all(row["reference"] for row in rows if row["outcome"] == "rejected")
    assert Counter(row["status"] for row in rows if row["flaw"] == "duplicate_id") == {409: 555}
    assert Counter(row["status"] for row in rows if row["flaw"] == "oversized") == {413: 556}


def test_it_is_a_source_of_the_flood() -> None:
    source = Drive().source(intents.generate(7, 10, 0.5))
    assert isinstance(source, Source) and source.name == "POST /api/x" and source.safe_to_repeat


def test_the_same_seed_gives_the_same_course() -> None:
    def course() -> list[dict[str, Any]]:
        drive = Drive()
        source = drive.source(intents.generate(7, 1000, 0.5))
        drive.run(source, Target(per_s=100, burst=100))
        return source.take_rows()

    assert course() == course()


def test_retry_after_is_honoured_and_the_crowd_thins_out() -> None:
    waits: list[float] = []
    drive = Drive()
    source = drive.source(intents.generate(7, 300, 0.0))
    for _ in range(300):
        found = source.take(drive.now_ns)
        assert isinstance(found, tuple)
        assert source.answered(found[0], 429, b"{}", 2.0, MS) == "limited"
    while isinstance(due := source.take(drive.now_ns), int):
        drive.now_ns = due
        found = source.take(due)
        assert isinstance(found, tuple)
        waits.append(due / S)
        source.answered(found[0], 200, b"{}", None, MS)
    assert len(waits) == 300, "a small crowd comes back soon"
    assert 2.0 <= min(waits) < 2.1 and 3.8 < max(waits) <= 4.0
    assert source.settled


def test_a_large_crowd_does_not_come_back_at_once() -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 6000, 0.0))
    for _ in range(6000):
        found = source.take(drive.now_ns)
        assert isinstance(found, tuple)
        source.answered(found[0], 429, b"{}", 1.0, MS)
    back: Counter[int] = Counter()
    while isinstance(due := source.take(drive.now_ns), int):
        drive.now_ns = due
        found = source.take(due)
        assert isinstance(found, tuple)
        back[due // S] += 1
        source.answered(found[0], 200, b"{}", None, MS)
    assert sum(back.values()) == 6000 and min(back) == 1 and max(back) <= 9
    assert max(back.values()) < 2500


@pytest.mark.parametrize(("status", "retry_after_s", "counted"), [(429, None, "limited"), (503, 1.0, "shed")])
def test_a_refusal_that_never_ends_is_given_up_as_refused(status: int, retry_after_s: Any, counted: str) -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 2, 0.0), bounds=Bounds(attempts_max=3))
    while not source.settled:
        found = source.take(drive.now_ns)
        if isinstance(found, tuple):
            assert source.answered(found[0], status, b"", retry_after_s, MS) == counted
        elif isinstance(found, int):
            drive.now_ns = found
    rows = source.take_rows()
    assert [(row["outcome"], row["attempts"], row["status"]) for row in rows] == [("refused", 3, status)] * 2
    assert source.outcomes == {counted: 6}


@pytest.mark.parametrize("status", [500, 502, 503, 504, 302, 408])
def test_an_answer_that_decides_nothing_is_doubtful_and_comes_again(status: int) -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 1, 0.0), bounds=Bounds(losses_max=2))
    for _ in range(2):
        while isinstance(found := source.take(drive.now_ns), int):
            drive.now_ns = found
        assert found is not None and source.answered(found[0], status, b"oops", None, MS) == "failed"
    assert source.take(drive.now_ns) is None and source.settled
    (row,) = source.take_rows()
    assert (row["outcome"], row["status"], row["attempts"]) == ("unanswered", status, 2)


def test_lost_answers_are_sent_again_under_the_same_id_and_done_once() -> None:
    chance = random.Random(5)
    drive, target = Drive(), Target(lose=lambda count: chance.random() < 0.2)
    source = drive.source(intents.generate(7, 1000, 0.5))
    drive.run(source, target)
    rows = source.take_rows()
    assert len(rows) == 1000 and {row["outcome"] for row in rows} == {"accepted", "rejected"}
    assert len(target.held) == 500 and source.outcomes["failed"] > 100
    assert max(row["attempts"] for row in rows) > 1


def test_a_refusal_after_a_lost_answer_is_not_sure() -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 1, 0.0), bounds=Bounds(attempts_max=2))
    first = source.take(0)
    assert isinstance(first, tuple)
    source.written(first[0])
    source.lost(first[0], "time-out")
    due = source.take(0)
    assert isinstance(due, int)
    drive.now_ns = due
    again = source.take(due)
    assert isinstance(again, tuple) and again[1] == first[1]
    source.answered(again[0], 429, b"", 1.0, MS)
    assert [row["outcome"] for row in source.take_rows()] == ["unanswered"]


def test_a_duplicate_waits_until_the_other_is_accepted() -> None:
    """Sent before, it would be the first of its id, and right to be taken."""
    drive, seen = Drive(), []
    source = drive.source(intents.generate(7, 2000, 0.5))
    open_tokens: list[Any] = []
    while not source.settled:
        found = source.take(drive.now_ns)
        if isinstance(found, tuple):
            payload = found[0].payload
            assert not payload.after or payload.after in seen
            open_tokens.append(found[0])
            continue
        token = open_tokens.pop()  # the last is answered first
        seen.append(token.payload.id)
        source.answered(token, 200 if token.payload.valid else 409, b"{}", None, MS)
    assert Counter(row["outcome"] for row in source.take_rows()) == {"accepted": 1000, "rejected": 1000}


def test_a_duplicate_of_one_that_was_never_accepted_is_not_sent() -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 200, 0.5))
    while isinstance(found := source.take(drive.now_ns), tuple):
        assert found[0].payload.flaw != "duplicate_id"
        source.answered(found[0], 422, b"{}", None, MS)
    rows = source.take_rows()
    unsent = [row for row in rows if row["attempts"] == 0]
    assert len(rows) == 200 and len(unsent) == 11
    assert {(row["flaw"], row["outcome"]) for row in unsent} == {("duplicate_id", "refused")}


def test_at_the_deadline_everything_is_settled_as_it_stands() -> None:
    drive, target = Drive(), Target(per_s=50, burst=50)
    source = drive.source(intents.generate(7, 5000, 0.5), deadline_s=10)
    drive.run(source, target)
    rows = source.take_rows()
    assert len(rows) == 5000 and 9.5 * S < drive.now_ns <= 10.2 * S
    accepted = [row for row in rows if row["outcome"] == "accepted"]
    assert {row["id"] for row in accepted} == set(target.held) and 200 < len(accepted) < 300
    assert Counter(row["outcome"] for row in rows)["unanswered"] == 0
    assert sum(row["attempts"] for row in rows) == target.count


def test_what_was_sent_once_more_by_the_engine_is_doubtful_and_counted() -> None:
    """The target may hold it by the first sending: a refusal of the second does not take that back."""
    source = Drive().source(intents.generate(7, 1, 0.0), bounds=Bounds(attempts_max=2))
    found = source.take(0)
    assert isinstance(found, tuple)
    source.written(found[0])
    source.resent(found[0])
    source.answered(found[0], 429, b"", 1.0, MS)
    assert [(row["outcome"], row["attempts"]) for row in source.take_rows()] == [("unanswered", 2)]
    source.resent(found[0])  # settled: an end of the engine's is no news
    assert found[0].attempts == 2


def test_what_bears_no_id_is_never_sent_again_once_it_may_have_been_read() -> None:
    """To send it twice would be two of them; what surely was not taken comes again all the same."""
    payloads = [Payload(number=n, kind="request", id=f"s-{n}", body=b"{}") for n in range(4)]
    drive = Drive()
    source = drive.source(iter(payloads), repeatable=False)
    assert source.safe_to_repeat is False
    lost, broken, limited, refused = (source.take(0) for _ in range(4))
    for one in (lost, broken, limited):
        assert isinstance(one, tuple)
        source.written(one[0])
    assert isinstance(lost, tuple) and isinstance(broken, tuple)
    assert isinstance(limited, tuple) and isinstance(refused, tuple)
    source.lost(lost[0], "closed")
    assert source.answered(broken[0], 500, b"oops", None, MS) == "failed"
    source.answered(limited[0], 429, b"", 1.0, MS)
    source.lost(refused[0], "refused")
    again = []
    while isinstance(due := source.take(drive.now_ns), int):
        drive.now_ns = due
        found = source.take(due)
        assert isinstance(found, tuple)
        again.append(found[0].payload.number)
        source.answered(found[0], 200, b"{}", None, MS)
    assert again == [3, 2] and source.settled
    assert {row["id"]: (row["outcome"], row["attempts"], row["status"]) for row in source.take_rows()} == {
        "s-0": ("unanswered", 1, 0),
        "s-1": ("unanswered", 1, 500),
        "s-2": ("accepted", 2, 200),
        "s-3": ("accepted", 2, 200),
    }


def test_only_what_was_written_or_answered_counts_as_sent() -> None:
    source = Drive().source(intents.generate(7, 3, 0.0), bounds=Bounds(losses_max=1))
    refused, written, answered = (source.take(0) for _ in range(3))
    assert isinstance(refused, tuple) and isinstance(written, tuple) and isinstance(answered, tuple)
    assert source.begun == 0, "given to the engine is not sent"
    source.written(written[0])
    source.written(written[0])
    source.lost(written[0], "timed out")
    source.lost(refused[0], "refused")
    source.answered(answered[0], 200, b"{}", None, MS)
    assert (source.begun, source.replied, source.done, source.given_up) == (2, 1, 3, 2)
    assert source.unreached == {"refused": 1}
    assert [row["outcome"] for row in source.take_rows()] == ["unanswered", "refused", "accepted"]


def test_giving_up_leaves_nothing_open_and_says_what_is_not_known() -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 1000, 0.5))
    tokens = [source.take(0) for _ in range(51)]
    for token in tokens[:50]:
        assert isinstance(token, tuple)
        source.written(token[0])
    source.give_up()
    assert source.settled and source.take(0) is None
    rows = source.take_rows()
    assert Counter((row["outcome"], row["attempts"]) for row in rows) == {
        ("unanswered", 1): 50,
        ("refused", 1): 1,  # it never left
        ("refused", 0): 949,
    }
    late = tokens[0]
    assert isinstance(late, tuple) and source.answered(late[0], 200, b"{}", None, MS) == "failed"
    source.lost(late[0], "reset")
    assert source.take_rows() == [] and source.settled


def test_an_accepted_invalid_one_is_told_as_it_is() -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 200, 0.5))
    while isinstance(found := source.take(drive.now_ns), tuple):
        assert source.answered(found[0], 200, b"{}", None, MS) == "ok"
    assert source.settled
    rows = [row for row in source.take_rows() if not row["valid"]]
    assert {row["outcome"] for row in rows} == {"accepted"} and len(rows) == 100


def test_a_valid_one_that_is_rejected_is_a_failure_to_the_client() -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 1, 0.0))
    found = source.take(0)
    assert isinstance(found, tuple) and source.answered(found[0], 422, b"{}", None, MS) == "failed"
    assert [(row["outcome"], row["status"]) for row in source.take_rows()] == [("rejected", 422)]


def test_an_answer_for_somebody_else_is_no_answer() -> None:
    drive = Drive()
    source = drive.source(retros.generate(7, 1))
    found = source.take(0)
    assert isinstance(found, tuple)
    assert source.answered(found[0], 202, b'{"id": "another", "status": "queued"}', None, MS) == "failed"
    assert not source.settled
    due = source.take(0)
    assert isinstance(due, int)
    drive.now_ns = due
    again = source.take(due)
    assert isinstance(again, tuple)
    right = json.dumps({"id": again[0].payload.id, "status": "queued"}).encode()
    assert source.answered(again[0], 202, right, None, MS) == "ok"
    (row,) = source.take_rows()
    assert (row["outcome"], row["lost"], row["misnamed"]) == ("accepted", 1, 1)


def test_a_decision_keeps_question_answer_and_reference() -> None:
    drive = Drive()
    source = drive.source(governance.generate(7, 1), user="governance_storm")
    drive.now_ns = 3 * S
    found = source.take(drive.now_ns)
    assert isinstance(found, tuple)
    source.answered(found[0], 200, b'{"decision": "deny", "decision_id": "d1", "allowed": false}', None, MS)
    (row,) = source.take_rows()
    said = {"outcome": "accepted", "status": 200, "reference": "d1", "answer": "deny"}
    sent = {"kind": "decision", "work": "decision", "id": "gov-7-000000", "valid": True, "flaw": "", "attempts": 1}
    who = {"at_s": 3.0, "user": "governance_storm", "question": found[0].payload.question}
    told = {"decision": "deny", "allowed": False}
    more = {"told": told, "lost": 0, "begun_s": 3.0, **request_fields("decision", found[0].payload.body)}
    assert row == {**who, **sent, **said, **more}
    assert "|".join((row["actor"], row["action"], row["resource"])) == row["question"]


def test_refusals_by_their_word_and_lost_answers_are_counted() -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 1, 0.0), bounds=Bounds(attempts_max=6))
    answers: list[tuple[int, bytes, float | None]] = [
        (429, b'{"error": "rate_limited", "audit_id": "a1"}', 1.0),
        (503, b"<html>", 1.0),
        (504, b"{}", None),
        (429, b'{"error": "rate_limited", "audit_id": "a2"}', 1.0),
    ]
    for status, body, retry_after_s in answers:
        while isinstance(found := source.take(drive.now_ns), int):
            drive.now_ns = found
        assert found is not None
        source.answered(found[0], status, body, retry_after_s, MS)
    while isinstance(found := source.take(drive.now_ns), int):
        drive.now_ns = found
    assert found is not None
    begun_s = drive.now_ns / S
    source.written(found[0])
    source.resent(found[0])
    drive.now_ns += 2 * S
    source.answered(found[0], 200, b'{"audit_id": "a3"}', None, MS)
    (row,) = source.take_rows()
    assert (row["refusals"], row["lost"], row["attempts"]) == ({"rate_limited": 2, "unnamed": 1}, 2, 6)
    assert row["reference"] == "a3" and begun_s - 0.001 <= row["begun_s"] <= begun_s
    assert row["proof"] and row["digest"] == hashlib.sha256(found[0].payload.body).hexdigest()


def test_who_is_refused_to_the_end_names_the_last_refusal() -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 1, 0.0), bounds=Bounds(attempts_max=2))
    for number in (1, 2):
        while isinstance(found := source.take(drive.now_ns), int):
            drive.now_ns = found
        assert found is not None
        body = json.dumps({"error": "queue_full", "audit_id": f"a{number}"}).encode()
        source.answered(found[0], 503, body, 1.0, MS)
    (row,) = source.take_rows()
    assert (row["outcome"], row["reference"], row["error"]) == ("refused", "a2", "queue_full")


def test_who_waits_for_nobody_is_not_waited_for() -> None:
    stray = Payload(number=0, kind="intent", id="a", body=b"{}", valid=False, flaw="duplicate_id", after="unheard of")
    source = Drive().source(iter([stray]))
    assert source.take(0) is None and source.settled
    assert [row["outcome"] for row in source.take_rows()] == ["refused"]


def test_the_impatient_do_not_hear_when_to_come_again_and_ask_for_one_thing_each() -> None:
    drive, open_at_once = Drive(), []

    class Watched(Target):
        def answer(self, data: bytes, now_s: float) -> tuple[int, dict[str, Any], float | None]:
            open_at_once.append(len(drive.sent) - source.done)
            return super().answer(data, now_s)

    target = Watched(per_s=100, burst=1)
    source = drive.source(intents.generate(7, 200, 0.0), impatient=10, deadline_s=30)
    drive.run(source, target)
    rows = source.take_rows()
    assert Counter(row["outcome"] for row in rows) == {"accepted": 200}
    assert max(open_at_once) == 10, "each client has one request at a time"
    assert drive.now_ns < 4 * S, "2 s is what the limit allows; who heard Retry-After would wait longer"
    assert target.count > 300 and max(row["attempts"] for row in rows) > 3


def test_the_impatient_try_again_after_a_lost_answer_as_soon_and_as_often() -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 1, 0.0), impatient=1)
    for _ in range(200):
        found = source.take(drive.now_ns)
        assert isinstance(found, tuple)
        source.written(found[0])
        source.lost(found[0], "reset")
        due_ns = source.take(drive.now_ns)
        assert isinstance(due_ns, int) and 25 * MS <= due_ns - drive.now_ns <= 75 * MS
        drive.now_ns = due_ns
    assert not source.settled
    source.give_up()
    assert [row["outcome"] for row in source.take_rows()] == ["unanswered"]


def test_when_time_is_up_the_impatient_are_settled_too() -> None:
    drive = Drive()
    source = drive.source(intents.generate(7, 50, 0.0), impatient=5, deadline_s=2)
    drive.run(source, Target(per_s=0, burst=0), connections=5)
    assert Counter(row["outcome"] for row in source.take_rows()) == {"refused": 50}
