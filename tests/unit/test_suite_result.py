"""A scenario's process and its run folder must say the same; what does not is INCONCLUSIVE, never passed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.model import Kind, Verdict
from harness.run import conclude
from harness.suite_result import folders_of, incident_in, judged_again, result
from tests.drafts import healthy

MF01 = "MF01_triple_threat"
SEED = 7


def run_folder(out: Path, drop: str = "", seed: int = SEED) -> Path:
    draft = healthy(seed=seed)
    if drop:
        draft.drop(Kind.SAFEGUARD_ENGAGED, drop)
    folder = draft.write(out / MF01)
    conclude(folder)
    return folder


def of(out: Path, code: int) -> tuple[str, str]:
    found = result(folders_of(out, MF01), MF01, SEED, code, "its last words")
    return found.verdict.value, found.because


def test_a_folder_that_agrees_is_what_it_says(tmp_path: Path) -> None:
    run_folder(tmp_path / "good")
    assert of(tmp_path / "good", 0)[0] == "PASS"
    run_folder(tmp_path / "bad", "kernel_watchdog")
    verdict, because = of(tmp_path / "bad", 1)
    assert verdict == "FAIL" and "kernel_watchdog" in because


@pytest.mark.parametrize("code", [1, 2, 3, 4, 137, -9, -15])
def test_a_good_folder_and_another_exit_code(tmp_path: Path, code: int) -> None:
    run_folder(tmp_path)
    verdict, because = of(tmp_path, code)
    assert verdict == "INCONCLUSIVE" and "does not agree with its run folder (PASS" in because
    assert ("SIGKILL" in because) is (code == -9)


@pytest.mark.parametrize("code", [0, 3, -9])
def test_a_bad_folder_and_another_exit_code(tmp_path: Path, code: int) -> None:
    run_folder(tmp_path, "kernel_watchdog")
    verdict, because = of(tmp_path, code)
    assert verdict == "INCONCLUSIVE" and "does not agree with its run folder (FAIL" in because


@pytest.mark.parametrize("code", [0, 1, 3, -11])
def test_no_folder_is_never_passed(tmp_path: Path, code: int) -> None:
    verdict, because = of(tmp_path, code)
    assert verdict == "INCONCLUSIVE" and "left no run folder" in because and "its last words" in because


def test_the_folder_of_another_seed_is_not_taken(tmp_path: Path) -> None:
    run_folder(tmp_path, seed=8)
    assert of(tmp_path, 0)[0] == "INCONCLUSIVE"
    assert "no run folder" in of(tmp_path, 0)[1]


def test_two_folders_are_ambiguous(tmp_path: Path) -> None:
    first = run_folder(tmp_path)
    first.rename(first.with_name("earlier"))
    run_folder(tmp_path)
    assert of(tmp_path, 0)[0] == "INCONCLUSIVE" and "2 run folders" in of(tmp_path, 0)[1]


def test_what_its_files_claim_is_not_believed(tmp_path: Path) -> None:
    """findings.json and incident.json say PASS; the timeline does not."""
    folder = run_folder(tmp_path, "kernel_watchdog")
    good = run_folder(tmp_path / "other")
    for name in ("findings.json", "incident.json"):
        (folder / name).write_bytes((good / name).read_bytes())
    assert incident_in(folder)["success"]
    assert of(tmp_path, 0)[0] == "INCONCLUSIVE"


def test_a_timeline_that_was_edited(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    path = folder / "timeline.jsonl"
    path.write_text(path.read_text().replace("4242", "4243"))
    assert judged_again(folder).verdict is Verdict.INCONCLUSIVE
    assert of(tmp_path, 0)[0] == "INCONCLUSIVE"


def test_a_run_that_ended_before_its_verdict(tmp_path: Path) -> None:
    folder = healthy(seed=SEED).write(tmp_path / MF01)
    assert "before its verdict (killed by SIGKILL)" in of(tmp_path, -9)[1]
    (folder / "signals.csv").unlink()
    assert "before its verdict" in of(tmp_path, 0)[1] and of(tmp_path, 0)[0] == "INCONCLUSIVE"
    (folder / "plan.json").write_text("{}")
    assert "no run folder" in of(tmp_path, 0)[1]


def test_an_incident_that_is_none(tmp_path: Path) -> None:
    assert incident_in(tmp_path) == {}
    for text in ("[]", "{", json.dumps("x")):
        (tmp_path / "incident.json").write_text(text)
        assert incident_in(tmp_path) == {}
