"""The menu: what it lists, what it asks, and that nothing that is typed can upset it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from harness import menu
from harness.scenario import CATEGORIES
from harness.suite_check import Asked
from tests.processes import ROOT

DOORS = {"document": ["run_enhanced_chaos.py"], "grace-chaos": ["-m", "harness.cli"]}


def typed(text: str, *, door: str = "document") -> tuple[int, str]:
    command = [sys.executable, *DOORS[door]]
    done = subprocess.run(command, cwd=ROOT, input=text.encode(), capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stdout.decode() + done.stderr.decode()


@pytest.mark.parametrize("door", list(DOORS))
def test_it_lists_the_categories_with_their_scenarios(door: str) -> None:
    code, said = typed("", door=door)
    assert code == 0
    for number, title in enumerate(menu.TITLES, 1):
        assert f"{number}. {title}" in said
    assert any("MF01_triple_threat" in line and "severity 5" in line for line in said.splitlines())


def test_nonsense_is_answered_in_words_and_the_end_of_the_input_leaves() -> None:
    nonsense = "9\n\n-1\nMF01_tripl_threat\n\x00\x07\n²\n" + "x" * 5000 + "\n0\n1 2\n1\nabc\n-3\nnan\ninf\n0.1\n-7\nx\n"
    code, said = typed(nonsense)
    assert code == 0 and "suite of" not in said
    assert "1 to 8, scenario ids, or q to leave are expected, not 9" in said
    assert "Did you mean 'MF01_triple_threat'?" in said and "'abc'" in said and "'nan'" in said and "'-7'" in said


@pytest.mark.parametrize("text", ["q\n", "1\nquit\n", "1\n0.1\nexit\n", "1", "1\n", "1\n1\n", "\xff\xfe\n"])
def test_it_can_be_left_at_every_question(text: str) -> None:
    assert typed(text)[0] == 0


def answers(monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    left = iter(texts)

    def read(_: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)


def run_with(monkeypatch: pytest.MonkeyPatch, codes: list[int], *texts: str) -> tuple[int, list[Asked]]:
    asked: list[Asked] = []
    left = iter(codes)

    def run(suite: Any, printer: Any = None) -> int:
        asked.append(suite.args[0])
        return next(left)

    monkeypatch.setattr(menu, "run_to_exit_code", run)
    answers(monkeypatch, *texts)
    return menu.main(), asked


def test_a_category_with_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    code, asked = run_with(monkeypatch, [0], "1", "", "")
    assert code == 0 and [(one.scenarios, one.time_scale, one.seed) for one in asked] == [(("multi_fault",), 1.0, 0)]


def test_all_and_ids_with_a_scale_and_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    code, asked = run_with(monkeypatch, [4, 3], "8", "0.1", "7", "MF01_triple_threat", "0.5", "0")
    assert [(one.scenarios, one.time_scale, one.seed) for one in asked] == [
        (("all",), 0.1, 7),
        (("MF01_triple_threat",), 0.5, 0),
    ]
    assert code == 3, "the worst of both"


def test_the_wave_cards_run_in_waves_where_their_reports_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, word, out in (("6", "waves", "logs/chaos"), ("7", "layer1", "logs/chaos_enhanced")):
        _, (one,) = run_with(monkeypatch, [0], number, "0.1", "5")
        assert (one.scenarios, str(one.out), one.time_scale, one.seed) == ((word,), out, 0.1, 5)


def test_a_category_without_scenarios_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(menu, "entries", lambda words: [])
    code, asked = run_with(monkeypatch, [], "5")
    assert (code, asked) == (0, []) and "deep_complexity holds no scenario yet" in capsys.readouterr().out


def test_the_worst_of_several_runs() -> None:
    assert [menu.worst(codes) for codes in ([], [0, 0], [0, 4], [4, 2], [2, 3], [3, 1, 0])] == [0, 0, 4, 2, 3, 1]


def test_the_menu_has_every_category() -> None:
    assert (*CATEGORIES, "all") == menu.WORDS and len(menu.TITLES) == len(menu.WORDS)
