"""EXT_model_drift: without its safeguard, or with a fallback that is none, it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.processes import findings, finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ABOUT = {
    "safeguard drift_detector engages",
    "playbook model_fallback runs and succeeds",
    "drift_detected",
    "fallback_model_activated",
    "alerts_raised",
}
DRIFT = ("--scenario", "EXT_model_drift", "--time-scale", "0.1", "--seed", "7")


def run(out: Path, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    code, said = finish(locust(*DRIFT, *words, out=out))
    return code, findings(run_folder(out)), said


@pytest.mark.parametrize(
    ("words", "red"),
    [
        (
            ("--safeguards-off", "drift_detector"),
            {
                "safeguard drift_detector engages": "drift_detector",
                "drift_detected": "not detected",
                "fallback_model_activated": "no other model answered clients",
                "alerts_raised": "no alert was raised",
                "playbook model_fallback runs and succeeds": "never started",
            },
        ),
        (
            ("--plant", "fallback_is_the_old_model"),
            {"fallback_model_activated": "the model that stood in for upstream_model was sure by"},
        ),
    ],
    ids=["nobody sees it", "the fallback is the old model"],
)
def test_what_is_planted_is_found(tmp_path: Path, words: tuple[str, ...], red: dict[str, str]) -> None:
    code, found, said = run(tmp_path, *words)
    assert code == 1, said[-6000:]
    failed = {one["claim"]: one["because"] for one in found if one["verdict"] == "FAIL"}
    assert ABOUT & set(failed) == set(red), "what else was seen is not called into question"
    assert all(text in failed[claim] for claim, text in red.items()), failed
