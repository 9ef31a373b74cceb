"""The Prometheus page is read as it is written: a time after a value is not its value."""

from __future__ import annotations

import pytest

from harness.signal_shapes import samples as parse

PAGES = [
    ("x_total 5", 5.0),
    ('x_total{a="b"} 5 1700000000000', 5.0),
    ("x_total 5 1700000000000", 5.0),
    ('x_total{a="b c"} 2\nx_total{a="}"} 3', 5.0),
    ("# TYPE x_total counter\n\nx_total 5\ny nonsense", 5.0),
]


@pytest.mark.parametrize(("text", "value"), PAGES)
def test_parse(text: str, value: float) -> None:
    assert parse(text)["x_total"] == value


def test_a_counter_that_is_not_there_is_not_zero() -> None:
    assert "x_total" not in parse("y_total 3")
