"""Drives a list of payloads until each is settled: refused ones come again under the same id, when the target says so.

    source = Settling(
        intents.generate(7, 10_000, 0.5), path="/api/htm/intents", host="127.0.0.1:8000", user="htm_flood", seed=7,
        now_s=run_clock, deadline_ns=perf_counter_ns() + 90 * 10**9,
    )

All calls come from one greenlet, and none blocks. What became of each payload is one row of the client's ledger:
take_rows().
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.ledger import NAMED_IN
from harness.ledger_row import answer_fields, error_word, mapping_of, request_fields
from locustfiles.attacks.payload import Payload

REJECTIONS = (400, 409, 413, 422)  # the right answers to an invalid request
THINNED_PER_S = 500  # a crowd that waits spreads over a time in which so many come back in each second,
SPREAD_MAX = 8  # but over no more than so many times what it was told to wait, and no less than once
LOST_WAIT_S = 0.1  # after a lost answer, doubled each time
LOST_WAIT_MAX_S = 2.0
IMPATIENT_S = 0.05  # between two tries of a client that does not care what it was told
LAST_TRY_S = 0.5  # before the deadline: what chance would have sent later still gets its answer
GIVEN_UP_AT_ONCE = 200  # so many payloads are given up in one call, then others may run
NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a payload may cost before it is given up."""

    attempts_max: int = 500
    losses_max: int = 50
    retry_s_default: float = 1.0  # for a 429 without Retry-After
    retry_s_max: float = 30.0  # a target may not hold a client for longer than this


# Of those that try again at once: only the deadline ends it.
IMPATIENT = Bounds(attempts_max=1_000_000, losses_max=1_000_000)


@dataclass(slots=True)
class _Open:
    """A payload that is not settled yet."""

    payload: Payload
    attempts: int = 0
    due_ns: int = 0  # it may be sent from then on
    losses: int = 0
    written: bool = False  # all of this attempt has left for the target
    reached: bool = False  # an attempt was written or answered
    replied: bool = False
    doubtful: bool = False  # an answer was lost: the target may hold it, whatever it says later
    status: int = 0
    why: str = ""  # the last attempt was lost
    sent_ns: int = 0  # the last attempt
    lost: int = 0  # attempts of which nobody knows what became
    misnamed: int = 0  # 2xx answers that named another payload, or none
    refusals: dict[str, int] | None = None  # error word → answers that told to come again
    refusal: dict[str, Any] | None = None  # the answer to the last attempt, if it told to come again


