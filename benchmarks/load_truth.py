"""What the latencies of an open loop truly are when the server stands still: by arithmetic and by its log.

With constant arrivals the request number k is due at t0 + k / rate, whatever the server does. The server's log tells
when it has answered; a latency is the one minus the other. No word of the generator is in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

LENGTH_OFF_MAX = 0.02  # of the planned seconds: first to last answer


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that *share* of them do not exceed. Raises ValueError when there is none."""
    if not values:
        raise ValueError("no values have no percentile")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def ideal_s(stall_s: float, total_s: float, share: float = 0.99) -> float:
    """The latency at *share* of a server that has no other limit than its stall, whose end those due in it await."""
    return max(0.0, stall_s - (1 - share) * total_s)


def start_s(answered_s: Sequence[float], per_s: float) -> float:
    """When request 0 was due: no request can be answered before it is due, and the quickest was answered at once."""
    return min(at_s - number / per_s for number, at_s in enumerate(sorted(answered_s)))


def latencies_s(answered_s: Sequence[float], per_s: float) -> list[float]:
    """From due to answered, of each request, in the order in which they were answered."""
    first_s = start_s(answered_s, per_s)
    return [at_s - first_s - number / per_s for number, at_s in enumerate(sorted(answered_s))]


def parse_log(text: str) -> tuple[list[float], list[str]]:
    """(when each answer went out, in seconds; the answers that were no 200, in words) of nginx's counted log."""
    answered, strange = [], []
    for line in text.splitlines():
        at_s, status, length = line.split()
        answered.append(float(at_s))
        if status != "200":
            strange.append(f"{status} ({length} bytes) at {at_s}")
    return answered, strange


def arrivals_wrong(answered_s: Sequence[float], per_s: float, asked: int) -> list[str]:
    """Where the arrivals were not the planned ones, in words."""
    if len(answered_s) != asked:
        return [f"the server's log holds {len(answered_s)} answers, not {asked}"]
    took_s, planned_s = max(answered_s) - min(answered_s), (asked - 1) / per_s
    if not abs(took_s - planned_s) <= LENGTH_OFF_MAX * planned_s:
        return [f"the arrivals took {took_s:.2f} s, not {planned_s:.2f}"]
    return []
