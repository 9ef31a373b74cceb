"""Every metric reads a healthy run; the recorder of sources sees here what each of them reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.checks.metric import Metric
from harness.metrics import METRICS, SOURCES
from tests.drafts import healthy


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_judged_and_has_sources(tmp_path: Path, name: str) -> None:
    check = Metric(claim="c", metric=name, op=">=", number=0)
    assert check.check(healthy().record(tmp_path)).check == "metric"
    assert check.sources == SOURCES[name]


def test_no_metric_is_without_sources() -> None:
    assert set(SOURCES) == set(METRICS)
