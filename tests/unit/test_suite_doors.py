"""The command lines that become a suite, or one run of Locust: which words they hand on."""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import cli, suite_door, wave_console
from harness.scenario import ScenarioError
from harness.suite_check import GRACE, Asked, SuiteRefused, _tried, check
from harness.suite_door import parted, to_suite
from harness.suite_entries import entries
from tests.drafts import PaperTarget
from tests.processes import ROOT

TWO = "multi_fault,layer2"


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What this process would have become."""
    commands: list[list[str]] = []
    monkeypatch.setattr(suite_door, "_become", lambda command: commands.append([*command]))
    return commands


@pytest.fixture
def suites(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The suites that would have run: an Asked, or the path of one to go on with."""
    asked: list[Any] = []
    monkeypatch.setattr(suite_door, "run_to_exit_code", lambda suite: asked.append(suite.args[0]) or 0)
    return asked


def grace_chaos(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["grace-chaos", *words])
    return cli.main()


def locusts(**changed: Any) -> argparse.Namespace:
    base = {"headless": True, "scenario": TWO, "out": "runs", "seed": 7, "time_scale": 0.1, "control": False}
    base |= {
        "host": None,
        "target": "",
        "allow_host": "",
        "safeguards_off": "a,b",
        "plant": "",
        "num_users": None,
        "sign_key": "",
    }
    return argparse.Namespace(**{**base, **changed})


def test_locust_becomes_the_suite_and_hands_on_its_own_words(
    monkeypatch: pytest.MonkeyPatch, became: list[list[str]], suites: list[Any]
) -> None:
    typed = ["-f", "mine.py", "--headless", "--scenario", TWO, "--csv", "x", "--seed=7"]
    monkeypatch.setattr(sys, "argv", ["locust", *typed])
    to_suite(locusts(num_users=5), distributed=False)
    (command,) = became
    assert command[1:4] == ["-m", "harness.cli", "run"]
    assert grace_chaos(monkeypatch, *command[3:]) == 0
    (asked,) = suites
    assert asked.scenarios == ("multi_fault", "layer2") and asked.words == tuple(typed)
    assert (asked.seed, asked.time_scale, asked.safeguards_off, asked.users) == (7, 0.1, "a,b", 5)
    child = asked.command("MF01_triple_threat", 99)
    parsed = argparse.ArgumentParser()
    for flag in ("--scenario", "--seed", "--csv", "-f", "--out", "--time-scale", "--safeguards-off", "-u"):
        parsed.add_argument(flag)
    parsed.add_argument("--headless", action="store_true")
    read = parsed.parse_args(child)
    assert (read.scenario, read.seed, read.csv, read.f) == ("MF01_triple_threat", "99", "x", "mine.py")
    assert (read.out, read.time_scale, read.u) == ("runs", "0.1", "5")


@pytest.mark.parametrize(("out", "kept"), [("mine", "mine"), (suite_door.OUT, "logs/chaos")])
def test_the_wave_cards_run_in_waves(
    monkeypatch: pytest.MonkeyPatch, became: list[list[str]], out: str, kept: str
) -> None:
    typed = ["-f", "mine.py", "--headless", "--scenario", "waves", "--csv", "x"]
    monkeypatch.setattr(sys, "argv", ["locust", *typed])
    to_suite(locusts(scenario="waves", out=out, num_users=5), distributed=False)
    (command,) = became
    assert command[1:4] == ["-m", "harness.cli", "waves"]
    runs: list[Any] = []
    monkeypatch.setattr(wave_console, "run_to_exit_code", lambda run, printer: runs.append(run.args) or 0)
    assert grace_chaos(monkeypatch, *command[3:]) == 0
    ((asked, keep_going),) = runs
    assert (asked.scenarios, asked.out, keep_going) == (("waves",), Path(kept), False)
    assert asked.words == tuple(typed), "Locust's own words are not lost"
    assert (asked.seed, asked.time_scale, asked.safeguards_off, asked.users) == (7, 0.1, "a,b", 5)
    assert grace_chaos(monkeypatch, "waves", "--keep-going") == 0 and runs[1][1] is True
    assert (runs[1][0].scenarios, runs[1][0].out, runs[1][0].words) == (("waves",), Path("logs/chaos"), GRACE)
    assert [grace_chaos(monkeypatch, "waves", word) for word in ("--master", "--control")] == [2, 2] and len(runs) == 2
    to_suite(locusts(scenario="waves", control=True), distributed=False)
    assert became[1][3:5] == ["run", "waves"] and "--control" in became[1]


@pytest.mark.parametrize("changed", [{"headless": False}, {"scenario": "MF01_triple_threat"}, {"scenario": "nope"}])
def test_everything_else_stays_one_run(became: list[list[str]], changed: dict[str, Any]) -> None:
    to_suite(locusts(**changed), distributed=False)
    assert became == []


