"""The words of a suite → its scenarios: what is named must be right, what stands in a category is listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import scenario
from harness.scenario import ScenarioError, find
from harness.suite_entries import entries, is_suite, seed_of, split

FAULT = "faults: [{type: cpu_spike, params: {cpu_percent: 50, duration_seconds: 10}}]"


def one(identity: str, category: str = "layer2", more: str = "") -> str:
    return f"- scenario_id: {identity}\n  category: {category}\n  {FAULT}\n{more}"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped scenarios."""
    shelf = tmp_path / "shelf" / "enhanced"
    shelf.mkdir(parents=True)
    monkeypatch.setattr(scenario, "FOLDER", shelf.parent)
    return shelf


def put(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_category_is_in_order_and_knows_what_it_runs(shelf: Path) -> None:
    for identity, category in (("B", "layer2"), ("A", "layer2"), ("Z", "multi_fault"), ("M", "external")):
        put(shelf / f"{identity}.yaml", one(identity, category))
    assert [found.scenario_id for found in entries(["all"])] == ["Z", "A", "B", "M"]
    assert [found.word for found in entries(["layer2"])] == ["A", "B"]
    assert [found.word for found in entries(["external", "B", "all"])] == ["M", "B", "Z", "A"], "each once"
    assert not any(found.lacks for found in entries(["all"]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scenario_id: [\n", "broken.yaml:"),
        (one("broken", more="  verification: [wins]\n"), "no check is called 'wins'"),
        (one("broken", more="  telemetry: yes\n"), "telemetry"),
        (one("broken").replace("cpu_spike", "cpu_spik"), "Did you mean 'cpu_spike'?"),
        (one("broken", "layer_2"), "no category is called 'layer_2'"),
    ],
)
def test_what_is_wrong_is_listed_in_a_category_and_refused_by_name(shelf: Path, text: str, words: str) -> None:
    put(shelf / "good.yaml", one("good"))
    broken = put(shelf / "broken.yaml", text)
    found = {entry.scenario_id: entry for entry in entries(["layer2"])}
    assert set(found) == {"good", "broken"} and words in found["broken"].lacks and not found["good"].lacks
    for named in ("broken", str(broken)):
        with pytest.raises(ScenarioError, match=words.replace("?", r"\?")):
            entries(["good", named])
        with pytest.raises(ScenarioError):
            entries(["layer2", named])


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path, shelf: Path) -> None:
    put(shelf / "good.yaml", one("good"))
    wrong = put(tmp_path / "wrong.yaml", one("wrong", more="  verification: [wins]\n"))
    with pytest.raises(ScenarioError) as raised:
        entries(["goood", str(wrong)])
    assert "Did you mean 'good'?" in str(raised.value) and "'wins'" in str(raised.value)
    with pytest.raises(ScenarioError, match="no scenario is named"):
        entries([])


def test_one_scenario_of_a_file_with_several(tmp_path: Path) -> None:
    path = put(tmp_path / "mine.yaml", one("first") + one("second"))
    both = entries([str(path)])
    assert [found.word for found in both] == [f"{path}#first", f"{path}#second"]
    assert [found.scenario_id for found in entries([f"{path}#second"])] == ["second"]
    assert [found.scenario_id for found in find(f"{path}#second")] == ["second"], "as --scenario has it"
    for search in (lambda word: entries([word]), find):
        with pytest.raises(ScenarioError, match="Did you mean 'second'"):
            search(f"{path}#secnd")


def test_an_entry_reads_as_the_document_has_it() -> None:
    mf01 = next(found for found in entries(["all"]) if found["scenario_id"] == "MF01_triple_threat")
    assert mf01["severity"] == mf01.severity == 5
    with pytest.raises(KeyError):
        mf01["no_such_key"]


def test_what_is_a_suite(tmp_path: Path) -> None:
    several = put(tmp_path / "several.yaml", one("first") + one("second"))
    single = put(tmp_path / "single.yaml", one("first"))
    assert all(map(is_suite, (["all"], ["multi_fault"], ["a", "b"], [str(several)])))
    assert not any(map(is_suite, ([], ["MF01_triple_threat"], [str(single)], [f"{several}#first"], ["nope"])))
    assert not is_suite([str(tmp_path / "absent.yaml")])
    assert split(" a, b ,,c") == ["a", "b", "c"]


def test_a_seed_is_its_own_and_always_the_same() -> None:
    seeds = [seed_of(7, name) for name in ("MF01_triple_threat", "MF02", "MF03")]
    assert seeds == [seed_of(7, name) for name in ("MF01_triple_threat", "MF02", "MF03")]
    assert len({*seeds, seed_of(8, "MF02")}) == 4 and all(0 < seed < 2**31 for seed in seeds)
