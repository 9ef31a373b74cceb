"""A stop condition stops when it must, never before, and is refused in words when it cannot be evaluated."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stop import NAMES, StopError, StopWatch, parse_stop

WELL = dict.fromkeys(NAMES, 0.0)


def test_it_holds_without_a_break_before_it_stops() -> None:
    watch = StopWatch([parse_stop("failure_percent > 50 for 5s")])
    ill = {**WELL, "failure_percent": 60.0}
    assert [watch.tick(t, ill) for t in (0.0, 4.9)] == ["", ""]
    assert watch.tick(4.95, WELL) == "", "a break"
    assert watch.tick(5.0, ill) == "" and watch.tick(9.9, ill) == ""
    assert watch.tick(10.0, ill) == "stop condition 'failure_percent > 50 for 5s' (failure_percent 60)"


@pytest.mark.parametrize(
    ("text", "values", "stops"),
    [
        ("cpu_percent >= 99", {"cpu_percent": 99.0}, True),
        ("cpu_percent >= 99", {"cpu_percent": 98.9}, False),
        ("cpu_percent > 90 and latency_p95_ms > 100", {"cpu_percent": 95.0, "latency_p95_ms": 90.0}, False),
        ("not requests_per_s > 1", {"requests_per_s": 0.0}, True),
        ("0 < free_disk_mb < 100", {"free_disk_mb": 50.0}, True),
        ("failure_percent / requests_per_s > 1", {"requests_per_s": 0.0, "failure_percent": 9.0}, False),
        ("cpu_percent > 0 or memory_percent > 0", {"cpu_percent": 1.0, "memory_percent": None}, False),
    ],
    ids=str,
)
def test_what_stops_at_once(text: str, values: dict[str, float | None], stops: bool) -> None:
    assert bool(StopWatch([parse_stop(text)]).tick(0.0, {**WELL, **values})) is stops


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("failure_percnt > 5", "Did you mean 'failure_percent'?"),
        ("__import__('os')", "Call is not allowed"),
        ("cpu_percent.real > 1", "Attribute is not allowed"),
        ("cpu_percent", "compares nothing"),
        ("cpu_percent > 'a'", "a number is expected"),
        ("cpu_percent > True", "a number is expected"),
        ("9**9**9 > cpu_percent", "Pow is not allowed"),
        ("1 > 0", "names no live value"),
        ("cpu_percent >", "is not an expression"),
        ("", "is expected"),
        ("cpu_percent > 1 " * 60, "is expected"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(text: str, said: str) -> None:
    with pytest.raises(StopError) as caught:
        parse_stop(text)
    assert said in str(caught.value)


@given(st.text(alphabet="cpu_percent<>=()0123456789.+-*/ andornt'\"[]:,\n", max_size=80))
def test_no_text_is_a_traceback(text: str) -> None:
    with contextlib.suppress(StopError):
        StopWatch([parse_stop(text)]).tick(0.0, WELL)
