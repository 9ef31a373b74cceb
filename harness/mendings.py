"""What the harness's own look at the disk tells of files that a fault has damaged, and of who mended them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.checks import FILES, lost
from harness.model import Event, Kind, Verdict
from harness.record import FaultRecord, Record


@dataclass(frozen=True)
class Mending:
    """What became of one damaged file. *mended* is the row in which it is as it was; None: never."""

    name: str
    verdict: Verdict
    because: str
    rows: tuple[Event | None, ...]
    mended: Event | None = None
    code: str = ""  # the cause in stable words, of what is not mended


def damaged(record: Record, kind: str, place: str) -> tuple[FaultRecord, ...]:
    """The faults of type *kind*, and any other that is aimed at the path *place* and damages files."""
    return tuple(one for one in record.faults if one.step.type == kind or (one.step.target == place and _of_files(one)))


def _of_files(fault: FaultRecord) -> bool:
    return fault.injected is None or "files" in fault.injected.detail


def rows_of(record: Record, fault: FaultRecord, path: str) -> tuple[Event, ...]:
    """How *path* changed from the fault's planning on: the first of these rows is the damage."""
    since_s = fault.planned.at_s if fault.planned else float("inf")
    return tuple(e for e in record.of_kind(Kind.FILE_CHANGED) if e.detail.get("path") == path and e.at_s >= since_s)


def mendings(record: Record, fault: FaultRecord) -> list[Mending]:
    """Each file that *fault* damaged: whether the target itself has made it what it was, byte for byte."""
    if fault.injected is None:
        return [
            Mending(
                fault.step.step_id, Verdict.INCONCLUSIVE, "it was not injected", (fault.planned,), code="not_injected"
            )
        ]
    found = [_mending(record, fault, one["path"], one["sha256"]) for one in fault.injected.detail["files"]]
    return [seen_to_the_end(record, one) for one in found]


def seen_to_the_end(record: Record, one: Mending) -> Mending:
    """The same; it is not known to be mended when nobody looked at the disk any more."""
    blind = lost(record, FILES) if one.verdict is Verdict.PASS else None
    why = f"nobody looked at {one.name} to the end"
    return (
        replace(one, verdict=Verdict.INCONCLUSIVE, because=why, rows=(*one.rows, blind), code="not_looked")
        if blind
        else one
    )


def _mending(record: Record, fault: FaultRecord, path: str, before: str) -> Mending:
    name, rows = path.rpartition("/")[2], rows_of(record, fault, path)
    if not rows:
        why = f"nobody saw {name} change on the disk"
        return Mending(name, Verdict.INCONCLUSIVE, why, (fault.injected,), code="change_not_seen")
    damage, last = rows[0], rows[-1]
    if damage.detail["from"] != before:
        why = f"{name} was {str(damage.detail['from'])[:12]} on the disk and {before[:12]} to the one who damaged it"
        return Mending(name, Verdict.INCONCLUSIVE, why, (fault.injected, damage), code="damage_differs")
    if fault.ended_by != "target":
        why = f"{name} was not mended by the target in its time"
        verdict = Verdict.FAIL if fault.ended_by == "plan" else Verdict.INCONCLUSIVE  # lost or cut short: not its time
        return Mending(name, verdict, why, (damage, fault.ended), code="not_mended")
    if last.detail["sha256"] != before:
        now = str(last.detail["sha256"])[:12] or "gone"
        return Mending(
            name,
            Verdict.FAIL,
            f"{name} is {now} at the end, and was {before[:12]}",
            (damage, last),
            code="differs_at_end",
        )
    mended = next(row for row in rows if row.detail["sha256"] == before)
    why = f"{name} is {before[:12]} again, byte for byte, {mended.at_s - damage.at_s:.1f} s after it was damaged"
    return Mending(name, Verdict.PASS, why, (damage, mended), mended)


def sum_up(found: list[Mending]) -> Mending:
    """All of *found* as one: the worst verdict, in words, with the rows of those that have it and the first's code."""
    worst = Verdict.worst([one.verdict for one in found])
    told = [one for one in found if one.verdict is worst]
    because = "; ".join(one.because for one in told)
    return Mending("all", worst, because, tuple(row for one in told for row in one.rows), code=told[0].code)
