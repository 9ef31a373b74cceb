"""Bystanders keep their routes and their place on the bus, no alarm is false, and what is taken away is given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness import bystanders
from harness.alarms import NOTHING, UNKNOWN, WITNESS, Alarm, alarms
from harness.bystanders import Cause
from harness.checks import EVENTS, finding, if_looked
from harness.model import Finding, Invariant, Verdict
from harness.record import Record

ORDER = ("route_failing", "actor_cut_off", "actor_denied", "false_alarm", "not_released")
SOURCES = {"bus.heartbeat_topic": "kernels on the bus", "signals.events": "safeguards"}


@dataclass(frozen=True, kw_only=True)
class BystandersUnharmed:
    """Five clauses, each with a code of its own; the first that fails names the finding.

    route_failing: a route whose kernels hold no faulted one failed two probes in a row (a probe asks once a second, so
    one miss in a short run is no share of 1 %), three when all of them are time-outs of 2 s, three or more that are at
    least a tenth of its probes, or more than 1 % of at least 100 probes, or more than 1 % of its users' requests, or
    its p99 exceeds the bound of a responsive route. A probe that is told to come later failed, unless a playbook in
    force defers that kind of work. A pressure on the whole machine excuses none.
    actor_cut_off: a kernel without a fault is not heard on the bus for 5 s while the subscriber hears itself, or the
    legitimate users are limited, all of them or a single one who is turned away five times in a row. actor_denied: the
    bus refuses messages of a flood that its actor may send, for any reason but that it has no room.
    false_alarm: an engagement that neither a fault of the plan explains, by its type and the safeguard, nor our own
    witness of that quantity; what our witness explains is a side effect, and listed. not_released: a safeguard still
    engaged, work still deferred, answers still stale, a model still replaced, after the recovery.
    """

    claim: str
    invariant: ClassVar[Invariant] = Invariant(order=6, claim="what no fault is aimed at is unharmed")
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "requests.csv",
        "signals.csv: bus_canary, bus_heartbeats, cpu_percent, cpu_percent_before, htm_queue_depth",
        "signals.csv: kernel_heartbeat_age_s, memory_percent, model_first, route_deferred, route_latency_ms, route_up",
        "timeline: fault_ended, fault_healed, fault_injected, file_changed, kernel_changed, playbook_finished",
        "timeline: playbook_started, recovered, run_started, safeguard_engaged, safeguard_released, signal_back",
        "timeline: signal_lost, steady_state_met, symptom_seen",
    )

    def check(self, record: Record) -> Finding:
        missing = tuple(key for key in SOURCES if key not in record.plan.offers)
        if len(missing) == len(SOURCES) and not record.bystander_routes:
            why = "not judged: every route needs a faulted kernel, and the target tells of nothing else"
            place = record.looked("plan.json")
            return finding(self, Verdict.NOT_APPLICABLE, why, place, code="not_judged", missing=missing)
        causes, remarks = bystanders.routes(record)
        seen = alarms(record)
        causes += [*bystanders.actors(record), *_false(seen), *bystanders.released(record)]
        remarks += [f"not judged: {SOURCES[key]}" for key in missing]
        effects = sorted({f"{one.name}: {one.because}" for one in seen if one.cause == WITNESS})
        remarks += [f"side effects: {'; '.join(effects)}"] if effects else []
        remarks += bystanders.still_caused(record)
        failed = sorted((one for one in causes if one.verdict is Verdict.FAIL), key=lambda one: ORDER.index(one.code))
        chosen = failed or causes
        why = "; ".join([*(one.words for one in chosen), *remarks])
        cited = [place for one in chosen for place in one.evidence]
        if not chosen:
            return self._passed(record, seen, remarks, missing)
        verdict = Verdict.FAIL if failed else Verdict.INCONCLUSIVE
        found = finding(self, verdict, why, *dict.fromkeys(cited), code=[one.code for one in chosen], missing=missing)
        only_events = all(one.code in ("false_alarm", "not_released") for one in chosen)
        return if_looked(record, EVENTS, found) if only_events else found

    def _passed(
        self, record: Record, seen: Sequence[Alarm], remarks: Sequence[str], missing: tuple[str, ...]
    ) -> Finding:
        start_s, end_s = bystanders.window(record)
        names = record.bystander_routes
        probes = [row for name in names for row in record.signals("route_up", name).between(start_s, end_s).rows]
        rows = record.request_rows(start_s, end_s, names=names)
        heard = record.subjects(bystanders.HEARTBEATS)
        why = (
            f"{len(names)} routes answered {len(probes)} probes and {sum(row.count for row in rows)} requests of users"
        )
        why += f"; {len(heard)} kernels were heard on the bus; {len(seen)} engagements had cause and were released"
        cited = [f"signals.csv:{line}" for _, _, line in sorted(probes)[:: max(1, len(probes) - 1)]][:2]
        cited += [f"requests.csv:{row.line}" for row in (*rows[:1], *rows[-1:]) if row.line]
        cited += [f"timeline:{one.engagement.engaged.seq}" for one in seen[:5]]
        if not probes and not rows and names:
            why = f"neither a probe nor a user asked any of {len(names)} routes that need no faulted kernel"
            return finding(self, Verdict.INCONCLUSIVE, why, "requests.csv:1", code="route_unseen", missing=missing)
        return finding(self, Verdict.PASS, "; ".join([why, *remarks]), *dict.fromkeys(cited), missing=missing)


def _false(seen: Sequence[Alarm]) -> list[Cause]:
    causes = []
    for one in seen:
        if one.cause in (NOTHING, UNKNOWN):
            verdict = Verdict.FAIL if one.cause == NOTHING else Verdict.INCONCLUSIVE
            words = f"{one.name} engaged at {one.engagement.engaged.at_s:.1f} s without a fault: {one.because}"
            code = "false_alarm" if one.cause == NOTHING else "alarm_unwitnessed"
            causes.append(Cause(code, words, (f"timeline:{one.engagement.engaged.seq}", *one.evidence), verdict))
    return causes


CHECK = BystandersUnharmed
