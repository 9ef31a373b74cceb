"""What the plan's other faults do to a fault's record: they count on its witness's counter, or end it themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from harness.fault_record import FaultRecord
from harness.ledger import LEGITIMATE, PROBE
from harness.traffic import BIN_S, RequestRow

PER_S = "msg/s"  # the unit of a flood of the bus
ALL_MESSAGES = "topic_flood"  # its witness counts every message, those of the other floods count what was refused
KILLED = "killed"  # the magnitude of a fault that ends processes


def beside_each_other(faults: Sequence[FaultRecord], requests: Sequence[RequestRow]) -> tuple[FaultRecord, ...]:
    """*faults*, each with what of the others has to do with it."""
    found = []
    for one in faults:
        rest = [other for other in faults if other is not one and other.injected is not None]
        shared = _on_the_bus(one, rest) + _on_the_route(one, rest, requests)
        found.append(
            replace(one, others=_users(one, requests) + shared, shared=shared, ended_with=_ended_by(one, rest))
        )
    return tuple(found)


def _counted(fault: FaultRecord, requests: Iterable[RequestRow]) -> list[RequestRow]:
    """The requests that its witness, which counts everybody's on its route, has surely counted."""
    route = fault.witness.get("route")
    if not route or fault.injected is None or fault.ended is None:
        return []
    since_s, until_s = fault.injected.at_s + BIN_S, fault.ended.at_s - BIN_S
    return [row for row in requests if row.name == route and since_s <= row.at_s <= until_s and row.status]


def _users(fault: FaultRecord, requests: Iterable[RequestRow]) -> float:
    """How many requests of legitimate users and probes are counted with those of a flood."""
    return float(sum(row.count for row in _counted(fault, requests) if row.user in (LEGITIMATE, PROBE)))


def _on_the_route(fault: FaultRecord, rest: Sequence[FaultRecord], requests: Iterable[RequestRow]) -> float:
    """How many requests of other floods are counted with those of a flood, where they ask the same route."""
    endpoint, told = fault.step.params.get("endpoint"), _told(fault)
    if not any(other.step.params.get("endpoint") == endpoint for other in rest) or not endpoint:
        return 0.0
    attacks = sum(row.count for row in _counted(fault, requests) if row.user not in (LEGITIMATE, PROBE))
    return max(0.0, attacks - float(told.get("attempts") or 0))


def _on_the_bus(fault: FaultRecord, rest: Sequence[FaultRecord]) -> float:
    """How much of what the bus counted beside a flood is that of other floods, by their own word."""
    mine = _span(fault)
    if mine is None or fault.injected is None:
        return 0.0
    rated = fault.step.asked.unit == PER_S
    since_s, until_s = mine if rated else (fault.injected.at_s, mine[1])
    messages = 0.0
    for other in rest:
        theirs = _span(other)
        if theirs is not None and (fault.step.type == ALL_MESSAGES or other.step.type != ALL_MESSAGES):
            together_s = min(until_s, theirs[1]) - max(since_s, theirs[0])
            messages += max(0.0, together_s) * (_rate(other) or 0.0)
    return messages / (until_s - since_s) if rated and until_s > since_s else messages


def _rate(fault: FaultRecord) -> float | None:
    """How many messages a second a flood of the bus has sent by its own word; None for another fault."""
    if fault.step.asked.unit == PER_S:
        return (fault.achieved or {}).get("mean")
    return fault.also.get("rate") if any(one.unit == PER_S for one in fault.step.also_asked) else None


def _span(fault: FaultRecord) -> tuple[float, float] | None:
    """From when to when a flood of the bus has surely sent; None for another fault, or one that has not."""
    rate = _rate(fault)
    if not rate or fault.injected is None or fault.attained is None or fault.ended is None:
        return None
    if fault.step.asked.unit == PER_S:
        return fault.attained.at_s, fault.ended.at_s
    took_s = float((fault.achieved or {}).get("max", 0.0)) / rate
    return max(fault.injected.at_s, fault.ended.at_s - took_s), fault.ended.at_s


def _told(fault: FaultRecord) -> dict[str, Any]:
    told = fault.ended.detail.get("told") if fault.ended else None
    return told if isinstance(told, dict) else {}


def _victims(fault: FaultRecord) -> set[str]:
    """The kernels and workers whose processes a fault is aimed at."""
    workers = fault.injected.detail.get("workers") if fault.injected else None
    return {*fault.step.kernels, *(map(str, workers) if isinstance(workers, list | tuple) else ())}


def _ended_by(fault: FaultRecord, rest: Iterable[FaultRecord]) -> str:
    """The step that may have ended *fault* where its target is said to have: it killed the same process meanwhile."""
    if fault.ended_by != "target" or fault.injected is None or fault.ended is None:
        return ""
    kills = (one for one in rest if one.step.asked.name == KILLED and _victims(fault) & _victims(one))
    since_s, until_s = fault.injected.at_s, fault.ended.at_s
    meanwhile = (one.step.step_id for one in kills if one.injected and since_s <= one.injected.at_s <= until_s)
    return next(meanwhile, "")
