"""When each kernel counts as struck by a fault: from the injection until it, or its successor, is well again.

Before that and after it is a bystander like any other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.effect_spans import Span
from harness.ledger import LEGITIMATE, ROUTE_KINDS
from harness.model import WELL, Kind
from harness.record import FaultRecord, Record
from harness.traffic import BIN_S, RequestRow

GRACE_S = 5.0  # so long after its first good answer what calls a kernel may need to notice
UNPROBED_S = 30.0  # so long after the fault, where no probe shows when the kernel is well again
CLOCK_S = 1.0  # between a fault's own times and those at which an observer looked
NOT_ALIVE = ("gone", "T")  # what /proc shows of a process


@dataclass(frozen=True)
class Strike:
    """One fault's hold on one kernel."""

    kernel: str
    since_s: float
    until_s: float
    process: bool  # False: it struck only the way to the kernel, and its process must live on


def strikes(record: Record) -> list[Strike]:
    """Every hold of a fault on a kernel. A fault of a link strikes the callee's answers, and not its process."""
    found = []
    for fault in record.faults:
        if fault.injected is None:
            continue
        for kernel in sorted({fault.step.subject, *fault.step.kernels} & set(record.plan.kernels)):
            until_s = _well_s(record, fault, kernel)
            process = kernel in fault.step.kernels or not _is_link(fault)
            found.append(Strike(kernel, fault.injected.at_s - CLOCK_S, until_s, process))
    return found


def spans(record: Record, kernels: Collection[str], process: bool = False) -> list[Span]:
    """Stretches in which any of *kernels* was struck; of its process only, where asked."""
    mine = [one for one in strikes(record) if one.kernel in kernels and (one.process or not process)]
    return sorted((one.since_s, one.until_s) for one in mine)


def spans_of_route(record: Record, name: str) -> list[Span]:
    return spans(record, record.plan.routes.get(name, ()))


def crew(record: Record) -> set[str]:
    """The kernels that may take workers along: those that hand out their work; any one, where that is not known."""
    of_intents = [
        set(kernels)
        for name, kernels in record.plan.routes.items()
        if ROUTE_KINDS.get(name.partition(" ")[2]) == "intent"
    ]
    return set().union(*of_intents) if of_intents else set(record.plan.kernels)


def spared_rows(record: Record, since_s: float, until_s: float, user: str = LEGITIMATE) -> tuple[RequestRow, ...]:
    """What users asked of routes none of whose kernels was struck while they waited for the answer."""
    known = {name: spans_of_route(record, name) for name in record.plan.routes}
    unknown_too = not record.faulted_kernels  # which kernels a route needs that the manifest does not tell
    return tuple(
        row
        for row in record.request_rows(since_s, until_s, user)
        if (unknown_too if row.name not in known else not _met(row, known[row.name]))
    )


def overlap_s(since_s: float, until_s: float, some: Sequence[Span]) -> float:
    """How long between two times at least one of *some* (in order) was on."""
    total, seen_s = 0.0, since_s
    for start_s, end_s in some:
        start_s, end_s = max(start_s, seen_s), min(end_s, until_s)
        if end_s > start_s:
            total, seen_s = total + end_s - start_s, end_s
    return total


def _met(row: RequestRow, some: Sequence[Span]) -> bool:
    begun_s = row.at_s - BIN_S - max((ms for ms, _ in row.latency_ms), default=0) / 1000
    return any(start_s <= row.at_s + BIN_S and begun_s <= end_s for start_s, end_s in some)


def _is_link(fault: FaultRecord) -> bool:
    return "->" in fault.step.target


def _well_s(record: Record, fault: FaultRecord, kernel: str) -> float:
    """When *kernel* is a bystander again: a grace after the first good probe since the fault is over and it lives."""
    over = fault.healed or fault.ended
    alive_s = None if over is None else _alive_s(record, fault, kernel, over.at_s)
    if alive_s is None:
        return record.end_s
    probes = record.signals("route_up", record.witness_route(kernel)).between(alive_s, record.end_s).rows
    if not probes:
        return alive_s + UNPROBED_S
    return next((at_s + GRACE_S for at_s, value, _ in probes if value), record.end_s)


def _alive_s(record: Record, fault: FaultRecord, kernel: str, over_s: float) -> float | None:
    """From when the kernel has a process that runs, at *over_s* or later; None: from no time on."""
    since_s = fault.injected.at_s - CLOCK_S if fault.injected else 0.0
    edges = [e for e in record.of_kind(Kind.KERNEL_CHANGED) if e.subject == kernel and e.source == "processes"]
    dead = False
    for edge in sorted((e for e in edges if e.at_s >= since_s), key=lambda e: e.at_s):
        if not dead and edge.at_s > over_s + CLOCK_S:
            break
        if edge.detail.get("to") in NOT_ALIVE:
            dead = True
        elif edge.detail.get("what") == "process" or edge.detail.get("to") in WELL:
            dead, over_s = False, max(over_s, edge.at_s)
    return None if dead else over_s
