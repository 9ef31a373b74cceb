"""Each worker that a fault held up or ended was replaced, as /proc shows it, and its pool went on with its work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from harness.checks import PROCESSES, finding, if_looked
from harness.ledger import HeldRow
from harness.model import Event, Finding, Kind, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class WorkersRestarted:
    """Those that the injections name as their `workers`, for each injection; within the plan's recovery limit of it.
    One that was replaced and then ended or stopped is no worker of the pool.
    """

    observers: ClassVar[tuple[str, ...]] = (PROCESSES,)

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "target/intents.jsonl",
        "timeline: fault_injected, kernel_changed, run_started, signal_back, signal_lost",
    )

    def check(self, record: Record) -> Finding:
        hit = [
            (str(worker), fault.injected)
            for fault in record.faults
            if fault.injected
            for worker in fault.injected.detail.get("workers", ())
        ]
        if not hit:
            why = "no worker was held up or ended"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_injected")
        found = [(worker, _replaced(record, worker, injected)) for worker, injected in hit]
        missed = sorted({worker for worker, event in found if event is None})
        if missed:
            why = f"/proc shows no new process in time for {', '.join(missed)}"
            return if_looked(
                record,
                PROCESSES,
                finding(
                    self,
                    Verdict.FAIL,
                    why,
                    *(injected for _, injected in hit),
                    record.looked("timeline"),
                    code="no_new_process",
                ),
            )
        ill = {worker: edge for worker, _ in hit if (edge := _ill(record, worker))}
        if ill:
            told = ", ".join(f"{worker} is {edge.detail['to']}" for worker, edge in ill.items())
            return finding(self, Verdict.FAIL, f"replaced, and at the end {told}", *ill.values(), code="ill_at_end")
        events = [event for _, event in found if event is not None]
        last = max(events, key=lambda event: event.at_s)
        first_s = min(injected.at_s for _, injected in hit)
        after = _done_after(record, last)
        if after is None:
            why = "the target tells nothing of its finished work"
            return finding(self, Verdict.INCONCLUSIVE, why, *events, code="work_unknown")
        if not after:
            why = "no work was finished after the last of them was replaced"
            return finding(self, Verdict.FAIL, why, *events, code="no_work_after")
        why = (
            f"{len(found)} replaced, the last {last.at_s - first_s:.1f} s after the injection; {len(after)} done since"
        )
        return finding(self, Verdict.PASS, why, *events, after[0].place)


def _replaced(record: Record, worker: str, injected: Event) -> Event | None:
    until_s = injected.at_s + record.plan.recovery_limit_s
    return next(
        (
            event
            for event in record.of_kind(Kind.KERNEL_CHANGED)
            if event.subject == worker
            and event.source == "processes"
            and event.detail.get("what") == "process"
            and event.detail.get("pid")
            and injected.at_s <= event.at_s <= until_s
        ),
        None,
    )


def _ill(record: Record, worker: str) -> Event | None:
    """The row that says that the worker has no process at the end, or one that stands still."""
    changes = record.of_kind(Kind.KERNEL_CHANGED)
    edges = [event for event in changes if (event.subject, event.source) == (worker, "processes")]
    return edges[-1] if edges and edges[-1].detail.get("to") in ("gone", "T") else None


def _done_after(record: Record, event: Event) -> list[HeldRow] | None:
    """What the target calls completed since *event*; None when nobody has asked it."""
    rows = record.held("intents")
    if rows is None:
        return None
    first = record.events[0]
    since = datetime.fromisoformat(first.wall_time).timestamp() - first.at_s + event.at_s
    return [row for row in rows if isinstance(at := row.fields.get("completed_at"), int | float) and at > since]


CHECK = WorkersRestarted
