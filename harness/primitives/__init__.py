"""What an undo is made of, a primitive a file: the words that describe it, and how it is taken back.

A module offers OP (its stem), a builder that returns the primitive as plain data, and
take_back(primitive, complete) -> (what was done, whether that is verified by reading back). *complete* is False when
the injection was cut off before its end, so that a half-done effect is surely the fault's own. Taking back is
idempotent; an object that is gone counts as healed. No module here imports a fault or gevent.
"""

from __future__ import annotations

import time
from collections.abc import Callable

READ_BACK_S = 1.0


def wait_until(condition: Callable[[], bool], limit_s: float = READ_BACK_S) -> bool:
    """Whether *condition* came true within *limit_s*; looks every 5 ms."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