def test_with_workers_it_is_refused(became: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        to_suite(locusts(), distributed=True)
    assert ended.value.code == 2 and became == [] and "with workers, one scenario a run" in capsys.readouterr().err
    to_suite(locusts(scenario="MF01_triple_threat"), distributed=True)


def test_run_of_one_scenario_becomes_locust(monkeypatch: pytest.MonkeyPatch, became: list[list[str]]) -> None:
    monkeypatch.setattr(suite_door, "run_to_exit_code", lambda suite: pytest.fail("one scenario is no suite"))
    became_then_ends(monkeypatch, became, "run", "MF01_triple_threat", "--time-scale", "0.1", "--csv", "x")
    (command,) = became
    assert command[1:5] == ["-m", "locust", *GRACE]
    words = " ".join(command)
    assert "--csv x" in words and "--scenario MF01_triple_threat" in words and "--time-scale 0.1" in words


def became_then_ends(monkeypatch: pytest.MonkeyPatch, became: list[list[str]], *words: str) -> None:
    """As execv does, it does not come back."""

    def become(command: list[str]) -> None:
        became.append(command)
        raise SystemExit(0)

    monkeypatch.setattr(suite_door, "_become", become)
    with pytest.raises(SystemExit):
        grace_chaos(monkeypatch, *words)


def test_run_of_several_is_a_suite(monkeypatch: pytest.MonkeyPatch, suites: list[Asked]) -> None:
    assert grace_chaos(monkeypatch, "run", "MF01_triple_threat", "layer2,external", "--shared", "--plant", "p") == 0
    (asked,) = suites
    assert asked.scenarios == ("MF01_triple_threat", "layer2", "external")
    assert asked.shared and asked.words == GRACE and asked.plant == "p" and asked.out == Path(suite_door.OUT)


@pytest.mark.parametrize("word", ["--master", "--processes=2", "--worker"])
def test_a_suite_has_no_workers(
    monkeypatch: pytest.MonkeyPatch, suites: list[Any], capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert grace_chaos(monkeypatch, "run", "all", word) == 2 and suites == []
    assert "with workers, one scenario a run" in capsys.readouterr().err


@pytest.mark.parametrize("control", [False, True])
def test_a_word_that_only_the_target_knows_is_tried_before_the_start(tmp_path: Path, control: bool) -> None:
    path = tmp_path / "mine.yaml"
    pause = "faults: [{{type: kernel_pause, target: {}, params: {{pause_seconds: 45}}}}]"
    texts = [f"- scenario_id: {name}\n  {pause.format(name)}\n" for name in ("librarian", "libraryan")]
    path.write_text("".join(texts))
    asked = Asked(scenarios=(str(path),), out=tmp_path, seed=1, time_scale=0.1, control=control)
    found = entries(asked.scenarios)
    with pytest.raises(ScenarioError, match="Did you mean 'librarian'"):
        _tried(found, asked, PaperTarget())  # type: ignore[arg-type]
    in_a_category = [replace(one, named=False) for one in found]
    good, bad = _tried(in_a_category, asked, PaperTarget())  # type: ignore[arg-type]
    assert not good.lacks and "the target has no kernel 'libraryan'" in bad.lacks
    assert good.expected_s > 20 and (control or good.expected_s == 6 + 5 + 5 + 15)


def test_resume_takes_nothing_beside(
    monkeypatch: pytest.MonkeyPatch, suites: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert grace_chaos(monkeypatch, "run", "--resume", "x.json") == 0 and suites == [Path("x.json")]
    assert grace_chaos(monkeypatch, "run", "--resume") == 0 and suites[1:] == [Path(suite_door.OUT)]
    for more in (["--time-scale", "0.1"], ["--control"], ["--csv", "x"]):
        assert grace_chaos(monkeypatch, "run", *more, "--resume", "x.json") == 2
        assert "as it was begun" in capsys.readouterr().err
    assert len(suites) == 2


def test_run_of_nothing_and_words_that_no_verb_knows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grace_chaos(monkeypatch, "run") == 2 and "a scenario" in capsys.readouterr().err
    for words in (("list", "--", "x"), ("list", "--x")):
        with pytest.raises(SystemExit) as ended:
            grace_chaos(monkeypatch, *words)
        assert ended.value.code == 2
    assert parted(["a", "--", "b", "--", "c"]) == (["a"], ["b", "--", "c"]) and parted(["a"]) == (["a"], [])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"time_scale": 0.0}, "--time-scale: above 0"),
        ({"time_scale": float("nan")}, "--time-scale: above 0"),
        ({"seed": -1}, "--seed: a whole number"),
        ({"host": "http://127.0.0.1:1"}, "--host needs --target"),
        ({"scenarios": ("MF01_tripl",)}, "Did you mean 'MF01_triple_threat'"),
        ({"target": "absent.yaml"}, "absent.yaml"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr("harness.suite_check.EmbeddedTwin", lambda *_: pytest.fail("a twin was started"))
    with pytest.raises(SuiteRefused, match=words):
        check(Asked(**{"scenarios": ("MF01_triple_threat",), "out": tmp_path, **changed}))


def test_a_stop_file_that_was_left_refuses(tmp_path: Path) -> None:
    (tmp_path / "HALT").touch()
    with pytest.raises(SuiteRefused, match="the stop file of an earlier run"):
        check(Asked(scenarios=("all",), out=tmp_path))


def test_an_asked_suite_survives_its_report() -> None:
    asked = Asked(scenarios=("a", "b"), out=Path("x"), seed=3, control=True, users=4, words=("-f", "y")).drawn()
    assert Asked.from_json(asked.to_json()) == asked
    assert asked.out.is_absolute() and Asked(scenarios=(), out=Path("x")).drawn().seed > 0


def test_the_process_it_becomes_has_the_exit_code() -> None:
    command = [
        sys.executable,
        "-c",
        "from harness import suite_door as d; d._become([d.sys.executable, '-c', 'exit(3)'])",
    ]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 3


@pytest.mark.parametrize(
    ("error", "said"),
    [(KeyError("rows"), "grace-chaos crashed: KeyError: 'rows'"), (RuntimeError("no Grace came up"), "no Grace")],
)
def test_a_crash_has_not_the_exit_code_of_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    def falls(options: object, rest: list[str]) -> int:
        raise error

    monkeypatch.setitem(cli.VERBS, "list", falls)
    assert grace_chaos(monkeypatch, "list") == 3 and said in capsys.readouterr().err
