"""Match entries of the target's audit log with the requests of a run: which there must be, and which there may be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.ledger import REFERENCE, HeldRow, LedgerRow

REJECTED, REFUSED, ACCEPTED, UNANSWERED = "rejected", "refused", "accepted", "unanswered"
# refusals that have no entry: it is the entry itself that cannot be written
UNRECORDED = ("log_unwritable", "audit_backlog")


@dataclass(frozen=True)
class Entry:
    """An entry and what its payload says of the request."""

    row: HeldRow
    payload: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return str(self.payload.get("digest") or "")

    @property
    def reason(self) -> str:
        return str(self.payload.get("reason") or "")

    @property
    def client(self) -> str:
        return str(self.payload.get("client") or "")

    @property
    def outcome(self) -> str:
        """accepted, rejected or refused; a decision that was made is accepted, whatever it is."""
        result = self.row.text("result")
        return result if result in (REJECTED, REFUSED) else ACCEPTED

    @property
    def sequence(self) -> int:
        number = self.row.fields.get("sequence")
        return number if type(number) is int else 0

    @property
    def place(self) -> str:
        return self.row.place


def entries_of(held: Iterable[HeldRow]) -> list[Entry]:
    return [Entry(row, _payload(row)) for row in held]


def _payload(row: HeldRow) -> Mapping[str, Any]:
    found = row.fields.get("payload")
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return {}
    return found if isinstance(found, Mapping) else {}


def by_reference(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.row.text(REFERENCE), []).append(entry)
    return found


def by_digest(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.digest:
            found.setdefault(entry.digest, []).append(entry)
    return found


@dataclass
class Group:
    """Requests with the same bytes, and how many entries of each outcome there must be of them.

    *spare*: attempts that the target may have received or not; *unwritten*: refused ones for which it had
    no room in its log.
    """

    rows: list[LedgerRow] = field(default_factory=list)
    needed: Counter[str] = field(default_factory=Counter)
    spare: int = 0
    unwritten: int = 0

    def add(self, row: LedgerRow, late: bool = False) -> None:
        """*late*: it was asked when the log was being read, so that its entry may be there or not."""
        self.rows.append(row)
        needed: Counter[str] = Counter()
        if row.outcome in (ACCEPTED, REJECTED) and row.attempts:
            needed[row.outcome] += 1
        taken = int(row.outcome == UNANSWERED and row.for_another > 0)  # whoever answered had taken something
        needed[ACCEPTED] += taken
        for word, count in row.refusals.items():
            if word in UNRECORDED:
                self.unwritten += count
            else:
                needed[REFUSED] += count
        self.spare += max(0, row.lost - taken) + (sum(needed.values()) if late else 0)
        if not late:
            self.needed += needed

    def lacking(self, entries: Sequence[Entry]) -> int:
        """How many entries are missing."""
        found = Counter(entry.outcome for entry in entries)
        return sum(max(0, count - found[outcome]) for outcome, count in self.needed.items())

    def surplus(self, entries: Sequence[Entry]) -> int:
        """How many entries there are that no attempt explains."""
        found = Counter(entry.outcome for entry in entries)
        over = {outcome: max(0, count - self.needed[outcome]) for outcome, count in found.items()}
        over[REFUSED] = max(0, over.get(REFUSED, 0) - self.unwritten)
        return max(0, sum(over.values()) - self.spare)


def groups_of(rows: Iterable[LedgerRow], probes: Iterable[LedgerRow], reading_s: float) -> dict[str, Group]:
    """Digest → the requests that bear it. Probes go on while the log is read, from *reading_s* on."""
    found: dict[str, Group] = {}
    for row in (*rows, *probes):
        if row.digest:
            found.setdefault(row.digest, Group()).add(row, late=row.at_s >= reading_s)
    return found


def out_of_order(pairs: Iterable[tuple[LedgerRow, Entry]], slack_s: float) -> list[tuple[LedgerRow, Entry]]:
    """Pairs whose entry comes after that of a request which began only after their own answer."""
    found, latest_s = [], float("-inf")
    for row, entry in sorted(pairs, key=lambda one: one[1].sequence):
        if row.begun_s is None:
            continue
        if row.at_s + slack_s < latest_s:
            found.append((row, entry))
        latest_s = max(latest_s, row.begun_s)
    return found
