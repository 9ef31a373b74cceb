"""Checks, one a file: pure functions of a Record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from harness.model import Event, Finding, Verdict

FEW = 3  # of what is wrong, that are named and cited


class Placed(Protocol):
    """A row of a file of the run folder."""

    @property
    def place(self) -> str: ...


def finding(check: Any, verdict: Verdict, because: str, *evidence: Event | str | None) -> Finding:
    """A finding of *check*; events are cited as "timeline:SEQ", texts as they are."""
    cited: Iterable[str] = (
        f"timeline:{one.seq}" if isinstance(one, Event) else one for one in evidence if one is not None
    )
    name = type(check).__module__.rpartition(".")[2]
    return Finding(check=name, verdict=verdict, claim=check.claim, because=because, evidence=tuple(cited))


class Wrongs:
    """What is wrong with the rows of a ledger, by kind: their number, the first few ids, and where they stand."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.cited: list[str] = []

    def add(self, words: str, rows: Sequence[tuple[str, Placed]]) -> None:
        """(id, row) of each that is so; none is nothing wrong."""
        if not rows:
            return
        names = list(dict.fromkeys(name for name, _ in rows))
        more = ", ..." if len(names) > FEW else ""
        self.words.append(f"{len(rows)} {words} ({', '.join(names[:FEW])}{more})")
        self.cited += [row.place for _, row in rows[:FEW]]

    def __bool__(self) -> bool:
        return bool(self.words)

    def __str__(self) -> str:
        return "; ".join(self.words)


NO_LEDGER = "the run kept no ledger of what was sent"


def not_read(name: str) -> str:
    return f"what the target finally holds is not known: its ledger {name} could not be read, or it offers none"


def span(rows: Sequence[Placed]) -> tuple[str, ...]:
    """The first and the last of *rows* as evidence."""
    return tuple(dict.fromkeys(row.place for row in (*rows[:1], *rows[-1:])))
