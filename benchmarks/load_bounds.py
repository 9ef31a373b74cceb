"""What the load benchmark has found, against what is promised: arithmetic and the table, no clock and no process."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.load_tools import FAST, OURS, WRK_UNIQUE, at_rate

WRK_RATIO_MAX = 1.15  # CPU of ours / wrk with unique ids
FAST_RATIO_MIN = 20.0  # CPU of FastHttpUser / ours
SLOW_RATIO_MIN = 8.0  # the same against the server that takes its time
LAG_MS_MAX = 5.0
TRUTH_ERROR_MAX = 0.05
OPEN_CPU_MAX = 0.5  # CPU-s per 10,000 at OPEN_CPU_AT a second
OPEN_CPU_AT = 10_000
TWIN_PER_S_MIN = 3_000.0
FLAT, SLOW, STALL, TWIN = "flat", "slow", "stall", "twin"
CONTESTS = (FLAT, SLOW, STALL, TWIN)


@dataclass(frozen=True)
class Sample:
    """One run of one tool. CPU seconds are user and system, of the generator alone."""

    requests: int
    steady_s: float  # from the first request to the last answer
    whole_s: float  # from its start to its end
    per_s: float
    lag_ms_p99: float | None = None
    p99_ms: float | None = None
    truth_ms: float | None = None  # by the server's log
    ideal_ms: float | None = None  # by arithmetic
    wrong: tuple[str, ...] = ()

    @property
    def steady(self) -> float:
        """CPU-s per 10,000 requests."""
        return self.steady_s / self.requests * 10_000 if self.requests else float("nan")

    @property
    def whole(self) -> float:
        return self.whole_s / self.requests * 10_000 if self.requests else float("nan")

    @property
    def error(self) -> float | None:
        """Of the 99th percentile, as a share of the truth."""
        if self.p99_ms is None or not self.truth_ms:
            return None
        return self.p99_ms / self.truth_ms - 1


Results = dict[str, dict[str, list[Sample]]]  # contest → tool → its runs, one a round


def stall_name(per_s: int) -> str:
    return f"{STALL} at {per_s:,}/s"


STALL_RATES = (2_000, OPEN_CPU_AT)
RATE_OF = {stall_name(per_s): per_s for per_s in STALL_RATES}


@dataclass(frozen=True)
class Bound:
    name: str
    found: str
    holds: bool


def span(values: Sequence[float], form: str = ".3f") -> str:
    """Median and range."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}..{max(values):{form}})"


def ratios(over: Sequence[Sample], under: Sequence[Sample]) -> list[float]:
    """CPU of the one by CPU of the other, each of the same round."""
    return [one.steady / other.steady if other.steady else float("inf") for one, other in zip(over, under, strict=True)]


def ratio_bound(name: str, found: Sequence[float], holds: Callable[[float], bool]) -> Bound:
    return Bound(name, span(found, ".2f"), holds(statistics.median(found)))


def flat_bounds(runs: dict[str, list[Sample]]) -> list[Bound]:
    ours = runs[OURS.name]
    lags = [one.lag_ms_p99 for one in ours]
    known = [lag for lag in lags if lag is not None]
    return [
        ratio_bound(
            f"CPU of ours at most {WRK_RATIO_MAX:g} × that of wrk with unique ids",
            ratios(ours, runs[WRK_UNIQUE.name]),
            lambda ratio: ratio <= WRK_RATIO_MAX,
        ),
        ratio_bound(
            f"CPU of FastHttpUser at least {FAST_RATIO_MIN:g} × ours",
            ratios(runs[FAST.name], ours),
            lambda ratio: ratio >= FAST_RATIO_MIN,
        ),
        Bound(
            f"loop lag, p99, of another greenlet at most {LAG_MS_MAX:g} ms",
            f"{span(known, '.1f')} ms" if known else "not told",
            len(known) == len(lags) and statistics.median(known) <= LAG_MS_MAX,
        ),
    ]


def slow_bounds(runs: dict[str, list[Sample]]) -> list[Bound]:
    title = f"slow server: CPU of FastHttpUser at least {SLOW_RATIO_MIN:g} × ours"
    return [ratio_bound(title, ratios(runs[FAST.name], runs[OURS.name]), lambda ratio: ratio >= SLOW_RATIO_MIN)]


