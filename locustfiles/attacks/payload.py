"""One thing to send, and how a list of such things is split between those who send it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A body under an id of our own, and whether the target should take it."""

    number: int  # its place in the whole list
    kind: str  # intent, decision, retrospective, knowledge
    id: str
    body: bytes
    valid: bool = True
    flaw: str = ""  # by name; "" = none
    question: str = ""  # of a decision: "actor|action|resource"
    work: str = ""  # its kind as a playbook of the target names it
    after: str = ""  # the id that must have been accepted before this is sent: without it this would be no flaw


def shares(total: int, index: int, of: int, block: int = 1) -> Iterator[range]:
    """The numbers below *total* that sender *index* of *of* sends: every *of*-th block, in order.

    All shares together are exactly the whole. What refers to another payload refers within its own block.
    """
    if not 0 <= index < of or total < 0 or block < 1:
        raise ValueError(f"share {index} of {of} of {total} in blocks of {block} is none")
    for start in range(index * block, total, of * block):
        yield range(start, min(start + block, total))


def pick(generator: random.Random, choices: Sequence[T]) -> T:
    """One of *choices*. random() gives the same numbers for a seed on every version of Python."""
    return choices[int(generator.random() * len(choices))]


def nonce(generator: random.Random) -> str:
    """Text that the target cannot guess: what it gives back as a result must have been computed from the request."""
    return f"{int(generator.random() * 2**53):014x}"


def encoded(body: Mapping[str, Any]) -> bytes:
    """*body* as JSON in UTF-8."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
