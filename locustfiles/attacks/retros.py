"""Retrospectives: analyses of what happened, each under an id of our own, so that one sent again is the same one."""

from __future__ import annotations

import random
from collections.abc import Iterator

from locustfiles.attacks.payload import Payload, encoded, nonce, pick, shares
from locustfiles.attacks.words import words

KIND = "retrospective"
EVENTS_MIN, EVENTS_MAX = 20, 400


def generate(seed: int, total: int, tag: str = "", index: int = 0, of: int = 1) -> Iterator[Payload]:
    """*total* retrospectives (of them, share *index* of *of*), from short to long; what recurs in them differs."""
    pool, tag = words(seed), tag or f"retro-{seed}"
    for numbers in shares(total, index, of):
        for number in numbers:
            generator = random.Random(f"{seed}:retros:{number}")
            own = f"{tag}-{number:06d}"
            few = [pool.sentence(generator, 2) for _ in range(12)]
            count = EVENTS_MIN + int(generator.random() * (EVENTS_MAX - EVENTS_MIN + 1))
            body = {
                "retro_id": own,
                "subject": pool.sentence(generator, 5),
                "events": [pick(generator, few) for _ in range(count)],
                "nonce": nonce(generator),
            }
            yield Payload(number=number, kind=KIND, id=own, body=encoded(body), work=KIND)
