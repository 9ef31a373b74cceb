"""Work that was put off without a word why: which stretches of a run explain it, and what is left over."""

from __future__ import annotations

from collections.abc import Sequence

from harness.effect_spans import SWITCH_S, Span, before_run, edges, in_force, kinds, put_off, work_of
from harness.ledger import LEGITIMATE, ROUTE_KINDS, LedgerRow
from harness.playbook_effects import DEFERRABLE
from harness.record import Record
from harness.traffic import BIN_S, RequestRow

AFTER_S = 10.0  # a kernel that comes back, or a queue that was full, may need so long until it takes work again
ON_DISKS = ("disk",)  # faults under which nothing may be recorded
ON_WORKERS = ("worker", "code_patch")  # faults under which a queue may fill up
SHED = "shed"


def unexplained(record: Record) -> tuple[list[LedgerRow], list[RequestRow]]:
    """Rows of legitimate users that were put off while nothing explains it: of the ledger, and of requests.csv.

    Explained is what a playbook names while it is in force, what needs a kernel that a fault of the plan strikes or
    that a safeguard is engaged for, and work of the very kind that an attack floods.
    """
    start_s = record.baseline.at_s if record.baseline else 0.0
    spans: dict[str, list[Span]] = {}
    rows, counted = [], []
    for row in record.ledger or ():
        work = work_of(row)
        if row.attack or not work or row.deferred_for or not put_off(row) or row.at_s < start_s:
            continue
        if not _met(row.at_s if row.begun_s is None else row.begun_s, row.at_s, _spans(record, work, spans)):
            rows.append(row)
    for one in record.requests:
        works = _works(one.name)
        if one.user != LEGITIMATE or one.outcome != SHED or not works or one.at_s < start_s:
            continue
        begun_s = one.at_s - max((ms for ms, _ in one.latency_ms), default=0) / 1000
        if not any(_met(begun_s, one.at_s + BIN_S, _spans(record, work, spans)) for work in works):
            counted.append(one)
    return rows, counted


def _works(name: str) -> tuple[str, ...]:
    """The kinds of work that a route of requests.csv may stand for."""
    kind = ROUTE_KINDS.get(name.partition(" ")[2] or name, "")
    return (kind, DEFERRABLE) if kind == "intent" else (kind,) if kind else ()


def _met(begun_s: float, ended_s: float, spans: Sequence[Span]) -> bool:
    return any(start_s <= ended_s and begun_s <= until_s for start_s, until_s in spans)


def _spans(record: Record, work: str, known: dict[str, list[Span]]) -> list[Span]:
    if work not in known:
        kind = work.partition(".")[0]
        named = edges([one for one in in_force(record, succeeded=False) if work in kinds(record, one.playbook)])
        known[work] = [*before_run(record), *named, *_of_faults(record, kind), *_of_safeguards(record, kind)]
    return known[work]


def needed(record: Record, kind: str) -> set[str]:
    """The kernels that carry out work of *kind*, by the manifest's routes."""
    return {
        kernel
        for name, some in record.plan.routes.items()
        if name.startswith("POST ") and ROUTE_KINDS.get(name.partition(" ")[2]) == kind
        for kernel in some
    }


def _of_faults(record: Record, kind: str) -> list[Span]:
    kernels, found = needed(record, kind), []
    for fault in record.faults:
        step = fault.step
        struck = {step.subject, step.target, *step.kernels, *step.target.split("->")}
        flooded = ROUTE_KINDS.get(str(step.params.get("endpoint", ""))) == kind
        if "endpoint" in step.params and not flooded:
            continue  # it asks for other work
        by_type = step.type.startswith(ON_DISKS) or (kind == "intent" and step.type.startswith(ON_WORKERS))
        if fault.injected and (flooded or by_type or kernels & struck):
            ends = [event.at_s for event in (fault.ended, fault.healed) if event]
            found.append((fault.injected.at_s - SWITCH_S, (max(ends) if ends else record.end_s) + AFTER_S))
    return found


def _of_safeguards(record: Record, kind: str) -> list[Span]:
    kernels = needed(record, kind)
    return [
        (one.engaged.at_s - SWITCH_S - BIN_S, (one.released.at_s if one.released else record.end_s) + SWITCH_S)
        for one in record.engagements
        if one.subject in kernels
    ]
