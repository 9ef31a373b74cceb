"""grace-chaos: what it says of itself, and a twin that has nowhere to live."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.cli import VERBS, main


def test_help_is_for_users_and_names_every_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["grace-chaos", "--help"])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr().out
    assert left.value.code == 0 and "which of its safeguards fired" in " ".join(said.split())
    assert [verb for verb in VERBS if f"\n    {verb}" not in said] == []


def test_a_twin_that_has_nowhere_to_live_is_a_usage_error_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["grace-chaos", "twin", "up", "--dir", str(tmp_path / "file" / "below")])
    assert main() == 2
    said = capsys.readouterr()
    assert said.err == f"--dir: no twin can live in {tmp_path / 'file' / 'below'}: Not a directory\n" and not said.out


@pytest.mark.parametrize(("theirs", "ours"), [(0, 3), (1, 3), (2, 2), (-9, 3), (4, 3)])
def test_a_twin_that_does_not_come_up_is_no_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, theirs: int, ours: int
) -> None:
    class Ended:
        returncode = theirs

        def __init__(self, *words: object, **more: object) -> None: ...

        def poll(self) -> int:
            return theirs

    monkeypatch.setattr("harness.cli.subprocess.Popen", Ended)
    monkeypatch.setattr(sys, "argv", ["grace-chaos", "twin", "up", "--dir", str(tmp_path)])
    assert main() == ours and "did not become ready" in capsys.readouterr().err


@pytest.mark.parametrize(("action", "code"), [("status", 3), ("down", 0)])
def test_no_twin_is_no_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, action: str, code: int) -> None:
    monkeypatch.setattr(sys, "argv", ["grace-chaos", "twin", action, "--dir", str(tmp_path)])
    assert main() == code
