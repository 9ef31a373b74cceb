"""Defects that can be planted in a twin on purpose, so that whoever tests it can see that its checks are not blind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# name → how many go well for each one that does not; 0: it is not a matter of chance
DEFECTS = {
    "intent_lost": 50,  # an accepted intent vanishes from the queue
    "intent_doubled": 50,  # an intent is carried out twice
    "invalid_accepted": 0,  # an intent with a negative SLA gets through
    "answers_swapped": 20,  # of two questions asked at the same time each gets the other's answer
    "decision_by_order": 0,  # a decision depends on how often the same was asked before
    "audit_row_dropped": 50,  # a decision never reaches the immutable log
    "rejection_unlogged": 50,  # nor does a rejection
    "allowed_refused": 50,  # the bus refuses what somebody from outside may say
    "fallback_is_the_old_model": 0,  # what stands in for a model that has drifted is that model under another name
    "retro_lost": 20,  # a retrospective is dropped instead of analysed
    "crushed_at_start": 0,  # a kernel that is asked too often in its first second ends
    "retro_unbounded": 0,  # the queue of retrospectives has no end, and each stays in memory many times over
    "innocent_cut_off": 0,  # with an actor that is cut off the bus, a kernel that did nothing is cut off for good
    "alarm_without_cause": 0,  # memory is said to be short, once, when the CPU is 40 % busy for the first time
    "blacklist_kept": 0,  # the end of an actor's cut-off cuts off a kernel that did nothing, for good
    "shedding_stays": 0,  # work that may wait is deferred for good, although the pressure is over
    "shed_half": 2,  # under pressure every second intent that may wait is not deferred
    "shed_retros_not": 0,  # under pressure retrospectives are not deferred
    "shed_too_much": 0,  # under pressure intents of NORMAL priority are deferred as well
    "bypass_stays": 0,  # reads are answered from the copy for good, although the dependency is well
    "refuse_leaks": 5,  # one in five decisions and intents is answered although nothing can be recorded
    "bystander_slow": 0,  # while any incident is open, a route that has no part in it answers after 6 s
    "bystander_fails": 0,  # while any incident is open, a route that has no part in it fails
}
FIRST = 7  # the first of each row of so many is the one: early, so that a short trial meets it
RISK_BY_ASKING = 0.01
QUESTIONS_MAX = 10_000
CRUSHED_BY = 100  # questions in the first second


class Defects:
    """Those of one kernel. Nothing here does anything unless it was planted."""

    def __init__(self, planted: Iterable[str]) -> None:
        self.planted = frozenset(planted)
        self._counts: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._begun_s: float | None = None

    def strikes(self, name: str) -> bool:
        """Whether this one goes wrong: one in so many, by count."""
        if name not in self.planted:
            return False
        count = self._counts[name] = self._counts.get(name, 0) + 1
        return count % DEFECTS[name] == FIRST % DEFECTS[name]

    def overlooks(self, body: dict[str, Any], field: object) -> bool:
        """Whether an intent gets through although *field* of it is wrong."""
        sla = body.get("sla_ms")
        return "invalid_accepted" in self.planted and field == "sla_ms" and isinstance(sla, int) and sla < 0

    def crushed(self, now_s: float) -> bool:
        """Whether what has only just begun is asked more than it can take; the first question begins its time."""
        if "crushed_at_start" not in self.planted:
            return False
        begun_s = self._begun_s = now_s if self._begun_s is None else self._begun_s
        count = self._counts["crushed_at_start"] = self._counts.get("crushed_at_start", 0) + 1
        return now_s - begun_s <= 1.0 and count > CRUSHED_BY

    def risk_added(self, question: str) -> float:
        """What a question's risk grows by because it was asked before."""
        if "decision_by_order" not in self.planted or len(self._asked) > QUESTIONS_MAX:
            return 0.0
        asked = self._asked[question] = self._asked.get(question, -1) + 1
        return RISK_BY_ASKING * asked