class Settling:
    """The Source of a flood (locustfiles/engine/sources.py), and give_up() for when the flood must end before."""

    def __init__(
        self,
        payloads: Iterator[Payload],
        *,
        path: str,
        host: str,
        user: str,
        seed: int,
        now_s: Callable[[], float],
        deadline_ns: int | None = None,
        bounds: Bounds | None = None,
        repeatable: bool = True,
        impatient: int = 0,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.name = f"POST {path}"
        self.safe_to_repeat = repeatable  # by its id: a connection that was closed meanwhile decides nothing
        self.begun = self.replied = 0  # payloads that were written, or answered, at least once; and those answered
        self.attempts = self.resends = 0  # how often any was handed out; of that by the engine itself
        self.invalid = 0  # payloads that were written, or answered, and are invalid
        self._first_ns = self._fresh_ns = self._fresh_attempts = 0
        self.done = self.given_up = 0  # payloads that are settled; and those of them without a last answer
        self.unreached: Counter[str] = Counter()  # of payloads that never left, though it was tried: why
        self.outcomes: Counter[str] = Counter()  # of attempts: ok, limited, shed, rejected, failed
        self.deadline_ns = deadline_ns
        self._fresh: Iterator[Payload] | None = payloads
        self._head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: "
        self._user, self._now_s, self._clock_ns = user, now_s, clock_ns
        self._impatient = impatient  # so many clients, each with one payload at a time, that try again at once; 0: none
        self._bounds = bounds or (IMPATIENT if impatient else Bounds())
        self._random = random.Random(f"{seed}:settling:{user}")
        self._due: list[tuple[int, int, _Open]] = []  # a heap of (when, order, which)
        self._order = 0
        self._ready: deque[_Open] = deque()  # what waited for another one, which is accepted now
        self._parked: dict[str, list[_Open]] = {}  # the id waited for → who waits
        self._fates: dict[str, bool] = {}  # id of a valid one → whether it was accepted in the end
        self._out: dict[int, _Open] = {}
        self._rows: list[dict[str, Any]] = []

    # The Source of a flood

    def take(self, now_ns: int) -> tuple[_Open, bytes] | int | None:
        """What is to be sent now; when something will be due (ns); None when only answers can change anything."""
        if self.deadline_ns is not None and now_ns >= self.deadline_ns:
            return now_ns + NS // 1000 if self._settle_some() else None
        if self._due and self._due[0][0] <= now_ns:
            return self._send(heapq.heappop(self._due)[2], now_ns)
        if self._ready:
            return self._send(self._ready.popleft(), now_ns)
        one = self._next()
        if one is not None:
            return self._send(one, now_ns)
        if self._due:
            return self._due[0][0] if self.deadline_ns is None else min(self._due[0][0], self.deadline_ns)
        return None

    def answered(self, token: _Open, status: int, body: bytes, retry_after_s: float | None, latency_ns: int) -> str:
        """The outcome under which this attempt is counted: ok, limited, shed, rejected, failed."""
        if self._out.pop(token.payload.number, None) is None:
            return "failed"  # it was given up before
        self.written(token)
        self.replied += not token.replied
        token.replied = True
        token.status = status
        outcome = self._judge(token, status, body, retry_after_s)
        self.outcomes[outcome] += 1
        return outcome

    def lost(self, token: _Open, why: str) -> None:
        if self._out.pop(token.payload.number, None) is not None:
            token.status, token.why = 0, why
            self.outcomes["failed"] += 1
            token.lost += 1  # also one that was not written whole: the target may have a word for that
            self._doubt(token) if token.written else self._once_more(token)

    def written(self, token: _Open) -> None:
        """All of it was handed over on an open connection: from now on the target may hold it."""
        token.written = True
        self.begun += not token.reached
        self.invalid += not token.reached and not token.payload.valid
        token.reached = True

    def due_of(self, token: _Open) -> int:
        return token.due_ns

    def resent(self, token: _Open) -> None:
        """The engine sends it once more by itself, after a connection that was closed under it."""
        if token.payload.number in self._out:
            token.attempts += 1
            token.lost += 1
            self.attempts += 1
            self.resends += 1
            token.doubtful = True

    @property
    def settled(self) -> bool:
        return not (self._out or self._due or self._ready or self._parked or self._fresh is not None)

    @property
    def busy(self) -> int | None:
        """How many are under way while there is more to send than is asked for; None when there is not.

        -1: the engine knows. Of impatient clients each has one request, under way or about to be tried again.
        """
        if self._fresh is None:
            return None
        return len(self._out) + len(self._due) if self._impatient else -1

    @property
    def rate(self) -> float:
        """Attempts a second, from the first one to the last request's first one."""
        took_s = (self._fresh_ns - self._first_ns) / NS
        return (self._fresh_attempts - 1) / took_s if took_s > 0 else 0.0

    # What the caller takes

    def take_rows(self) -> list[dict[str, Any]]:
        """The ledger's rows of what was settled since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def give_up(self) -> None:
        """The flood ends: what is open is settled as it stands. Answers that still come count no more."""
        self.deadline_ns = self._clock_ns()
        while self._out:
            _, token = self._out.popitem()
            token.doubtful = token.doubtful or token.written
            token.lost += 1
            self._settle(token, _unfinished(token))
        while self._settle_some():
            pass

    # Inside

    def _send(self, token: _Open, now_ns: int) -> tuple[_Open, bytes]:
        self.attempts += 1
        if not token.attempts:
            self._fresh_ns, self._fresh_attempts = self._clock_ns(), self.attempts
            self._first_ns = self._first_ns or self._fresh_ns
        token.attempts += 1
        token.sent_ns, token.refusal = now_ns, None
        token.written = False
        self._out[token.payload.number] = token
        body = token.payload.body
        return token, f"{self._head}{len(body)}\r\n\r\n".encode() + body

    def _next(self) -> _Open | None:
        """The next payload that may be sent; one that waits for another is parked meanwhile."""
        if self._impatient and len(self._out) + len(self._due) >= self._impatient:
            return None  # each client asks for the one that it has
        while self._fresh is not None:
            payload = next(self._fresh, None)
            if payload is None:
                self._fresh = None
                break
            token = _Open(payload)
            accepted = self._fates.get(payload.after) if payload.after else True
            if accepted:
                return token
            if accepted is None:
                self._parked.setdefault(payload.after, []).append(token)
            else:
                self._settle(token, "refused")
        if self._parked and not (self._out or self._due or self._ready):
            for token in [one for waiting in self._parked.values() for one in waiting]:
                self._settle(token, "refused")  # nobody sends what they wait for
            self._parked.clear()
        return None

    def _judge(self, token: _Open, status: int, body: bytes, retry_after_s: float | None) -> str:
        answer = mapping_of(body)
        if status == 429 or (status == 503 and retry_after_s is not None):
            word, token.refusals = error_word(answer), token.refusals or {}
            token.refusals[word] = token.refusals.get(word, 0) + 1
            token.refusal = answer
            self._again_after(token, self._bounds.retry_s_default if retry_after_s is None else retry_after_s)
            return "limited" if status == 429 else "shed"
        if 200 <= status < 300:
            told = answer.get(NAMED_IN.get(token.payload.kind, ""), token.payload.id)
            if token.payload.valid and told != token.payload.id:
                token.lost += 1
                token.misnamed += 1
                self._doubt(token)  # an answer for somebody else says nothing of this one
                return "failed"
            self._settle(token, "accepted", answer)
            return "ok"
        if 400 <= status < 500 and status != 408:
            self._settle(token, "rejected", answer)
            return "rejected" if status in REJECTIONS and not token.payload.valid else "failed"
        token.lost += 1
        self._doubt(token)  # a server's error: it may have been done all the same
        return "failed"

    def _again_after(self, token: _Open, wait_s: float) -> None:
        """What the target says of when to come again: the impatient do not hear it."""
        if self._impatient:
            self._again(token, IMPATIENT_S / 2, IMPATIENT_S)
            return
        wait_s = min(max(wait_s, 0.0), self._bounds.retry_s_max)
        crowd_s = len(self._due) / THINNED_PER_S
        self._again(token, wait_s, min(max(crowd_s, wait_s), wait_s * SPREAD_MAX))

    def _doubt(self, token: _Open) -> None:
        token.doubtful = True
        if self.safe_to_repeat:
            self._once_more(token)
        else:
            self._settle(token, "unanswered")

    def _once_more(self, token: _Open) -> None:
        token.losses += 1
        if self._impatient:
            self._again(token, IMPATIENT_S / 2, IMPATIENT_S)
            return
        wait_s = min(LOST_WAIT_S * 2 ** min(token.losses - 1, 10), LOST_WAIT_MAX_S)
        self._again(token, wait_s / 2, wait_s)

    def _again(self, token: _Open, wait_s: float, spread_s: float) -> None:
        """Once more after *wait_s* and a part of *spread_s*, which is cut where the deadline is near."""
        due_s = wait_s + self._random.random() * spread_s
        now_ns = self._clock_ns()
        if self.deadline_ns is not None:
            left_s = (self.deadline_ns - now_ns) / NS
            due_s = max(wait_s, min(due_s, left_s - LAST_TRY_S))
            if due_s >= left_s:
                self._settle(token, _unfinished(token))
                return
        if token.attempts >= self._bounds.attempts_max or token.losses >= self._bounds.losses_max:
            self._settle(token, _unfinished(token))
            return
        self._order += 1
        token.due_ns = now_ns + int(due_s * NS)
        heapq.heappush(self._due, (token.due_ns, self._order, token))

    def _settle(self, token: _Open, outcome: str, answer: dict[str, Any] | None = None) -> None:
        payload, said = token.payload, answer or token.refusal or {}
        self.done += 1
        self.given_up += outcome not in ("accepted", "rejected")
        if token.why and not token.reached:
            self.unreached[token.why] += 1
        if payload.valid:
            self._fates[payload.id] = outcome == "accepted"
        for waiting in self._parked.pop(payload.id, ()) if payload.valid else ():
            if outcome == "accepted":
                waiting.due_ns = self._clock_ns()
                self._ready.append(waiting)
            else:
                self._settle(waiting, "refused")  # never sent: without the other one it would be no duplicate
        self._rows.append(self._row(token, outcome, said))

    def _row(self, token: _Open, outcome: str, answer: dict[str, Any]) -> dict[str, Any]:
        """The ledger's row; what it takes to compute is computed here, once, and not when a request is sent."""
        payload, now_s = token.payload, self._now_s()
        row = {
            "at_s": round(now_s, 3),
            "user": self._user,
            "kind": payload.kind,
            "work": payload.work,
            "id": payload.id,
            "valid": payload.valid,
            "flaw": payload.flaw,
            "attempts": token.attempts,
            "outcome": outcome,
            "status": token.status,
            "lost": token.lost,
            **answer_fields(payload.kind, answer),
            **request_fields(payload.kind, payload.body, payload.valid),
        }
        if token.attempts:
            begun_s = now_s - (self._clock_ns() - token.sent_ns) / NS
            row["begun_s"] = math.floor(begun_s * 1000) / 1000
        if token.refusals:
            row["refusals"] = token.refusals
        if token.misnamed:
            row["misnamed"] = token.misnamed
        if payload.kind == "decision":
            row["question"] = payload.question
        return row

    def _settle_some(self) -> bool:
        """Settles a few of what waits, or was never sent, as it stands; whether there may be more."""
        for _ in range(GIVEN_UP_AT_ONCE):
            if self._due:
                token: _Open | None = heapq.heappop(self._due)[2]
            else:
                token = self._ready.popleft() if self._ready else self._next()
            if token is None:
                return False
            self._settle(token, _unfinished(token))
        return True


def _unfinished(token: _Open) -> str:
    """What a payload is that has no final answer: the target surely has it not, or nobody knows."""
    return "unanswered" if token.doubtful else "refused"
