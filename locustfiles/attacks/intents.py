"""HTM intents, a given share of them invalid, each in exactly one way that has a name.

A list is a pure function of its seed, tag, total and ratio: the same bytes, wherever it is generated and into however
many shares it is split. It is generated as it is drawn, a block at a time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

from locustfiles.attacks.payload import Payload, encoded, nonce, pick, shares
from locustfiles.attacks.words import Words, words

KIND = "intent"
BLOCK = 20  # a duplicate and the one whose id it takes are in the same block, and so in the same share
BODY_BYTES_MAX = 16 * 1024
LARGE_EVERY = 50  # so often a valid one is large, and still not too large
NORMAL, DEFERRABLE = 5, "intent.deferrable"  # what is less urgent than NORMAL may wait
PRIORITIES = (0, 1, 3, 5, 8, 10)
DOMAINS = ("ingestion", "query", "learning", "analysis", "orchestration", "maintenance", "security", "unknown")
RISKS = ("low", "medium", "high", "critical")
SLAS_MS = (1, 250, 1000, 5000, 30_000, 86_400_000)

NEEDED = ("intent_id", "goal", "expected_outcome", "sla_ms", "created_by")
WRONG_TYPES: tuple[tuple[str, Any], ...] = (
    *(("intent_id", 4711), ("goal", 7), ("expected_outcome", ["done"]), ("created_by", None)),
    *(("sla_ms", "5000"), ("sla_ms", True), ("priority", "5"), ("priority", True), ("priority", [5])),
    *(("domain", ["query"]), ("context", ["a", "b"]), ("context", "none"), ("confidence", "high"), ("risk_level", 3)),
)
UNKNOWN_WORDS: tuple[tuple[str, Any], ...] = (
    *(("domain", "astrology"), ("domain", "Query"), ("domain", ""), ("risk_level", "extreme")),
    *(("risk_level", "LOW"), ("priority", 4), ("priority", 7), ("priority", -1), ("priority", 11)),
)
OUT_OF_RANGE: tuple[tuple[str, Any], ...] = (
    *(("confidence", 1.01), ("confidence", -0.5), ("sla_ms", 0), ("sla_ms", 86_400_001)),
    *(("goal", ""), ("goal", "g" * 2001), ("created_by", "c" * 101), ("intent_id", "")),
)
NEGATIVE_SLAS_MS = (-1, -0.5, -5000, -86_400_000)
OTHER_SHAPES = (b"[]", b"null", b"17", b'"an intent"', b"true")

Body = dict[str, Any]


def _missing_field(body: Body, generator: random.Random, pool: Words) -> bytes:
    del body[pick(generator, NEEDED)]
    return encoded(body)


def _with_one_of(changes: tuple[tuple[str, Any], ...]) -> Callable[[Body, random.Random, Words], bytes]:
    def change(body: Body, generator: random.Random, pool: Words) -> bytes:
        name, value = pick(generator, changes)
        return encoded({**body, name: value})

    return change


def _oversized(body: Body, generator: random.Random, pool: Words) -> bytes:
    """Nothing is wrong with it but its size, which begins with one byte too many."""
    return encoded(_grown(body, BODY_BYTES_MAX + pick(generator, (1, 2, 1024, 8192)), generator, pool))


def _duplicate_id(body: Body, generator: random.Random, pool: Words) -> bytes:
    return encoded(body)  # its id is that of another already: see _payload


def _broken_json(body: Body, generator: random.Random, pool: Words) -> bytes:
    whole = encoded(body)
    middle = len(whole) // 4 + int(generator.random() * len(whole) / 2)
    broken = (
        whole[:middle],
        whole[:-1] + b",}",
        whole[:-1],
        whole + b"}",
        whole.replace(b'"', b"'"),
        whole[:-1] + b',"note":"\xff\xfe"}',
        b"{intent_id: none}",
        b"",
    )
    return pick(generator, broken)


def _not_an_object(body: Body, generator: random.Random, pool: Words) -> bytes:
    return pick(generator, (*OTHER_SHAPES, b"[" + encoded(body) + b"]"))


FLAWS: dict[str, Callable[[Body, random.Random, Words], bytes]] = {
    "missing_field": _missing_field,
    "wrong_type": _with_one_of(WRONG_TYPES),
    "unknown_enum": _with_one_of(UNKNOWN_WORDS),
    "negative_sla": _with_one_of(tuple(("sla_ms", value) for value in NEGATIVE_SLAS_MS)),
    "oversized": _oversized,
    "duplicate_id": _duplicate_id,
    "broken_json": _broken_json,
    "out_of_range": _with_one_of(OUT_OF_RANGE),
    "not_an_object": _not_an_object,
}


def generate(
    seed: int, total: int, invalid_ratio: float = 0.0, tag: str = "", index: int = 0, of: int = 1
) -> Iterator[Payload]:
    """*total* intents (of them, share *index* of *of*); exactly total x invalid_ratio of the whole are invalid.

    *tag* begins every id: a run that is repeated on a target that remembers needs another one.
    """
    if not 0 <= invalid_ratio <= 1:
        raise ValueError(f"an invalid_ratio of {invalid_ratio:g} is not between 0 and 1")
    pool, tag = words(seed), tag or f"htm-{seed}"
    for numbers in shares(total, index, of, BLOCK):
        generator = random.Random(f"{seed}:intents:{numbers.start}")
        flaws = _flaws(numbers, invalid_ratio, generator)
        good: list[str] = []
        for number in numbers:
            yield _payload(number, tag, flaws.get(number, ""), good, generator, pool)


def invalid_below(number: int, invalid_ratio: float) -> int:
    """How many of the first *number* are invalid: so every block has its part, and the whole is exact."""
    return math.floor(number * invalid_ratio + 0.5)


def _flaws(numbers: range, invalid_ratio: float, generator: random.Random) -> dict[int, str]:
    """Which of a block are invalid, and how: the flaws take turns over the whole list, places are drawn."""
    turns = range(*(invalid_below(at, invalid_ratio) for at in (numbers.start, numbers.stop)))
    names = list(FLAWS)
    places = [number for _, number in sorted((generator.random(), number) for number in numbers)]
    flaws = {place: names[turn % len(names)] for place, turn in zip(places, turns, strict=False)}
    for place in sorted(place for place, name in flaws.items() if name == "duplicate_id"):
        first = min((number for number in numbers if number not in flaws), default=None)
        if first is None:
            flaws[place] = "missing_field"  # there is no valid one whose id it could take
        elif first > place:
            flaws[first] = flaws.pop(place)
    return flaws


def _payload(number: int, tag: str, flaw: str, good: list[str], generator: random.Random, pool: Words) -> Payload:
    own = f"{tag}-{number:06d}"
    body = _body(own, generator, pool)
    if not flaw:
        good.append(own)
        if number % LARGE_EVERY == LARGE_EVERY - 1:
            body = _grown(body, BODY_BYTES_MAX // 2, generator, pool)
        work = DEFERRABLE if body["priority"] < NORMAL else KIND
        return Payload(number=number, kind=KIND, id=own, body=encoded(body), work=work)
    after = ""
    if flaw == "duplicate_id":
        after = own = body["intent_id"] = pick(generator, good)
    data = FLAWS[flaw](body, generator, pool)
    return Payload(number=number, kind=KIND, id=own, body=data, valid=False, flaw=flaw, after=after)


def _body(intent_id: str, generator: random.Random, pool: Words) -> Body:
    return {
        "intent_id": intent_id,
        "goal": pool.sentence(generator, 6),
        "expected_outcome": pool.sentence(generator, 4),
        "sla_ms": pick(generator, SLAS_MS),
        "priority": pick(generator, PRIORITIES),
        "domain": pick(generator, DOMAINS),
        "context": {"department": pick(generator, pool.jobs), "nonce": nonce(generator)},
        "created_by": pick(generator, pool.people),
        "confidence": round(generator.random(), 2),
        "risk_level": pick(generator, RISKS),
    }


def _grown(body: Body, length: int, generator: random.Random, pool: Words) -> Body:
    """*body* with a note in its context that makes it *length* bytes long."""
    noted = {**body, "context": {**body["context"], "note": ""}}
    noted["context"]["note"] = pool.text(generator, length - len(encoded(noted)))
    return noted
