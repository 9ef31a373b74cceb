"""Error recognition system: knows failures by what the logs say of them, and sees to it that what helps is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twin.log_tail import Failure
from twin.signatures import Recognised, Signatures

WAIT_S = 1.5  # so long whoever is in charge of it has to see it, before it is done from here
LEARNS_FOR_S = 10.0  # a playbook that has helped so soon after a failure was the one for it
QUIET_S = 3.0


@dataclass(frozen=True)
class Step:
    """What is to be said: recognised (engaged), over (not engaged)."""

    subject: str
    engaged: bool
    playbook: str
    reason: str


@dataclass
class ErrorRecognitionSystem:
    """take() is fed the logs, incident() and mended() what others say; tick() decides. Time is an argument of all.

    A failure that was never seen before is learned, with the playbook that then helped; the next one is recognised.
    """

    signatures: Signatures
    playbooks: Iterable[str]
    name: str = "error_recognition_system"
    engaged: dict[str, float] = field(default_factory=dict)  # subject → when it was last heard of
    _waiting: dict[str, tuple[float, Recognised]] = field(default_factory=dict)  # subject → (until when, what)
    _learning: dict[str, tuple[float, str]] = field(default_factory=dict)  # subject → (until when, shape)
    _seen_by: dict[str, tuple[float, str]] = field(default_factory=dict)  # subject → (when, which safeguard)

    def take(self, now_s: float, now: float, failures: Iterable[Failure]) -> list[Recognised]:
        """What is new of them: learned now, and nobody knows yet what helps."""
        learned = []
        for failure in failures:
            one = self.signatures.take(now, failure)
            if one is None:
                continue
            if one.first_time:
                self._learning[one.subject] = (now_s + LEARNS_FOR_S, one.shape)
                learned.append(one)
            elif one.subject in self.engaged:
                self.engaged[one.subject] = now_s
            else:
                self._waiting.setdefault(one.subject, (now_s + WAIT_S, one))
        return learned

    def incident(self, now_s: float, incident: Mapping[str, Any]) -> None:
        """Another safeguard has seen something."""
        if incident["trigger_id"] != self.name:
            self._seen_by[str(incident["subject"])] = (now_s, str(incident["trigger_id"]))

    def mended(self, now_s: float, told: Mapping[str, Any]) -> None:
        """A playbook has ended; one that helped is the one for what failed just before."""
        until_s, shape = self._learning.get(str(told["subject"]), (0.0, ""))
        if told["outcome"] == "succeeded" and now_s <= until_s and told["playbook"] in self.playbooks:
            self.signatures.helped(shape, str(told["playbook"]))
            del self._learning[str(told["subject"])]

    def tick(self, now_s: float) -> list[Step]:
        steps = []
        for subject, (until_s, one) in list(self._waiting.items()):
            if now_s >= until_s:
                del self._waiting[subject]
                self.engaged[subject] = now_s
                steps.append(self._begin(now_s, one))
        for subject, heard_s in list(self.engaged.items()):
            if now_s - heard_s >= QUIET_S:
                del self.engaged[subject]
                steps.append(Step(subject, False, "", f"no such failure for {QUIET_S:g} s"))
        return steps

    def _begin(self, now_s: float, one: Recognised) -> Step:
        """Whoever is in charge does it; else it is done from here."""
        seen_s, safeguard = self._seen_by.get(one.subject, (-1e9, ""))
        if now_s - seen_s <= LEARNS_FOR_S:
            return Step(one.subject, True, "", f"recognised: {one.shape}; {safeguard} is at it")
        return Step(one.subject, True, one.playbook, f"recognised: {one.shape}")
