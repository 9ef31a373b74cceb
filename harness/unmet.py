"""Attacks that met no such route, or nobody: every request of theirs had the same kind of answer, and no other ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from harness.ledger import LEGITIMATE, PROBE
from harness.traffic import RequestRow

SURE_MIN = 3  # answers of a route, all alike, that are no chance
ABSENT = {404: "the target does not have it", 405: "the target does not take the method there"}
ABSENT |= {410: "the target does not have it any more", 501: "the target does not know the method"}
DENIED = {401: "the target lets nobody in", 403: "the target lets nobody in"}


@dataclass(frozen=True, kw_only=True)
class Unmet:
    """A route that an attack asked, and what every answer of it was like, to attackers and all others."""

    route: str
    user: str
    count: int
    statuses: tuple[int, ...]
    lines: tuple[int, ...]  # of requests.csv, the first and the last

    @property
    def lacks(self) -> str:
        """Reason why this target cannot be judged by such an attack; "" when it can."""
        known = {**ABSENT, **DENIED}
        if not set(self.statuses) <= set(known):
            return ""
        told = ", ".join(map(str, self.statuses))
        return f"{self.route} answers {told} to each of {self.count} requests: {known[self.statuses[0]]}"

    @property
    def unsure(self) -> str:
        """Reason why what the attack asked for was never tried on a route that may exist; "" when it was."""
        if self.statuses == (0,):
            return f"no request to {self.route} had any answer, of {self.count}: nothing shows that they arrived"
        if all(status >= 500 for status in self.statuses) and not self.lacks:
            told = ", ".join(map(str, self.statuses))
            return f"{self.route} answers {told} to each of {self.count} requests: it never did what they asked for"
        return ""


def unmet(rows: Iterable[RequestRow]) -> list[Unmet]:
    """The routes of attacks that never gave anybody an answer that shows that they work.

    A 503 that is counted as shed, and a 429, are answers of a safeguard.
    """
    seen: dict[str, Counter[int]] = {}
    attacks: dict[str, tuple[str, list[int]]] = {}
    fine: set[str] = set()
    for row in rows:
        seen.setdefault(row.name, Counter())[row.status] += row.count
        if row.outcome in ("ok", "stale", "shed", "limited"):
            fine.add(row.name)
        if row.user not in (LEGITIMATE, PROBE):
            attacks.setdefault(row.name, (row.user, []))[1].append(row.line)
    return [
        Unmet(route=name, user=user, count=seen[name].total(), statuses=tuple(sorted(seen[name])), lines=_ends(lines))
        for name, (user, lines) in attacks.items()
        if name not in fine and seen[name].total() >= SURE_MIN
    ]


def _ends(lines: list[int]) -> tuple[int, ...]:
    return tuple(sorted({lines[0], lines[-1]} - {0}))