def stall_bounds(contest: str, runs: dict[str, list[Sample]]) -> list[Bound]:
    """The worst round is judged: a percentile that is true now and then is not true."""
    ours = runs[at_rate(RATE_OF[contest]).name]
    errors = [one.error for one in ours]
    known = [error for error in errors if error is not None]
    found = [
        Bound(
            f"{contest}: p99 from the intended time within {TRUTH_ERROR_MAX:.0%} of the truth, in every round",
            span([100 * error for error in known], "+.2f") + " %" if known else "not told",
            len(known) == len(errors) and all(abs(error) <= TRUTH_ERROR_MAX for error in known),
        )
    ]
    if contest == stall_name(OPEN_CPU_AT):
        costs = [one.steady for one in ours]
        title = f"{contest}: at most {OPEN_CPU_MAX:g} CPU-s per 10,000"
        found.append(Bound(title, span(costs), statistics.median(costs) <= OPEN_CPU_MAX))
    return found


def twin_bounds(runs: dict[str, list[Sample]]) -> list[Bound]:
    rates = [one.per_s for samples in runs.values() for one in samples]
    title = f"twin and harness on the machine's cores together: at least {TWIN_PER_S_MIN:,.0f} intents/s answered"
    return [Bound(title, f"{span(rates, ',.0f')} /s", statistics.median(rates) >= TWIN_PER_S_MIN)]


def wrongs(results: Results) -> list[str]:
    """All that was not as it should be, with where."""
    return [
        f"{contest}, {tool}, round {number}: {words}"
        for contest, runs in results.items()
        for tool, samples in runs.items()
        for number, sample in enumerate(samples, 1)
        for words in sample.wrong
    ]


def bounds(results: Results) -> list[Bound]:
    """Those of the contests that were held; the last one is of all runs together."""
    found: list[Bound] = []
    for contest, runs in results.items():
        if contest == FLAT:
            found += flat_bounds(runs)
        elif contest == SLOW:
            found += slow_bounds(runs)
        elif contest == TWIN:
            found += twin_bounds(runs)
        else:
            found += stall_bounds(contest, runs)
    many = sum(len(samples) for runs in results.values() for samples in runs.values())
    strange = wrongs(results)
    title = "every request was answered as it should be, by the server's count as well"
    found.append(Bound(title, f"{len(strange)} objections in {many} runs", many > 0 and not strange))
    return found


def row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def optional(values: Iterable[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return span(known, form) if known else "–"


def cpu_table(runs: dict[str, list[Sample]]) -> list[str]:
    head = [
        "tool",
        "requests",
        "CPU-s per 10,000",
        "with start and end",
        "requests/s",
        "loop lag p99, ms",
        "CPU / ours",
    ]
    lines = [row(head), "|" + "---|" * len(head)]
    for tool, samples in runs.items():
        cells = [tool, f"{statistics.median(one.requests for one in samples):,.0f}"]
        cells += [span([one.steady for one in samples]), span([one.whole for one in samples])]
        cells += [span([one.per_s for one in samples], ",.0f"), optional((one.lag_ms_p99 for one in samples), ".1f")]
        lines.append(row([*cells, span(ratios(samples, runs[OURS.name]), ".2f")]))
    return lines


def stall_table(contests: dict[str, dict[str, list[Sample]]]) -> list[str]:
    head = ["contest", "tool", "p99, ms", "truth by the server's log", "by arithmetic", "error, %", "CPU-s per 10,000"]
    head += ["requests/s", "loop lag p99, ms"]
    lines = [row(head), "|" + "---|" * len(head)]
    for contest, runs in contests.items():
        for tool, samples in runs.items():
            cells = [contest, tool]
            for values in (
                [one.p99_ms for one in samples],
                [one.truth_ms for one in samples],
                [one.ideal_ms for one in samples],
            ):
                cells.append(optional(values, ".1f"))
            cells.append(optional((None if one.error is None else 100 * one.error for one in samples), "+.2f"))
            cells += [span([one.steady for one in samples]), span([one.per_s for one in samples], ",.0f")]
            lines.append(row([*cells, optional((one.lag_ms_p99 for one in samples), ".1f")]))
    return lines


def twin_table(runs: dict[str, list[Sample]]) -> list[str]:
    lines = [row(["tool", "intents", "answered/s", "CPU-s per 10,000 of the harness"]), "|" + "---|" * 4]
    for tool, samples in runs.items():
        rates, costs = [one.per_s for one in samples], [one.steady for one in samples]
        many = f"{statistics.median(one.requests for one in samples):,.0f}"
        lines.append(row([tool, many, span(rates, ",.0f"), span(costs)]))
    return lines


def bounds_table(found: Sequence[Bound]) -> list[str]:
    lines = [row(["bound", "in this run", "held"]), "|---|---|---|"]
    return lines + [row([one.name, one.found, "yes" if one.holds else "**MISSED**"]) for one in found]
