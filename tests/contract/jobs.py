"""What the worker of tests/contract/pool_worker.py does: functions of every shape that a loop may be put into."""

from __future__ import annotations

import time
from collections.abc import Callable

PIECE_S = 0.01


def execute(number: int, times: int = 2, *, plus: int = 1) -> int:
    """A plain function, with defaults of both kinds."""
    time.sleep(PIECE_S)
    return number * times + plus


def _closed_over(times: int, plus: int) -> Callable[[int], int]:
    def inner(number: int) -> int:
        time.sleep(PIECE_S)
        return number * times + plus

    return inner


wrapped = _closed_over(2, 1)  # one with free names, as a decorator leaves it


class Base:
    """What Shop calls by super(), which is a free name as well."""

    def plus(self) -> int:
        return 1


class Shop(Base):
    """Work that is a method."""

    def execute(self, number: int) -> int:
        time.sleep(PIECE_S)
        return number * 2 + super().plus()


shop = Shop()
