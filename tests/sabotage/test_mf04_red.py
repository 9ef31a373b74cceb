"""MF04_retry_storm without a safeguard fails, in a finding that names it; the breaker is what keeps a kernel alive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.processes import findings, finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MF04 = ("--scenario", "MF04_retry_storm", "--time-scale", "0.1", "--seed", "7")
# safeguard → a claim of its own that is red without it, and the words that say why
RED = {
    "kernel_watchdog": ("governance restarted within 30s", "no new process for governance"),
    "rate_limiter": ("safeguard rate_limiter engages", "did not engage for api_flood"),
    "dependency_breaker": ("retries_refused_cheaply", "0 x 503 with Retry-After"),
    "error_recognition_system": ("safeguard error_recognition_system engages", "did not engage for kernel_pause"),
}
CRUSHED = ("--plant", "crushed_at_start")


def run(out: Path, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    code, said = finish(locust(*MF04, *words, out=out), 250)
    return code, findings(run_folder(out)), said


def failed(found: list[dict[str, Any]]) -> dict[str, str]:
    return {one["claim"]: one["because"] for one in found if one["verdict"] == "FAIL"}


def named(red: dict[str, str], safeguard: str) -> None:
    claim, words = RED[safeguard]
    assert f"safeguard {safeguard} engages" in red and words in red[claim], red


@pytest.mark.alone
@pytest.mark.parametrize("safeguard", RED)
def test_without_a_safeguard_it_fails_and_names_it(tmp_path: Path, safeguard: str) -> None:
    code, found, said = run(tmp_path, "--safeguards-off", safeguard)
    assert code == 1, said[-6000:]
    named(failed(found), safeguard)


def test_without_three_of_them_each_is_named(tmp_path: Path) -> None:
    """All but the watchdog: without that the storm never ends, and what it was is not judged."""
    off = [name for name in RED if name != "kernel_watchdog"]
    code, found, said = run(tmp_path, "--safeguards-off", ",".join(off))
    assert code == 1, said[-6000:]
    red = failed(found)
    for safeguard in off:
        named(red, safeguard)
        assert safeguard in red["all_safeguards_triggered"]


@pytest.mark.alone
def test_without_the_breaker_each_successor_is_crushed_by_the_storm(tmp_path: Path) -> None:
    code, found, said = run(tmp_path, *CRUSHED, "--safeguards-off", "dependency_breaker")
    assert code == 1, said[-6000:]
    assert "governance was struck 1 x and replaced 3 x" in failed(found)["no_second_death"], failed(found)


@pytest.mark.alone
def test_with_the_breaker_the_same_kernel_lives(tmp_path: Path) -> None:
    code, found, said = run(tmp_path, *CRUSHED)
    assert code == 0, said[-6000:]
    assert {one["verdict"] for one in found} == {"PASS"}
