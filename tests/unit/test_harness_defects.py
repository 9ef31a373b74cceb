"""Broken parts of the harness: each has a patch, a scenario and a code, and some are seen red without a target."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.defects.broken import DEFECTS, PATCHES
from harness import catalog
from harness.scenario import find
from tests.processes import ROOT

BROKEN = "benchmarks.defects.broken"


def test_each_defect_has_a_patch_and_a_known_check() -> None:
    assert set(DEFECTS) == set(PATCHES) and len(DEFECTS) >= 20
    for name, one in DEFECTS.items():
        check, _, cause = one.code.partition(".")
        assert check in catalog.checks() and cause, name


@pytest.mark.parametrize("scenario", sorted({one.scenario for one in DEFECTS.values()}))
def test_each_scenario_of_a_defect_is_known(scenario: str) -> None:
    assert find(str(ROOT / scenario) if scenario.endswith(".yaml") else scenario)


@pytest.mark.parametrize("name", sorted(PATCHES))
def test_each_patch_can_be_applied(name: str) -> None:
    code = (
        f"from gevent import monkey; monkey.patch_all(); from benchmarks.defects.broken import apply; apply({name!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-1000:]
