"""Checks, one a file: pure functions of a Record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from harness.ledger import FEW, LedgerRow
from harness.model import Event, Finding, Kind, Verdict
from harness.own_parts import extended
from harness.record import Engagement, Record, Series

__path__ = extended(__path__, "checks")

LOOKED_S = 5.0  # observers look several times in it: what was told last so long before the end is not of the end
FLOOD = "api_flood"  # each of its requests changes something, and so has a row in the ledger
# Observers by the stem of their file in harness/observers: the timeline tells of a loss under the same name.
EVENTS, PROCESSES, FILES = "events", "processes", "file_hashes"
# Run folders of format 1 call an observer by its class.
CLASS_NAMES = {
    "BusListener": "bus_listener",
    "ControlPlane": "control_plane",
    "Counters": "counters",
    "Events": EVENTS,
    "FileHashes": FILES,
    "LoopLag": "loop_lag",
    "ModelAnswers": "model_answers",
    "ModelFallback": "model_fallback",
    "Processes": PROCESSES,
    "Resources": "resources",
    "RouteProbe": "routes",
}


def put_off(check: Any, rows: Sequence[tuple[LedgerRow, Engagement]]) -> Finding:
    """INCONCLUSIVE: something that no fault of the plan does may have made the target refuse *rows*."""
    names = sorted({f"{one.safeguard} ({one.subject})" for _, one in rows})
    ids = ", ".join([row.id for row, _ in rows][:FEW])
    why = f"{len(rows)} requests were refused to the end ({ids}), and that may be for {', '.join(names)}"
    events = {one.engaged.seq: one.engaged for _, one in rows}
    why += ", which was engaged and sees no fault of this plan"
    return finding(
        check, Verdict.INCONCLUSIVE, why, *events.values(), *[row.place for row, _ in rows[:FEW]], code="put_off"
    )


def masked(check: Any, record: Record, step_ids: Sequence[str], safeguard: str = "") -> Finding | None:
    """INCONCLUSIVE where for each of the steps, that nobody saw, its safeguard was engaged already; None where not."""
    held = {step_id: record.still_engaged(step_id, safeguard) for step_id in step_ids}
    found = {step_id: one for step_id, one in held.items() if one is not None}
    if not found or len(found) < len(held):
        return None
    told = [f"{one.safeguard} ({one.subject}) when {step_id} began" for step_id, one in found.items()]
    why = f"nobody can tell whether it would have engaged once more: engaged already was {'; '.join(told)}"
    cited = [event for one in found.values() for event in (one.engaged, one.released)]
    return finding(check, Verdict.INCONCLUSIVE, why, *cited, code="still_engaged")


def finding(
    check: Any,
    verdict: Verdict,
    because: str,
    *evidence: Event | str | None,
    code: str | Iterable[str] = "",
    missing: Iterable[str] = (),
) -> Finding:
    """A finding of *check*; events are cited as "timeline:SEQ", texts as they are.

    *code* is the cause in stable words, such as "no_new_process", or all causes, the chief one first; only a PASS,
    which is "shown", needs none.
    """
    cited: Iterable[str] = (
        f"timeline:{one.seq}" if isinstance(one, Event) else one for one in evidence if one is not None
    )
    name = type(check).__module__.rpartition(".")[2]
    causes = list(dict.fromkeys([code] if isinstance(code, str) else code))
    if verdict is Verdict.PASS:
        causes = ["shown"]
    if not all(causes) or not causes:
        raise ValueError(f"{name}: {verdict} needs a code that names its cause: {because}")
    return Finding(
        check=name,
        verdict=verdict,
        claim=check.claim,
        because=because,
        evidence=tuple(cited),
        code=f"{name}.{causes[0]}",
        missing=tuple(missing),
        also=tuple(f"{name}.{cause}" for cause in causes[1:]),
    )


def unkept(record: Record) -> str:
    """Why the ledger says nothing of the attacks; "" when it does, or when the plan has none that it keeps rows of."""
    floods = [step.step_id for step in record.plan.steps if step.type == FLOOD]
    silent = floods and not any(row.attack for row in record.ledger or ())
    return f"the ledger has no request of {', '.join(floods)}, only the users' own" if silent else ""


def no_independent_route(record: Record) -> str:
    """Reason why requests say nothing of what no fault struck; "" when some route needs no faulted kernel."""
    if not record.faulted_kernels or record.bystander_routes:
        return ""
    struck = ", ".join(sorted(record.faulted_kernels))
    return f"no route of the manifest is independent of {struck}: each of the {len(record.plan.routes)} needs it"


def early(record: Record, series: Series, end_s: float | None = None) -> str:
    """Why the last sample of a signal is not of the end (or of *end_s*); "" when it is."""
    if not series.rows:
        return "was never told"
    silent_s = (record.end_s if end_s is None else end_s) - series.rows[-1][0]
    return f"was last told {silent_s:.0f} s before the end" if silent_s > LOOKED_S else ""


def observer_of(event: Event) -> str:
    """The observer that a row of kind SIGNAL_LOST or SIGNAL_BACK is about, without what it looks at."""
    name = event.subject.partition(" of ")[0]
    return CLASS_NAMES.get(name, name)


def lost(record: Record, observer: str) -> Event | None:
    """The row that says that *observer* was lost, and it was never back: from then on nobody looked."""
    mine = [event for event in record.of_kind(Kind.SIGNAL_LOST, Kind.SIGNAL_BACK) if observer_of(event) == observer]
    last = {event.subject: event for event in mine}
    return next((event for event in last.values() if event.kind is Kind.SIGNAL_LOST), _never_there(record, observer))


def _never_there(record: Record, observer: str) -> Event | None:
    """The first row of a run whose target's manifest gives *observer* nothing to look at."""
    first = record.first(Kind.RUN_STARTED)
    unseen = first.detail.get("unseen") if first else None
    return first if any(str(one).partition(":")[0] == observer for one in unseen or ()) else None


def if_looked(record: Record, observer: str, found: Finding) -> Finding:
    """*found*; a FAIL for want of something is INCONCLUSIVE where nobody looked any more who would have seen it."""
    event = lost(record, observer) if found.verdict is Verdict.FAIL else None
    if event is None:
        return found
    why = f"{observer} was lost at {event.at_s:.1f} s and never back; otherwise: {found.because}"
    evidence = (*found.evidence, f"timeline:{event.seq}")
    code = f"{found.check}.not_looked"
    return replace(found, verdict=Verdict.INCONCLUSIVE, because=why, evidence=evidence, code=code)
