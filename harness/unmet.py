"""Attacks that met no such route, or nobody: no request to their route was ever served, of anybody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.ledger import LEGITIMATE, PROBE
from harness.traffic import RequestRow

SURE_MIN = 3  # answers of a route, all alike, that are no chance
LACKS_PERCENT_MIN = 95.0  # of an attack's requests that a target which lacks the route turns away
ABSENT = {404: "the target does not have it", 405: "the target does not take the method there"}
ABSENT |= {410: "the target does not have it any more", 501: "the target does not know the method"}
DENIED = {401: "the target lets nobody in", 403: "the target lets nobody in"}


KNOWN = {**ABSENT, **DENIED}


@dataclass(frozen=True, kw_only=True)
class Unmet:
    """A route that an attack asked, where nobody was ever served, and how often each status came."""

    route: str
    user: str
    counts: Mapping[int, int]  # status → how many requests of the attack; 0: no answer
    lines: tuple[int, ...]  # of requests.csv, the first and the last

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    @property
    def lacks(self) -> str:
        """Reason why this target cannot be judged by such an attack; "" when it can."""
        away = {status: count for status, count in self.counts.items() if status in KNOWN}
        if 100 * sum(away.values()) < LACKS_PERCENT_MIN * self.count:
            return ""
        most = max(sorted(away), key=lambda status: away[status])
        told = ", ".join(map(str, sorted(away)))
        which = "each" if len(away) == len(self.counts) else str(sum(away.values()))
        return f"{self.route} answers {told} to {which} of {self.count} requests: {KNOWN[most]}"

    @property
    def unsure(self) -> str:
        """Reason why what the attack asked for was never tried on a route that may exist; "" when it is not there."""
        if self.lacks:
            return ""
        if set(self.counts) == {0}:
            return f"no request to {self.route} had any answer, of {self.count}: nothing shows that they arrived"
        told = ", ".join(str(status) if status else "nothing" for status in sorted(self.counts))
        return f"{self.route} answers {told} to each of {self.count} requests: it never did what they asked for"

    @property
    def rejects(self) -> bool:
        """True when it turned some down as a route does that is there and reads them: right for invalid requests."""
        return any(400 <= status < 500 and status not in (*KNOWN, 408) for status in self.counts)


def unmet(rows: Iterable[RequestRow]) -> list[Unmet]:
    """The routes of attacks that never gave anybody an answer that shows that they work.

    A 503 that is counted as shed, and a 429, are answers of a safeguard.
    """
    attacks: dict[str, tuple[str, Counter[int], list[int]]] = {}
    fine: set[str] = set()
    for row in rows:
        if row.outcome in ("ok", "stale", "shed", "limited"):
            fine.add(row.name)
        if row.user not in (LEGITIMATE, PROBE):
            _, counts, lines = attacks.setdefault(row.name, (row.user, Counter(), []))
            counts[row.status] += row.count
            lines.append(row.line)
    return [
        Unmet(route=name, user=user, counts=dict(counts), lines=_ends(lines))
        for name, (user, counts, lines) in attacks.items()
        if name not in fine and counts.total() >= SURE_MIN
    ]


def _ends(lines: list[int]) -> tuple[int, ...]:
    return tuple(sorted({lines[0], lines[-1]} - {0}))
