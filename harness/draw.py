"""Which faults of a pool, in what order, and when each begins and ends: the same seed gives the same answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from harness.scenario import Execution, FaultEntry, Scenario

SHORTEST_S = 5.0


def draw(scenario: Scenario, seed: int) -> tuple[FaultEntry, ...]:
    """The faults to inject, in their order: the first of draws()."""
    return next(draws(scenario, seed))


def draws(scenario: Scenario, seed: int) -> Iterator[tuple[FaultEntry, ...]]:
    """One draw after the other, all from the same seed.

    Each entry gets a ticket, and the lowest are drawn. random() gives the same numbers for a seed on every version
    of Python, which sample() and shuffle() do not promise.
    """
    entries = scenario.pool or scenario.faults
    generator = random.Random(seed)
    while True:
        order = [at for _, at in sorted((generator.random(), at) for at in range(len(entries)))]
        drawn = order[: scenario.execution.random_selection or len(order)]
        yield tuple(entries[at] for at in (drawn if scenario.execution.shuffle_order else sorted(drawn)))


def can_overlap(execution: Execution, faults: Sequence[tuple[str, float]]) -> bool:
    """Whether two of *faults* can be answered at the same time, as the scenario is written, unscaled.

    Each is (what answers it, "" for nothing; for how many seconds it surely lasts). The later one must begin long
    enough before the earlier one ends to be seen meanwhile.
    """
    begins = [begins_s(execution, position, 1.0) for position in range(len(faults))]
    rows = [(at_s, answer, lasts_s) for at_s, (answer, lasts_s) in zip(begins, faults, strict=True) if answer]
    return any(
        first_s <= later_s and later_s + SHORTEST_S <= first_s + lasts_s
        for at, (first_s, answer, lasts_s) in enumerate(rows)
        for other, (later_s, another, _) in enumerate(rows)
        if at != other and answer != another
    )


def begins_s(execution: Execution, position: int, time_scale: float) -> float:
    """When the fault at *position* begins, counted from the begin of the first."""
    return 0.0 if execution.all_simultaneous else position * execution.spacing_seconds * time_scale


def does_not_fit(execution: Execution, count: int) -> str:
    """Why *count* faults cannot all begin within total_duration; "" when they can."""
    total_s, last_s = execution.total_duration, begins_s(execution, count - 1, 1.0)
    if total_s is None or last_s + SHORTEST_S <= total_s:
        return ""
    what = f"{count} faults {execution.spacing_seconds:g} s apart, each of {SHORTEST_S:g} s at least"
    return f"total_duration {total_s:g} has no room for {what}"


def cut_s(execution: Execution, at_s: float, duration_s: float, floor_s: float, time_scale: float) -> tuple[float, str]:
    """(how long a fault that begins at *at_s* lasts, what is to be said of it): it ends with total_duration.

    Never below *floor_s*: a run that is scaled down may go on for longer, and says so.
    """
    if execution.total_duration is None:
        return duration_s, ""
    end_s = execution.total_duration * time_scale
    if at_s + duration_s <= end_s + 1e-9:
        return duration_s, ""
    left_s = max(end_s - at_s, min(floor_s, duration_s))
    if at_s + left_s > end_s + 1e-9:
        return left_s, f"lasts until +{at_s + left_s:g} s, past total_duration at +{end_s:g} s: at least {floor_s:g} s"
    return left_s, f"is cut from {duration_s:g} s to {left_s:g} s: total_duration is over at +{end_s:g} s"
