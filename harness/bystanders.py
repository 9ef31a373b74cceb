"""Bystanders of the faults, clause by clause: their routes, their place on the bus, and what is given back to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from harness.alarms import by_others, names_of, shows_cause
from harness.effect_spans import before_run, in_force, kinds, within
from harness.ledger import LEGITIMATE, ROUTE_KINDS, LedgerRow
from harness.model import Kind, Verdict
from harness.playbook_effects import CUTS_OFF
from harness.record import Engagement, Record, cite_rows
from harness.strikes import overlap_s, spans, spans_of_route, spared_rows
from harness.traffic import BIN_S, RequestRow, Traffic

MISSES_IN_A_ROW = 2  # a probe asks once a second: a single miss may be a moment of the whole machine
GAP_S = 5.0  # two probes that are so far apart are not in a row
TIMEOUTS_IN_A_ROW = 3  # of misses that are all time-outs: together longer than the bound of an answer
PROBE_MS = 2000.0  # so long a probe waits for an answer
Sample = tuple[float, float, int]
PROBES_MIN = 100  # of fewer a share of 1 % says nothing
FEW_MISSES, FEW_PERCENT = 3, 10.0  # of fewer: so many, and such a share, are no moments of the machine any more
REQUESTS_MIN = 20
FAILURES_MIN = 2
REQUESTS_OF_ONE_MIN = 5  # of one user, turned away in a row
SILENT_S = 5.0  # a kernel publishes once a second
CANARY_S = 3.0  # so long the subscriber may be without its own messages: a busy bus is late
SETTLE_S = 1.0  # an answer that was under way when a playbook was taken back
OPEN_S = 5.0  # an engagement that began so shortly before the end had no time to be released
HEARTBEATS, BUS = "bus_heartbeats", "message_bus"
# the bus's reasons that deny nobody a right, for there is no room for more; any other one does, and none as well
OVERLOADED = ("busy", "no_room", "overloaded", "queue_full", "timeout", "too_busy")
NO_REASON = "nothing"
BUS_BACK_S = 10.0  # so long after the bus was struck its subscribers may need to be back


@dataclass(frozen=True)
class Cause:
    """Something that speaks against a claim."""

    code: str
    words: str
    evidence: tuple[str, ...]
    verdict: Verdict = Verdict.FAIL


def window(record: Record) -> tuple[float, float]:
    """From the first injection (of a run without one: from the baseline) until nobody sends requests any more."""
    start_s = record.first_injection_s
    if start_s is None:
        start_s = record.baseline.at_s if record.baseline else 0.0
    return start_s, record.load_end_s


# Routes


def routes(record: Record) -> tuple[list[Cause], list[str]]:
    """(what is wrong with the routes while none of their kernels was struck, remarks about what was not seen)."""
    causes: list[Cause] = []
    unseen: list[str] = []
    start_s, end_s = window(record)
    spared = spared_rows(record, start_s, end_s)
    bystanders = record.bystander_routes
    for name in sorted(record.plan.routes):
        struck = spans_of_route(record, name)
        looked = _unasked_for(record, name, record.signals("route_up", name).between(start_s, end_s).rows)
        probed = [row for row in looked if not within(row[0], struck)]
        rows = [row for row in spared if row.name == name]
        causes += _probes(record, name, probed, struck) + _users(record, name, rows)
        if name not in bystanders:
            continue  # while its kernel was struck nothing was expected of it
        if not probed and name in record.plan.witnesses.values():
            why = f"the probe of {name} was silent"
            causes.append(Cause("route_unseen", why, ("signals.csv:1",), Verdict.INCONCLUSIVE))
        elif not probed and not rows:
            unseen.append(name)
    return causes, [f"nobody asked {', '.join(unseen)}, and no probe does"] if unseen else []


def ill_again(record: Record) -> list[Cause]:
    """What shows after the recovery that the target is ill again, besides its own events: routes, the bus."""
    if record.recovered is None:
        return []
    since_s, causes = record.recovered.at_s, list[Cause]()
    for name in sorted(record.plan.routes):
        rows = record.signals("route_up", name).between(since_s, record.load_end_s).rows
        probed = [row for row in rows if not within(row[0], spans_of_route(record, name))]
        if in_a_row := _longest(record, name, probed):
            missed = [line for _, value, line in probed if value == 0.0]
            words = f"{name} failed {in_a_row} probes in a row"
            causes.append(Cause("route_failing", words, tuple(f"signals.csv:{line}" for line in missed[:5])))
    return causes + _silent_kernels(record, since_s)


def _unasked_for(record: Record, name: str, rows: Sequence[Sample]) -> Sequence[Sample]:
    """*rows* of route_up, with a miss where the route deferred its work and no playbook in force says so."""
    deferred = {at_s: line for at_s, value, line in record.signals("route_deferred", name).rows if value}
    if not deferred:
        return rows
    known = before_run(record)
    if not record.plan.effects:  # such a target does not say what its playbooks defer
        known += [(_start_s(one), _end_s(record, one)) for one in record.engagements]
    kind = ROUTE_KINDS.get(urlsplit(name.partition(" ")[2]).path, "")
    mine = (
        s for s in in_force(record, succeeded=False) if kind in {k.partition(".")[0] for k in kinds(record, s.playbook)}
    )
    known += [span.edge for span in mine]
    return [
        (at_s, 0.0, deferred[at_s]) if at_s in deferred and not within(at_s, known) else (at_s, value, line)
        for at_s, value, line in rows
    ]


def _probes(record: Record, name: str, rows: Sequence[Sample], struck: Sequence[tuple[float, float]]) -> list[Cause]:
    slo = record.plan.slo
    missed = [row for row in rows if row[1] == 0.0]
    in_a_row = _longest(record, name, rows)
    share = 100.0 - 100.0 * len(missed) / len(rows) if rows else 100.0
    cited = tuple(f"signals.csv:{line}" for _, _, line in missed[:5])
    many = len(rows) >= PROBES_MIN and share < slo.bystander_success_percent_min
    often = len(missed) >= FEW_MISSES and 100.0 - share >= FEW_PERCENT
    if in_a_row or many or often:
        words = f"{name} failed {len(missed)} of {len(rows)} probes" + (f", {in_a_row} in a row" if in_a_row else "")
        return [Cause("route_failing", words, cited)]
    slow = record.signals("route_latency_ms", name).between(rows[0][0], rows[-1][0]).rows if rows else ()
    ordered = sorted((value, line) for at_s, value, line in slow if not within(at_s, struck))
    if len(ordered) >= REQUESTS_MIN:
        p99, line = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
        if p99 > slo.responsive_latency_ms_p99_max:
            words = f"{name} answered probes with a p99 of {p99:.0f} ms"
            return [Cause("route_failing", words, (f"signals.csv:{line}",))]
    return []


def _longest(record: Record, name: str, rows: Sequence[Sample]) -> int:
    """How many probes in a row failed at most, where those are enough to say so; 0 otherwise.

    A probe waits for 2 s only, and the bound of an answer is 5 s: two that were not answered in time say nothing yet.
    """
    took_ms = {at_s: ms for at_s, ms, _ in record.signals("route_latency_ms", name).rows}
    longest = current = late = 0
    last_s = rows[0][0] if rows else 0.0
    for at_s, value, _ in rows:
        if at_s - last_s > GAP_S:  # nobody looked, or its kernel was struck
            current = late = 0
        last_s = at_s
        current, late = (current + 1, late + (took_ms.get(at_s, 0.0) >= PROBE_MS)) if value == 0.0 else (0, 0)
        if current >= (TIMEOUTS_IN_A_ROW if late == current else MISSES_IN_A_ROW):
            longest = max(longest, current)
    return longest


def _users(record: Record, name: str, rows: Sequence[RequestRow]) -> list[Cause]:
    slo, traffic = record.plan.slo, Traffic.of(rows)
    lost = traffic.failed + traffic.limited
    if traffic.count < REQUESTS_MIN:
        return []
    success = 100.0 - 100.0 * lost / traffic.count
    p99 = traffic.percentile(99) or 0.0
    if success < slo.bystander_success_percent_min and lost >= FAILURES_MIN:
        words = f"{success:.1f} % of {traffic.count} requests of users to {name} succeeded"
        bad = (row for row in rows if row.outcome in ("failed", "limited"))
        return [Cause("route_failing", words, cite_rows(bad))]
    if p99 > slo.responsive_latency_ms_p99_max:
        words = f"users waited for {name} with a p99 of {p99:.0f} ms"
        return [Cause("route_failing", words, cite_rows(rows[-1:]))]
    return []


# Actors


def actors(record: Record) -> list[Cause]:
    """What shows that an actor without a fault is cut off: kernels on the bus, ourselves, the legitimate users."""
    causes = [*_limited(record), *_turned_away(record), *_denied(record), *_silent_kernels(record)]
    if "bus.heartbeat_topic" in record.plan.offers and not record.subjects(HEARTBEATS):
        why = "the subscriber heard no kernel on the topic of their heartbeats"
        causes.append(Cause("bus_unheard", why, ("signals.csv:1",), Verdict.INCONCLUSIVE))
    elif "bus.heartbeat_topic" in record.plan.offers:
        causes += [*_deaf(record), *_never_heard(record)]
    return causes


def _deaf(record: Record) -> list[Cause]:
    """Longer than SILENT_S without its own messages the subscriber hears nobody: nothing is known of that time."""
    start_s, end_s = window(record)
    rows = [row for row in record.signals("bus_canary").rows if row[0] <= end_s]
    heard = [(now[0], now[2]) for last, now in pairwise(rows) if now[1] > last[1] and now[0] >= start_s]
    struck = _bus_struck(record)
    places = [(start_s, rows[0][2] if rows else 1), *heard]
    for (since_s, line), until_s in zip(places, [*(at_s for at_s, _ in heard), end_s], strict=True):
        excused_s = sum(max(0.0, min(until_s, b) - max(since_s, a)) for a, b in struck)
        if until_s - since_s - excused_s > SILENT_S:
            words = f"the subscriber did not hear itself on the bus for {until_s - since_s:.0f} s"
            return [Cause("bus_deaf", words, (f"signals.csv:{line}",), Verdict.INCONCLUSIVE)]
    return []


def _bus_struck(record: Record) -> list[tuple[float, float]]:
    """Times in which the bus itself was away, by a fault of the plan or by a death of its own, and came back."""
    spans = []
    for fault in record.faults:
        if fault.injected and BUS in (fault.step.subject, *fault.step.kernels):
            over = fault.healed or fault.ended
            spans.append((fault.injected.at_s, (over.at_s if over else record.end_s) + BUS_BACK_S))
    changes = [event for event in record.of_kind(Kind.KERNEL_CHANGED) if event.subject == BUS]
    spans += [(one.at_s - SILENT_S, one.at_s + BUS_BACK_S) for one in changes]
    return spans


def _never_heard(record: Record) -> list[Cause]:
    """Kernels that no message came from, though others were heard; the bus carries, and need not speak."""
    silent = sorted(set(record.plan.kernels) - set(record.subjects(HEARTBEATS)) - {BUS})
    if not silent:
        return []
    why = f"the subscriber never heard {', '.join(silent)} on the topic of the heartbeats"
    return [Cause("bus_unheard", why, (record.looked("signals.csv"),), Verdict.INCONCLUSIVE)]


def _limited(record: Record) -> list[Cause]:
    start_s, end_s = window(record)
    rows = record.request_rows(start_s, end_s)
    limited = [row for row in rows if row.outcome == "limited"]
    count, total = sum(row.count for row in limited), sum(row.count for row in rows)
    if count < FAILURES_MIN or 100.0 * count / total <= 100.0 - record.plan.slo.bystander_success_percent_min:
        return []
    return [Cause("actor_cut_off", f"legitimate users were limited {count} times of {total}", cite_rows(limited))]


def _turned_away(record: Record) -> list[Cause]:
    """Single users hidden among many: each request of theirs was turned away (4xx), several in a row.

    What was put off (503) or had no answer says neither. A user whom a fault of the plan strikes or bears is none.
    """
    start_s, end_s = window(record)
    aimed_at = {name for fault in record.faults for name in names_of(record, fault)}
    rows: dict[str, list[LedgerRow]] = {}
    for row in record.ledger or ():
        if row.user == LEGITIMATE and row.valid and row.actor and start_s <= row.at_s <= end_s:
            rows.setdefault(row.actor, []).append(row)
    causes = []
    for actor in sorted(set(rows) - aimed_at):
        decided = [row for row in rows[actor] if row.outcome == "accepted" or 400 <= row.status < 500]
        current: list[LedgerRow] = []
        for row in sorted(decided, key=lambda one: one.at_s):
            current = [] if row.outcome == "accepted" else [*current, row]
            if len(current) == REQUESTS_OF_ONE_MIN:
                words = (
                    f"{actor} was turned away {len(current)} times in a row with {row.status}, until {row.at_s:.1f} s"
                )
                causes.append(Cause("actor_cut_off", words, tuple(one.place for one in current)))
                break
    return causes


def _denied(record: Record) -> list[Cause]:
    """Messages that the bus refused to an actor that may send them: it had accepted the like before the flood began.

    A safeguard that answers such a flood, by the scenario's `detected_by`, may cut its actor off while it comes.
    """
    causes = []
    for fault in record.faults:
        if fault.ended is None or fault.injected is None or not fault.injected.detail.get("permitted"):
            continue
        answers = {name for name, _ in record.plan.coverage.get(fault.step.step_id, ())}
        since_s, until_s = fault.injected.at_s - SETTLE_S, fault.ended.at_s
        during = [one for one in record.engagements if since_s <= one.engaged.at_s <= until_s]
        if any(one.safeguard in answers and one.subject == fault.step.subject for one in during):
            continue
        told = fault.ended.detail.get("told", {})
        denied = _reasons(told)
        if _bus_struck(record):
            denied.pop("unknown_actor", None)  # a bus that has begun again may have forgotten whose a key is
        if denied:
            reasons = ", ".join(f"{count:g} as {why}" for why, count in sorted(denied.items()))
            words = f"the bus refused permitted messages of {fault.step.subject}: {reasons}, of {told.get('sent', 0)}"
            places = (f"timeline:{fault.injected.seq}", f"timeline:{fault.ended.seq}")
            causes.append(Cause("actor_denied", words, places))
    return causes


def _reasons(told: Mapping[str, Any]) -> dict[str, float]:
    """{why: how many} of the messages that were refused for want of a right, or for no reason that was given."""
    by_reason = {str(why): count for why, count in (told.get("refused_by_reason") or {}).items() if count}
    unsaid = (told.get("refused") or 0) - sum(by_reason.values())
    return {
        **{why: count for why, count in by_reason.items() if why not in OVERLOADED},
        **({NO_REASON: unsaid} if unsaid > 0 else {}),
    }


def _silent_kernels(record: Record, from_s: float = 0.0) -> list[Cause]:
    """Kernels that the subscriber did not hear for longer than SILENT_S since *from_s*, while it heard itself.

    What a fault struck is heard again once it is well. A silence that began after the last fault and lasts to the end
    is something that was not given back.
    """
    canary = record.signals("bus_canary").rows
    end_s = min(record.load_end_s, canary[-1][0]) if canary else 0.0
    over_s = record.last_fault_end_s
    causes = []
    for kernel in record.subjects(HEARTBEATS):
        struck = spans(record, (kernel,))
        rows = [row for row in record.signals(HEARTBEATS, kernel).rows if row[0] <= end_s]
        for (last_s, _, line), following in zip(rows, [*rows[1:], None], strict=True):
            since_s, to_s = max(last_s, from_s), following[0] if following else end_s
            silent_s = to_s - since_s - overlap_s(since_s, to_s, struck)
            if silent_s <= SILENT_S or not _heard_itself(canary, since_s, to_s):
                continue
            kept = following is None and over_s is not None and since_s > over_s
            words = f"{kernel} was not heard on the bus for {silent_s:.0f} s, and the subscriber heard itself"
            causes.append(Cause("not_released" if kept else "actor_cut_off", words, (f"signals.csv:{line}",)))
            break
    return causes


def _heard_itself(rows: Sequence[tuple[float, float, int]], since_s: float, until_s: float) -> bool:
    """True when the subscriber's own messages came all through a stretch of time."""
    near = [row for row in rows if since_s - CANARY_S <= row[0] <= until_s]
    heard = [now[0] for last, now in pairwise(near) if now[1] > last[1]]
    return max((end - start for start, end in pairwise([since_s, *heard, until_s])), default=0.0) <= CANARY_S


