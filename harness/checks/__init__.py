"""Checks, one a file: pure functions of a Record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.model import Event, Finding, Verdict


def finding(check: Any, verdict: Verdict, because: str, *evidence: Event | str | None) -> Finding:
    """A finding of *check*; events are cited as "timeline:SEQ", texts as they are."""
    cited: Iterable[str] = (
        f"timeline:{one.seq}" if isinstance(one, Event) else one for one in evidence if one is not None
    )
    name = type(check).__module__.rpartition(".")[2]
    return Finding(check=name, verdict=verdict, claim=check.claim, because=because, evidence=tuple(cited))
