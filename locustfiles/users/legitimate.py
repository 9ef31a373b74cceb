"""The people and agents that Grace exists for: mixed work at a human pace, from an address of their own.

What they meet before, during and after the faults is the steady-state hypothesis of every scenario. A third of
what they send is work that may wait (low-priority intents, retrospectives), so that a short pressure meets enough of
it: a busy Grace may defer it with a 503 and Retry-After, which is counted as `shed`, never as a failure. What they
change is in the ledger of the run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from itertools import count
from typing import Any

from faker import Faker
from locust import HttpUser, between, events, task
from locust.clients import ResponseContextManager

from harness.ledger import NAMED_IN
from harness.ledger_row import answer_fields, error_word, request_fields
from locustfiles.attacks.payload import encoded, nonce
from locustfiles.guarded import keep_here

LEGITIMATE_ADDRESS = "127.0.0.2"  # a per-client limiter must not punish these users for what an attacker does
CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 5.0

DEFERRABLE_PRIORITIES = (0, 1, 3)  # IDLE, MINIMUM, LOW
PROMPT_PRIORITIES = (5, 5, 5, 8, 8, 10)  # NORMAL, HIGH, CRITICAL
DOMAINS = ("ingestion", "query", "learning", "analysis", "orchestration", "maintenance", "security")
TOPICS = ("platform", "operations", "security", "incident", "knowledge")
KNOWLEDGE = "/api/knowledge"
RESOURCES_OWN = 2  # resources that one user asks governance about, so that equal questions come back

_numbers = count()


@events.test_start.add_listener
def _count_anew(**_: Any) -> None:
    """On the web page a second run with the same seed says the same."""
    global _numbers
    _numbers = count()


def outcome_of(status: int, retry_after: str | None, deferrable: bool, warning: str | None = None) -> str:
    """ok, stale, shed (deferred on purpose), limited (429) or failed; *status* 0 means that no answer came.

    Stale is served, from what somebody on the way had stored, and says so (RFC 7234: Warning 110).
    """
    if 200 <= status < 300:
        return "stale" if (warning or "").startswith("110") else "ok"
    if status == 503 and retry_after and deferrable:
        return "shed"
    if status == 429:
        return "limited"
    return "failed"


def ledger_outcome(status: int, retry_after: str | None) -> str:
    """What the answer to a request that changes something says of it; nobody sends it again."""
    if 200 <= status < 300:
        return "accepted"
    if status == 429 or (status == 503 and retry_after):
        return "refused"
    return "rejected" if 400 <= status < 500 and status != 408 else "unanswered"


def answer_of(row: Mapping[str, Any], response: Any) -> dict[str, Any]:
    """What the ledger says of the answer to *row*; one that names another request is none."""
    status = response.status_code or 0
    try:
        told = response.json() if status else {}
    except ValueError:
        told = {}
    told = told if isinstance(told, dict) else {}
    outcome = ledger_outcome(status, response.headers.get("Retry-After"))
    misnamed = outcome == "accepted" and told.get(NAMED_IN.get(row["kind"], ""), row["id"]) != row["id"]
    if misnamed:
        outcome = "unanswered"
    found = {"outcome": outcome, "status": status, "lost": int(outcome == "unanswered")}
    if misnamed:
        found["misnamed"] = 1
    found |= answer_fields(row["kind"], told)
    if outcome == "refused":
        found["refusals"] = {error_word(told): 1}
        if isinstance(why := told.get("shedding"), list) and why:
            found["deferred_for"] = ",".join(sorted(map(str, why)))
    return found


class LegitimateUser(HttpUser):
    """One legitimate client. Same seed and number, same words."""

    wait_time = between(0.3, 0.9)
    user_name = "legitimate"

    def on_start(self) -> None:
        options = self.environment.parsed_options
        seed = getattr(options, "run_seed", 0)  # of the plan, so that the seed that a run prints repeats it
        worker = getattr(self.environment.runner, "worker_index", 0)  # two workers never say the same
        number = f"{worker}-{next(_numbers)}"
        self.random = random.Random(f"{seed}:{number}")
        self.faker = Faker()
        self.faker.seed_instance(f"{seed}:{number}")
        self.me = f"user-{number}"
        # of the run: a target that lives on must not take one run's requests for those of another
        self.prefix = getattr(options, "run_prefix", f"{seed}-") + self.me
        self.routes = getattr(options, "run_routes", None)  # names of the target's routes; None: not known
        self.asked_about = [f"{self.faker.word()}_service" for _ in range(RESOURCES_OWN)]
        self.activity = getattr(self.environment, "activity", None)
        if self.activity is not None:
            self.activity.joined(self.me)
        keep_here(self.client, LEGITIMATE_ADDRESS, permitted=getattr(options, "permitted", ()))

    def on_stop(self) -> None:
        if self.activity is not None:
            self.activity.left(self.me)

    @task(15)
    def urgent_intent(self) -> None:
        self._intent(self.random.choice(PROMPT_PRIORITIES), deferrable=False)

    @task(18)
    def patient_intent(self) -> None:
        self._intent(self.random.choice(DEFERRABLE_PRIORITIES), deferrable=True)

    @task(17)
    def retrospective(self) -> None:
        body = {
            "retro_id": self._new_id("r"),
            "subject": self.faker.sentence(nb_words=4),
            "events": [self.faker.word() for _ in range(5)],
            "nonce": nonce(self.random),
        }
        row = {"kind": "retrospective", "id": body["retro_id"], "work": "retrospective"}
        self._send("POST", "/api/meta_loop/retrospective", body, deferrable=True, row=row)

    @task(15)
    def governance_check(self) -> None:
        body = {
            "actor": self.me,
            "action": self.random.choice(["read", "write", "deploy", "delete"]),
            "resource": self.random.choice(self.asked_about),
            "payload": {"note": self.faker.sentence(nb_words=6)},
        }
        question = f"{body['actor']}|{body['action']}|{body['resource']}"
        row = {"kind": "decision", "id": self._new_id("d"), "question": question, "work": "decision"}
        self._send("POST", "/api/governance/check", body, row=row)

    @task(25)
    def ask_knowledge(self) -> None:
        self._send("GET", KNOWLEDGE, query={"q": self.faker.word(), "limit": "3"})

    @task(4)
    def share_knowledge(self) -> None:
        if self.routes is not None and f"POST {KNOWLEDGE}" not in self.routes:
            self.ask_knowledge()  # the target takes in no knowledge
            return
        body: dict[str, Any] = {
            "knowledge_id": self._new_id("k"),
            "content": self.faker.sentence(nb_words=12),
            "source": self.me,
            "confidence": round(self.random.uniform(0.5, 0.99), 2),
            "tags": self.faker.words(nb=3),
        }
        if self.random.random() < 0.5:  # else the target itself says what it is about
            body["category"] = self.random.choice(TOPICS)
        self._send("POST", KNOWLEDGE, body, row={"kind": "knowledge", "id": body["knowledge_id"]})

    @task(10)
    def chat(self) -> None:
        self._send("POST", "/api/chat", {"message": self.faker.sentence(), "user": self.me})

    def _intent(self, priority: int, deferrable: bool) -> None:
        body = {
            "intent_id": self._new_id("i"),
            "goal": self.faker.sentence(nb_words=6),
            "expected_outcome": self.faker.sentence(nb_words=4),
            "sla_ms": self.random.choice([1000, 5000, 30000]),
            "priority": priority,
            "domain": self.random.choice(DOMAINS),
            "context": {"department": self.faker.job(), "nonce": nonce(self.random)},
            "created_by": self.me,
            "confidence": round(self.random.uniform(0.5, 1.0), 2),
            "risk_level": self.random.choice(["low", "medium"]),
        }
        row = {"kind": "intent", "id": body["intent_id"], "work": "intent.deferrable" if deferrable else "intent"}
        self._send("POST", "/api/htm/intents", body, deferrable=deferrable, row=row)

    def _new_id(self, letter: str) -> str:
        return f"{self.prefix}-{letter}{self.random.getrandbits(64):016x}"

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
        deferrable: bool = False,
        row: dict[str, Any] | None = None,
    ) -> None:
        """Send one request under the name "METHOD PATH"; tell deferral, limiting and failure apart.

        *row* is what the ledger says of it, without its answer. The body is encoded here, so that its digest is that
        of the bytes that were sent.
        """
        answer: dict[str, Any] = {"outcome": "unanswered", "status": 0, "reference": "", "lost": 1}
        data = None if body is None else encoded(body)
        clock_s = getattr(self.environment, "clock_s", None)
        begun = {} if clock_s is None else {"begun_s": math.floor(clock_s() * 1000) / 1000}
        ended = False
        if self.activity is not None:
            self.activity.begin(self.me)
        try:
            with self.client.request(
                method,
                path,
                name=path,
                params=query,
                data=data,
                headers=None if data is None else {"Content-Type": "application/json"},
                catch_response=True,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            ) as response:
                if row is not None:
                    answer = answer_of(row, response)
                self._judge(response, deferrable, bool(answer.get("misnamed")))
            ended = True
        finally:  # also when the run is over and this user is stopped in the middle of it
            if self.activity is not None:
                self.activity.end(self.me, ended)
            tell = getattr(self.environment, "ledger", None)
            if row is not None and data is not None and tell is not None:
                mine = {"user": self.user_name, "valid": True, "flaw": "", "attempts": 1, **row, **begun}
                tell({**mine, **request_fields(row["kind"], data, body=body), **answer})

    def _judge(self, response: ResponseContextManager, deferrable: bool, misnamed: bool) -> None:
        status = response.status_code or 0
        headers = response.headers
        outcome = outcome_of(status, headers.get("Retry-After"), deferrable, headers.get("Warning"))
        if misnamed:
            outcome = "failed"
        response.request_meta["context"].update(user=self.user_name, outcome=outcome, status=status)
        if misnamed:
            response.failure("the answer names another request, or none")
        elif outcome == "failed":
            response.failure(f"status {status}" if status else f"no answer: {response.error}")
        else:
            response.success()
