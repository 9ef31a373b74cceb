"""Defects that can be planted in a twin on purpose, so that whoever tests it can see that its checks are not blind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
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
    "answers_name_another_id": 100,  # an accepted intent is answered under the id of another one
    "intents_time_out": 20,  # an accepted intent is given up at once
    "intent_field_changed": 50,  # a field of a stored intent differs from what was sent
    "intent_unfinished": 50,  # an accepted intent is never handed to a worker
    "intent_invented": 100,  # an intent is held and executed that nobody sent
    "retro_changed": 20,  # the events of a stored retrospective differ from what was sent
    "retro_doubled": 20,  # a retrospective is held twice, under another id
    "retro_invented": 20,  # a retrospective is held that nobody sent
    "knowledge_lost": 10,  # an accepted piece of knowledge vanishes
    "knowledge_changed": 10,  # the content of a stored piece differs from what was sent
    "knowledge_doubled": 10,  # a piece of knowledge is held twice, under another id
    "result_faked": 50,  # an intent is called completed, with a random digest, and never executed
    "result_canned": 0,  # each executed intent has the same result
    "retro_faked": 20,  # a retrospective is called completed and never analysed
    "field_differs": 20,  # equal questions get equal decisions with another risk
    "told_otherwise": 20,  # the client is told another risk and approval than the audit trail
    "accepted_unlogged": 50,  # an accepted intent, retrospective or piece of knowledge has no audit entry
    "refusal_unlogged": 20,  # a refusal has no audit entry
    "entry_invented": 100,  # the audit trail has an entry that belongs to no request
    "entry_of_the_auditor": 100,  # it has one that a tester is said to have written, who did not
    "entry_actor_wrong": 50,  # an entry names another actor
    "entry_digest_wrong": 50,  # an entry has another digest than the request's body
    "entry_reason_missing": 50,  # an entry of a decision, rejection or refusal has no reason
    "history_rewritten": 0,  # the log's last entries and their copies are rewritten, once, with hashes that fit
    "entries_reordered": 10,  # of the batches that reach the log: two entries change places before they are chained
    "knowledge_gone": 0,  # all knowledge is gone when the kernel that keeps it begins again
    "knowledge_forgets": 0,  # the last piece of what it knew when it first began is gone then
    "knowledge_rewritten": 0,  # the first piece says something else then
    "index_not_rebuilt": 0,  # the index of the knowledge begins empty then, and is not counted up
    "rules_forgotten": 0,  # governance decides by laxer rules when it begins again, and tells the right ones
    "settings_not_followed": 0,  # governance follows the first settings that were changed, also when they are restored
    "snapshot_drops_key": 0,  # from the first regeneration on, a snapshot of the rules lacks the risk of deletions
    "model_swapped": 0,  # the trust scorer that is restored is another one, with a checksum that fits
    "innocent_cut_off": 0,  # with an actor that is cut off the bus, a kernel that did nothing is cut off for good
    "alarm_without_cause": 0,  # memory is said to be short, once, when the CPU is 40 % busy for the first time
    "blacklist_kept": 0,  # the end of an actor's cut-off cuts off a kernel that did nothing, for good
    "shedding_stays": 0,  # work that may wait is deferred for good, although the pressure is over
    "shed_half": 2,  # under pressure every second intent that may wait is not deferred
    "shed_retros_not": 0,  # under pressure retrospectives are not deferred
    "shed_too_much": 0,  # under pressure intents of NORMAL priority are deferred as well
    "deferred_in_silence": 10,  # a retrospective is deferred although nothing is short, and nobody says why
    "bypass_stays": 0,  # reads are answered from the copy for good, although the dependency is well
    "refuse_leaks": 5,  # one in five decisions and intents is answered although nothing can be recorded
    "classifier_drifts": 10,  # the classifier says another category than before
    "knowledge_empty_under_fault": 0,  # while any incident is open, a search for knowledge finds nothing
    "bystander_slow": 0,  # while any incident is open, a route that has no part in it answers after 6 s
    "bystander_fails": 0,  # while any incident is open, a route that has no part in it fails
    "restarted_twice": 0,  # a kernel that was restarted is said to be away, once, when it has been well for a while
    "mute_after_restart": 0,  # memory_fusion is not heard on the bus any more once it has begun again
    "worker_killed_well": 0,  # a worker that gets its work done is said to be stalled, once
}
FIRST = 7  # the first of each row of so many is the one: early, so that a short trial meets it
RISK_BY_ASKING = 0.01
QUESTIONS_MAX = 10_000
CRUSHED_BY = 100  # questions in the first second


class Defects:
    """Those of one kernel. Nothing here does anything unless it was planted."""

    def __init__(self, planted: Iterable[str]) -> None:
        self.planted = frozenset(planted)
        self._first = {name: FIRST + self._before(name) for name in self.planted}
        self._counts: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._begun_s: float | None = None

    def _before(self, name: str) -> int:
        """How many of the planted ones that are as frequent as *name* stand before it by name."""
        return sum(DEFECTS[one] == DEFECTS[name] and one < name for one in self.planted)

    def strikes(self, name: str) -> bool:
        """Whether this one goes wrong: one in so many, by count; of two defects that are planted, each another one."""
        if name not in self.planted:
            return False
        count = self._counts[name] = self._counts.get(name, 0) + 1
        return count % DEFECTS[name] == self._first[name] % DEFECTS[name]

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

    def begun_before(self, name: str, folder: Path) -> bool:
        """Whether the defect *name* is planted and this start is not the first; *folder* keeps a mark of that."""
        if name not in self.planted:
            return False
        mark = folder / f"{name}.begun"
        if mark.exists():
            return True
        mark.touch()
        return False

    def risk_added(self, question: str) -> float:
        """What a question's risk grows by because it was asked before."""
        if "decision_by_order" not in self.planted or len(self._asked) > QUESTIONS_MAX:
            return 0.0
        asked = self._asked[question] = self._asked.get(question, -1) + 1
        return RISK_BY_ASKING * asked