# What is given back


def released(record: Record) -> list[Cause]:
    """What a playbook took away and had not given back by the end."""
    return [*_still_engaged(record), *_still_deferred(record), *_still_replaced(record)]


def _left_engaged(record: Record) -> list[Engagement]:
    expected = _quarantined(record)
    return [
        one
        for one in record.engagements
        if one.released is None
        and not one.engaged.detail.get("before_run")
        and one.engaged.at_s <= record.end_s - OPEN_S
        and (one.safeguard, one.subject) not in expected
    ]


def _by_others(record: Record, one: Engagement) -> bool:
    """True where its cause is no fault of the plan and is still there at the end, by our own witness."""
    return by_others(record, one) and shows_cause(record, one, record.end_s)


def still_caused(record: Record) -> list[str]:
    """Remarks on safeguards that are still engaged at the end, and rightly."""
    left = [one for one in _left_engaged(record) if _by_others(record, one)]
    names = ", ".join(sorted(f"{one.safeguard}({one.subject})" for one in left))
    return [f"still engaged at the end, and its cause is still there: {names}"] if left else []


def _still_engaged(record: Record) -> list[Cause]:
    left = [one for one in _left_engaged(record) if not _by_others(record, one)]
    if not left:
        return []
    names = ", ".join(sorted(f"{one.safeguard}({one.subject})" for one in left))
    cited = tuple(f"timeline:{one.engaged.seq}" for one in left[:5])
    return [Cause("not_released", f"still engaged at the end: {names}", cited)]


