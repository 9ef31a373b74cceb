"""Invariant: the target's knowledge, models, configuration and rules are after the recovery what they were before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.model import Finding, Invariant, Verdict
from harness.record import Record
from harness.states import AFTER, BEFORE, FILES, SNAPSHOT, State, differences, snapshot_paths, state_file, untaken

SOURCES = ("ledgers.knowledge", "paths.models", f"paths.{SNAPSHOT}", "paths.config", "behaviour")


@dataclass(frozen=True, kw_only=True)
class StateKept:
    """Two readings of the run folder are compared: before the first fault, and after all was read back."""

    claim: str
    invariant: ClassVar[Invariant] = Invariant(
        order=5, claim="knowledge, snapshots, models, configuration and rules outlast every fault", sources=SOURCES
    )
    sources: ClassVar[tuple[str, ...]] = (
        "state/after.json",
        "state/before.json",
        "timeline: every row, fault_ended, fault_injected, run_aborted, run_finished",
    )

    def check(self, record: Record) -> Finding:
        missing = tuple(one for one in SOURCES if one not in record.plan.offers)
        before, after = record.states
        if before is None or after is None:
            return self._not_taken(record, before is None, missing)
        first_s = record.first_injection_s
        if first_s is not None and before.ended_s > first_s:
            why = f"the state before was read until {before.ended_s:.1f} s, and the first fault came at {first_s:.1f} s"
            return finding(self, Verdict.INCONCLUSIVE, why, before.head.place, code="not_taken", missing=missing)
        restored = given_back(record)
        wrong = differences(before, after, restored)
        lacking = untaken(before, after)
        told = wrong or lacking
        if told:
            verdict = Verdict.FAIL if wrong else Verdict.INCONCLUSIVE
            because = "; ".join(one.because for one in (*wrong, *lacking))
            evidence = dict.fromkeys(place for one in told for place in one.evidence)
            return finding(self, verdict, because, *evidence, code=[one.code for one in told], missing=missing)
        return self._shown(before, after, restored, missing)

    def _not_taken(self, record: Record, first: bool, missing: tuple[str, ...]) -> Finding:
        name, when = (BEFORE, "before the faults") if first else (AFTER, "after the recovery")
        why = f"the state {when} was not read: the run folder has no {state_file(name)}"
        place = "timeline:1" if record.events else "plan.json:1"
        cut = record.aborted or record.finished
        return finding(self, Verdict.INCONCLUSIVE, why, place, cut, code="not_taken", missing=missing)

    def _shown(self, before: State, after: State, restored: frozenset[str], missing: tuple[str, ...]) -> Finding:
        files = [row for row in before.of("file") if row.text("place") in FILES and row.text("path") not in restored]
        keys = () if set(snapshot_paths(before)) & restored else before.of("key")
        found = {
            "pieces of knowledge": before.of("knowledge"),
            "files": files,
            "snapshot keys": keys,
            "answers": before.of("answer"),
        }
        parts = [f"{len(rows)} {name}" for name, rows in found.items() if rows]
        mine = sorted(path.rpartition("/")[2] for path in restored & _paths(before.of("file")))
        said = f"; {', '.join(mine)} was put back by the harness, which says nothing of the target" if mine else ""
        if not parts:
            because = f"nothing of the target's state could be compared{said}"
            places = (before.head.place, after.head.place)
            return finding(self, Verdict.INCONCLUSIVE, because, *places, code="not_taken", missing=missing)
        span = [one for rows in found.values() for one in (*rows[:1], *rows[-1:])]
        evidence = dict.fromkeys((before.head.place, after.head.place, *(row.place for row in span)))
        because = f"the same before the faults and after the recovery: {', '.join(parts)}{said}"
        return finding(self, Verdict.PASS, because, *evidence, missing=missing)


def _paths(rows: Iterable[object]) -> frozenset[str]:
    return frozenset(row.text("path") for row in rows if hasattr(row, "text"))


def given_back(record: Record) -> frozenset[str]:
    """The files that a fault damaged and that the harness put back, because the target had not."""
    return frozenset(
        str(one["path"])
        for fault in record.faults
        if fault.injected is not None and fault.ended_by != "target"
        for one in fault.injected.detail.get("files", ())
    )


CHECK = StateKept
