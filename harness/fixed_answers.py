"""Answers to fixed questions that are no decisions: what models and routes said to the harness's own probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.fault_record import FaultRecord
from harness.ledger import Placed
from harness.model import Kind
from harness.record import Record

CONFIG = "config"
RESTORED_S = 30.0  # so long after a fault answers may still follow from what it damaged
VARIES_PERCENT = 50.0  # a share of answers before any fault, above which the question has no fixed answer here
LOOKS_MIN = 3
Row = tuple[float, float, int]


@dataclass(frozen=True)
class Said:
    """One look at an answer; *place* is where it is told."""

    at_s: float
    good: bool
    place: str


@dataclass(frozen=True)
class Answerer:
    """A model or a route, and all that was heard of it, without what a fault explains."""

    kind: str  # model, route
    name: str
    looks: tuple[Said, ...]

    @property
    def wrong(self) -> list[tuple[str, Placed]]:
        return [(f"{self.name}: {one.at_s:.1f} s", one) for one in self.looks if not one.good]

    def varies(self, first_injection_s: float | None) -> bool:
        """Whether it gave no steady answer either before anything was done to the target."""
        before = [one for one in self.looks if first_injection_s is None or one.at_s < first_injection_s]
        wrong = [one for one in before if not one.good]
        return len(before) >= LOOKS_MIN and 100.0 * len(wrong) / len(before) > VARIES_PERCENT


def answerers(record: Record) -> list[Answerer]:
    return [*_models(record), *_routes(record)]


def _models(record: Record) -> list[Answerer]:
    names = sorted({*record.subjects("model_answers_same"), *record.subjects("model_label_same")})
    found = {name: [*_by_answer(record, name), *_by_label(record, name)] for name in names}
    return [Answerer("model", name, _unexplained(record, looks, name)) for name, looks in found.items()]


def _by_answer(record: Record, name: str) -> list[Said]:
    """Whole answers; no answer at all is no other answer."""
    rows, answered = record.signals("model_answers_same", name).rows, record.signals("model_answered", name).rows
    if answered:
        there = {row[0] for row in answered if row[1] == 1.0}
        return [_said(row) for row in rows if row[0] in there]
    changed = [  # of an earlier version, which told only the status of each change
        Said(event.at_s, False, f"timeline:{event.seq}")
        for event in record.of_kind(Kind.SYMPTOM_SEEN)
        if event.subject == name and event.detail.get("what") == "model_answer_changed"
        if isinstance(status := event.detail.get("status"), int) and 200 <= status < 300
    ]
    return [*(_said(row) for row in rows if row[1] == 1.0), *changed]


def _by_label(record: Record, name: str) -> list[Said]:
    """What the model itself said; what stands in for it may find other words."""
    own = {row[0] for row in record.signals("model_first", name).rows if row[1] == 1.0}
    return [_said(row) for row in record.signals("model_label_same", name).rows if row[0] in own]


def _routes(record: Record) -> list[Answerer]:
    """Routes of which the manifest says what their answers hold."""
    return [
        Answerer("route", name, _unexplained(record, [_said(row) for row in record.signals("route_answer", name).rows]))
        for name in record.subjects("route_answer")
    ]


def _said(row: Row) -> Said:
    return Said(row[0], row[1] == 1.0, f"signals.csv:{row[2]}")


def _struck(fault: FaultRecord) -> set[str]:
    """What a fault may have damaged, by name: a model is called as its file is."""
    found = {fault.step.subject, fault.step.target, *map(str, fault.step.params.get("corrupt_files") or ())}
    files = fault.injected.detail.get("files", ()) if fault.injected else ()
    return found | {str(one.get("path", "")).rpartition("/")[2] for one in files}


def _unexplained(record: Record, looks: Sequence[Said], model: str = "") -> tuple[Said, ...]:
    """All but what was heard while files, or *model* itself, were damaged: answers may follow from those."""
    spans = []
    for fault in record.faults:
        if fault.injected is None:
            continue
        of_files = "files" in fault.injected.detail or CONFIG in (fault.step.target, fault.step.type.partition("_")[0])
        if of_files or model in _struck(fault):
            ends = [event.at_s for event in (fault.ended, fault.healed) if event]
            spans.append((fault.injected.at_s, (max(ends) if ends else record.end_s) + RESTORED_S))
    left = [one for one in looks if not any(start_s <= one.at_s <= end_s for start_s, end_s in spans)]
    return tuple(sorted(left, key=lambda one: one.at_s))
