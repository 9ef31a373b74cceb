"""Checks, one a file: pure functions of a Record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.ledger import FEW, LedgerRow
from harness.model import Event, Finding, Verdict
from harness.own_parts import extended
from harness.record import Engagement

__path__ = extended(__path__, "checks")


def put_off(check: Any, rows: Sequence[tuple[LedgerRow, Engagement]]) -> Finding:
    """INCONCLUSIVE: something that no fault of the plan does may have made the target refuse *rows*."""
    names = sorted({f"{one.safeguard} ({one.subject})" for _, one in rows})
    ids = ", ".join([row.id for row, _ in rows][:FEW])
    why = f"{len(rows)} requests were refused to the end ({ids}), and that may be for {', '.join(names)}"
    events = {one.engaged.seq: one.engaged for _, one in rows}
    why += ", which was engaged and sees no fault of this plan"
    return finding(check, Verdict.INCONCLUSIVE, why, *events.values(), *[row.place for row, _ in rows[:FEW]])


def finding(check: Any, verdict: Verdict, because: str, *evidence: Event | str | None) -> Finding:
    """A finding of *check*; events are cited as "timeline:SEQ", texts as they are."""
    cited: Iterable[str] = (
        f"timeline:{one.seq}" if isinstance(one, Event) else one for one in evidence if one is not None
    )
    name = type(check).__module__.rpartition(".")[2]
    return Finding(check=name, verdict=verdict, claim=check.claim, because=because, evidence=tuple(cited))
