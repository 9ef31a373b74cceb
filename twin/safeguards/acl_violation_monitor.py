"""ACL violation monitor: sees from the bus's refusals that an actor does what it may not, and how insistently."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from twin.config import Thresholds


@dataclass
class ActorRecord:
    """An actor's recent refusals: (at_s, count, on control topics)."""

    rows: deque[tuple[float, int, int]] = field(default_factory=deque)
    last_s: float = 0.0

    def total(self, since_s: float) -> int:
        return sum(count for at_s, count, _ in self.rows if at_s > since_s)

    def control(self, since_s: float) -> int:
        return sum(control for at_s, _, control in self.rows if at_s > since_s)


@dataclass(frozen=True)
class Finding:
    """Why an actor is to be cut off."""

    actor: str
    reason: str
    details: dict[str, Any]


class AclViolationMonitor:
    """take() is fed the bus's summaries, calm() asks who has been quiet; time is an argument of both."""

    name = "acl_violation_monitor"
    playbook = "message_bus_acl_violation_fix"

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.records: dict[str, ActorRecord] = {}
        self.engaged: set[str] = set()

    def take(self, now_s: float, refusals: list[dict[str, Any]]) -> list[Finding]:
        """What a summary adds; the actors that it makes too many of."""
        actors = set()
        for row in refusals:
            record = self.records.setdefault(row["actor"], ActorRecord())
            control = row["count"] if row.get("control") else 0
            record.rows.append((now_s, row["count"], control))
            record.last_s = now_s
            actors.add(row["actor"])
        findings = []
        for actor in sorted(actors - self.engaged):
            finding = self._judge(now_s, actor)
            if finding:
                self.engaged.add(actor)
                findings.append(finding)
        return findings

    def _judge(self, now_s: float, actor: str) -> Finding | None:
        limits, record = self.thresholds, self.records[actor]
        window_s = limits.acl_per_actor_window_s
        while record.rows and record.rows[0][0] <= now_s - window_s:
            record.rows.popleft()
        rate = record.total(now_s - 1.0)
        total, control = record.total(now_s - window_s), record.control(now_s - window_s)
        details = {
            "in_last_second": rate,
            "in_window": total,
            "on_control_topics": control,
            "window_s": window_s,
        }
        if control >= limits.acl_on_control_topics:
            return Finding(actor, f"{control} violations on control topics", details)
        if rate >= limits.acl_rate_per_s:
            return Finding(actor, f"spam: {rate} violations in a second", details)
        if total >= limits.acl_per_actor:
            return Finding(actor, f"{total} violations in {window_s:g} s", details)
        return None

    def calm(self, now_s: float) -> list[str]:
        """The engaged actors that have tried nothing for a while."""
        quiet_s = self.thresholds.acl_quiet_s
        return [
            actor
            for actor in sorted(self.engaged)
            if now_s - self.records.setdefault(actor, ActorRecord(last_s=now_s)).last_s >= quiet_s
        ]

    def release(self, actor: str) -> None:
        self.engaged.discard(actor)
        self.records.pop(actor, None)
