"""The options of a start: read from the form, and refused in words that say what is expected."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from harness.options import AnyScenario, OptionError, add_arguments, make_out, one_scenario, stop_file, wanted
from harness.scenario import ScenarioError, shipped, shipped_classic


def options(**changed: Any) -> argparse.Namespace:
    base = {
        "scenario": "MF01_triple_threat",
        "time_scale": 1.0,
        "seed": 0,
        "safeguards_off": "",
        "plant": "",
        "control": False,
    }
    return argparse.Namespace(**{**base, "num_users": 20, "out": "nowhere", **changed})


def test_the_form_changes_a_copy() -> None:
    mine = options()
    form = {"time_scale": "0.1", "seed": "7", "control": "true", "user_count": "5", "safeguards_off": "x", "host": "h"}
    asked = wanted(mine, form)
    assert (asked.time_scale, asked.seed, asked.control, asked.num_users) == (0.1, 7, True, 5)
    assert (mine.time_scale, mine.seed, mine.control) == (1.0, 0, False)
    assert wanted(options(control=True), {"control": "false"}).control is False


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"time_scale": "x"}, "time scale: a number above 0 is expected, not 'x'"),
        ({"seed": "1.5"}, "seed: a whole number is expected, not '1.5'"),
        ({"user_count": "many"}, "user count: a whole number above 0"),
        ({"user_count": "0"}, "users: a whole number above 0"),
    ],
)
def test_a_word_that_cannot_be_read(form: dict[str, str], words: str) -> None:
    with pytest.raises(OptionError) as raised:
        wanted(options(), form)
    assert words in str(raised.value)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_scale_that_cannot_be(scale: float) -> None:
    with pytest.raises(OptionError, match="--time-scale: above 0 is expected"):
        one_scenario(options(time_scale=scale))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seed": -1}, "--seed: a whole number of at least 0 is expected, not -1"),
        ({"num_users": 0}, "--users: a whole number above 0 is expected, not 0"),
    ],
)
def test_a_number_that_cannot_be(wrong: dict[str, int], words: str) -> None:
    with pytest.raises(OptionError) as raised:
        one_scenario(options(**wrong))
    assert str(raised.value) == words
    assert one_scenario(options(num_users=None)).scenario_id == "MF01_triple_threat"


def test_an_unknown_scenario_is_said_with_the_nearest() -> None:
    with pytest.raises(ScenarioError, match="Did you mean 'MF01_triple_threat'"):
        one_scenario(options(scenario="MF01_tripl"))
    assert one_scenario(options()).scenario_id == "MF01_triple_threat"


def test_several_scenarios_are_refused() -> None:
    with pytest.raises(OptionError, match="one scenario a run"):
        one_scenario(options(scenario="MF01_triple_threat,MF01_triple_threat"))


def test_the_stop_file_is_seen_in_both_places_and_one_that_is_left_refuses_a_start(tmp_path: Path) -> None:
    folder = tmp_path / "MF01" / "now"
    folder.mkdir(parents=True)
    assert stop_file(folder, tmp_path) is None
    (folder / "HALT").touch()
    assert stop_file(folder, tmp_path) == folder / "HALT"
    (folder / "HALT").unlink()
    (tmp_path / "HALT").touch()
    assert stop_file(folder, tmp_path) == tmp_path / "HALT"
    with pytest.raises(OptionError, match="HALT: the stop file of an earlier run"):
        one_scenario(options(out=str(tmp_path)))


def test_a_file_that_was_given_stands_among_the_choices_of_the_form() -> None:
    choices = AnyScenario(["A", "B"])
    assert "A" in choices and list(choices) == ["A", "B"]
    assert "mine.yaml" in choices and list(choices) == ["mine.yaml", "A", "B"]


def test_the_form_offers_every_scenario_that_is_shipped() -> None:
    given: dict[str, Any] = {}

    class Parser:
        """Takes what Locust's own parser takes."""

        def add_argument(self, name: str, **words: Any) -> None:
            given[name] = words

    add_arguments(Parser())  # type: ignore[arg-type]
    choices = list(given["--scenario"]["choices"])
    assert choices == [*shipped(), *shipped_classic()] and "S01_heartbeat_pause" in choices


def test_a_folder_that_no_run_can_be_kept_in(tmp_path: Path) -> None:
    make_out(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for place, why in (("file", "File exists"), ("file/below", "Not a directory")):
        with pytest.raises(OptionError) as raised:
            make_out(tmp_path / place)
        assert str(raised.value) == f"--out: no run can be kept in {str(tmp_path / place)!r}: {why}"
