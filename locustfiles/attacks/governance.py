"""Questions to governance: one that is asked again and again, among others of a small set, each asked often.

Equal questions must get equal answers, also when they are asked at the same time, so every question comes back.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from locustfiles.attacks.payload import Payload, encoded, pick, shares
from locustfiles.attacks.words import words

KIND = "decision"
ACTOR, ACTION, RESOURCE = "chaos_tester", "critical_operation", "production_database"
MAIN_SHARE = 0.5  # of all questions; the others are drawn from the set
OTHERS = 24
ACTIONS = ("read", "write", "deploy", "delete", "restart", "approve")
RESOURCES = ("production_database", "staging_queue", "secret_store", "governance_rules", "model_registry", "status")


def generate(
    seed: int, total: int, payload: Mapping[str, Any] | None = None, tag: str = "", index: int = 0, of: int = 1
) -> Iterator[Payload]:
    """*total* questions (of them, share *index* of *of*).

    *payload* may name actor, action and resource of the main question; all else in it goes along with every question.
    """
    asked = dict(payload or {})
    main = (
        str(asked.pop("actor", ACTOR)),
        str(asked.pop("action", ACTION)),
        str(asked.pop("resource", RESOURCE)),
    )
    pool, tag = words(seed), tag or f"gov-{seed}"
    drawn = random.Random(f"{seed}:questions")
    others = [(pick(drawn, pool.people), pick(drawn, ACTIONS), pick(drawn, RESOURCES)) for _ in range(OTHERS)]
    for numbers in shares(total, index, of):
        for number in numbers:
            generator = random.Random(f"{seed}:governance:{number}")
            actor, action, resource = main if generator.random() < MAIN_SHARE else pick(generator, others)
            own = f"{tag}-{number:06d}"
            note = {**asked, "request": own, "note": pool.sentence(generator, 5)}
            body = {"actor": actor, "action": action, "resource": resource, "payload": note}
            question = f"{actor}|{action}|{resource}"
            yield Payload(number=number, kind=KIND, id=own, body=encoded(body), question=question, work=KIND)