def _quarantined(record: Record) -> set[tuple[str, str]]:
    """(safeguard, subject) of faulted actors whom a playbook cuts off: they may stay so."""
    return {
        (name, record.plan.subject_of(step, name))
        for step in record.plan.steps
        for name, playbook in record.plan.coverage.get(step.step_id, ())
        if record.plan.effects.get(playbook, {}).get(CUTS_OFF)
    }


def _still_deferred(record: Record) -> list[Cause]:
    """Answers of a playbook after the recovery, while no safeguard was engaged."""
    if record.recovered is None:
        return []
    rows = record.request_rows(record.recovered.at_s + SETTLE_S, record.end_s, LEGITIMATE)
    late = [row for row in rows if row.outcome in ("shed", "stale", "limited") and not _during(record, row.at_s)]
    if not late:
        return []
    what = ", ".join(sorted({f"{row.outcome} at {row.name}" for row in late}))
    return [
        Cause("not_released", f"{sum(row.count for row in late)} answers after the recovery: {what}", cite_rows(late))
    ]


def _during(record: Record, at_s: float) -> bool:
    return any(_start_s(one) <= at_s <= _end_s(record, one) for one in record.engagements)


def _start_s(one: Engagement) -> float:
    return one.engaged.at_s - SETTLE_S - BIN_S


def _end_s(record: Record, one: Engagement) -> float:
    return one.released.at_s + SETTLE_S if one.released else record.end_s


def _still_replaced(record: Record) -> list[Cause]:
    """Models that were replaced by another one, and are not in use again at the end."""
    causes = []
    for model in record.subjects("model_first"):
        rows = record.signals("model_first", model).rows
        if rows[0][1] == 1.0 and rows[-1][1] == 0.0:
            words = f"{model} was still replaced by another model at the end"
            causes.append(Cause("not_released", words, (f"signals.csv:{rows[-1][2]}",)))
    return causes
