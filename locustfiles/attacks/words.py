"""Words for payloads: faker fills a pool once, after that a draw costs next to nothing."""

from __future__ import annotations

import random
from functools import lru_cache

from faker import Faker

from locustfiles.attacks.payload import pick

LOCALES = ("en_US", "de_DE", "ja_JP")  # a payload is UTF-8, not ASCII
PER_LOCALE = 120


class Words:
    """The same seed gives the same pool. It keeps no state: each draw takes the caller's own generator."""

    def __init__(self, seed: int) -> None:
        self.single: list[str] = []
        self.people: list[str] = []
        self.jobs: list[str] = []
        for locale in LOCALES:
            faker = Faker(locale)
            faker.seed_instance(f"{seed}:{locale}")
            self.single += [faker.word() for _ in range(PER_LOCALE)]
            self.people += [faker.user_name() for _ in range(PER_LOCALE // 4)]
            self.jobs += [faker.job() for _ in range(PER_LOCALE // 4)]

    def sentence(self, generator: random.Random, count: int) -> str:
        return " ".join(pick(generator, self.single) for _ in range(count))

    def text(self, generator: random.Random, length: int) -> str:
        """Exactly *length* bytes of UTF-8."""
        some = self.sentence(generator, 40).encode("ascii", "ignore").decode() + "."
        return (some * (length // len(some) + 1))[:length]


@lru_cache(maxsize=4)
def words(seed: int) -> Words:
    return Words(seed)
