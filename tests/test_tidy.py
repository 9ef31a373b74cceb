"""Rules that hold for every file, each with a planted violation that shows it red."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from harness import catalog
from harness.limits import Limits
from harness.stop import NAMES

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "entry": 0,
    "model": 0,
    "contracts": 1,
    "catalog": 1,
    "audit_entries": 3,
    "own_parts": 1,
    "clock": 1,
    "process": 2,
    "primitives": 2,
    "undo": 2,
    "undo_log": 2,
    "sweep": 3,
    "cpu_clock": 2,
    "cgroup": 2,
    "pressure": 2,
    "mounts": 2,
    "hosts": 2,
    "loopback": 2,
    "observers": 2,
    "signal_shapes": 2,
    "yaml_reader": 2,
    "playbook_effects": 2,
    "alarms": 3,
    "bystanders": 3,
    "effect_spans": 3,
    "deferral": 3,
    "fixed_answers": 3,
    "strikes": 3,
    "scenario": 3,
    "classic": 3,
    "classic_claims": 3,
    "draw": 3,
    "claims": 3,
    "expect": 3,
    "impossible": 3,
    "limits": 3,
    "stop": 3,
    "plan": 3,
    "probe_rows": 3,
    "journal": 3,
    "traffic": 3,
    "unmet": 3,
    "ledger": 3,
    "ledger_row": 3,
    "ledger_start": 3,
    "digests": 3,
    "deeds": 3,
    "read_back": 3,
    "record": 3,
    "fault_record": 3,
    "besides": 3,
    "required": 3,
    "seal": 3,
    "run_tables": 3,
    "metrics": 3,
    "wave": 3,
    "wave_groups": 3,
    "wave_view": 3,
    "mendings": 3,
    "target": 3,
    "target_behaviour": 3,
    "target_state": 3,
    "states": 3,
    "guardian": 3,
    "guardian_link": 3,
    "checks": 3,
    "preflight": 4,
    "manifest_lines": 3,
    "conductor": 4,
    "watcher": 4,
    "state_taker": 4,
    "dump": 4,
    "judge": 4,
    "reporting": 4,
    "run": 5,
    "embedded": 5,
    "proofread": 5,
    "audit": 5,
    "suite_entries": 5,
    "suite_check": 5,
    "suite_child": 5,
    "suite_pause": 5,
    "suite_result": 5,
    "signing": 5,
    "verify": 5,
    "suite_state": 5,
    "suite_run": 5,
    "suite": 5,
    "wave_shares": 5,
    "wave_state": 5,
    "wave_steady": 5,
    "waves": 5,
    "console": 6,
    "interrupts": 6,
    "gates": 6,
    "sinks": 6,
    "killmatrix": 6,
    "options": 6,
    "web_state": 6,
    "web": 6,
    "worker": 6,
    "worker_clock": 6,
    "load_count": 6,
    "suite_console": 6,
    "suite_door": 6,
    "wave_console": 6,
    "menu": 6,
    "locust_load": 6,
    "cli": 6,
}
# What only a test or a fault may know: the embedded Grace must see by itself.
FOREIGN = ("rogue_kernel", "chaos", "127.0.0.2", "127.0.0.3", "acl_flooder", "cpu_pacer", "MF01", "locust", "harness")
LINES_MAX = 500
FUNCTION_LINES_MAX = 60
PYTHON = ("harness", "faults", "reports", "locustfiles", "twin", "tests")
HELD = (*PYTHON, "scenarios", "docs", "benchmarks", ".ci")  # what the repository holds, beside the files at its top
OF_A_MACHINE = re.compile(r"(?<![\w.:])/(?:home|root|work|mnt|opt|tmp|Users)/\w")


def imports(text: str) -> set[str]:
    """What a file imports when it runs: names that only a type needs are left out."""
    found = set()
    tree = ast.parse(text)
    typing = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    skipped = {id(inner) for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    return found


def part_of(module: str) -> str:
    return module.split(".")[1] if module.startswith("harness.") else ""


def too_high(name: str, text: str) -> set[str]:
    """The modules of the harness that a file of it imports from its own floor's roof upwards (same floor is fine)."""
    mine = FLOORS[name]
    return {one for one in map(part_of, imports(text)) if one in FLOORS and FLOORS[one] > mine}


def forbidden(text: str, packages: tuple[str, ...]) -> set[str]:
    return {one for one in imports(text) if one.split(".")[0] in packages}


def foreign_words(text: str, also: Iterable[str] = ()) -> list[str]:
    return [word for word in (*FOREIGN, *sorted(also)) if word.lower() in text.lower()]


def above(text: str, allowed: tuple[str, ...]) -> set[str]:
    """What a fault or a reporter imports of the harness beyond floor 2 and what is *allowed*."""
    mine = {one for one in map(part_of, imports(text)) if one in FLOORS}
    return {one for one in mine if FLOORS[one] > 2 and one not in allowed}


def undescribed(text: str) -> bool:
    return not ast.get_docstring(ast.parse(text))


def long_functions(text: str) -> list[str]:
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [n.name for n in nodes if (n.end_lineno or 0) - n.lineno + 1 > FUNCTION_LINES_MAX]


def evasions(text: str) -> set[str]:
    """Ways in which a test can be green without having looked."""
    nodes = ast.walk(ast.parse(text))
    names = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    return names & {
        "time.sleep",
        "pytest.skip",
        "pytest.xfail",
        "pytest.mark.skip",
        "pytest.mark.skipif",
        "pytest.mark.xfail",
    }


def words_of_the_scenarios() -> set[str]:
    """Names that a scenario or a fault brings along: actors, scenarios, injectors, helpers."""
    found = {path.stem for path in files("faults") if "_" in path.stem.strip("_")}
    for path in (ROOT / "scenarios").rglob("*.yaml"):
        for value in leaves(yaml.safe_load(path.read_text(encoding="utf-8"))):
            if value[0] in ("blocked_actor", "scenario_id"):
                found.add(value[1])
    return found


def leaves(data: object, key: str = "") -> list[tuple[str, str]]:
    """(key, text) of every text in a YAML file."""
    if isinstance(data, dict):
        return [leaf for name, value in data.items() for leaf in leaves(value, str(name))]
    if isinstance(data, list):
        return [leaf for value in data for leaf in leaves(value, key)]
    return [(key, data)] if isinstance(data, str) else []


def files(folder: str) -> list[Path]:
    return [path for path in sorted((ROOT / folder).rglob("*.py")) if "__pycache__" not in path.parts]


@pytest.mark.parametrize("path", files("harness"), ids=lambda path: path.stem)
def test_a_file_imports_only_what_is_below(path: Path) -> None:
    parts = path.relative_to(ROOT / "harness").with_suffix("").parts
    if parts != ("__init__",):
        assert too_high(parts[0], path.read_text()) == set()


def test_the_floors_are_seen_red() -> None:
    assert too_high("journal", "from harness.run import Run") == {"run"}
    assert too_high("observers", "import harness.plan") == {"plan"}


@pytest.mark.parametrize("folder", ["twin", "harness", "faults", "reports", "locustfiles"])
def test_the_twin_and_the_rest_do_not_know_each_other(folder: str) -> None:
    others = ("harness", "faults", "reports", "locustfiles", "tests") if folder == "twin" else ("twin",)
    for path in files(folder):
        assert forbidden(path.read_text(), others) == set(), path


def test_forbidden_imports_are_seen_red() -> None:
    assert forbidden("from twin.config import Config", ("twin",)) == {"twin.config", "twin.config.Config"}


def test_only_one_file_of_the_harness_knows_locust() -> None:
    knows = {path.name for path in files("harness") if forbidden(path.read_text(), ("locust",))}
    assert knows == {"locust_load.py"}


def test_observers_see_neither_plan_nor_faults() -> None:
    for path in files("harness/observers"):
        seen = {part_of(one) for one in imports(path.read_text())}
        assert not seen & {"plan", "scenario", "conductor", "run", "judge", "record"}, path
        assert forbidden(path.read_text(), ("faults",)) == set(), path


def test_what_heals_imports_no_fault_and_no_gevent() -> None:
    healers = [ROOT / "harness" / f"{name}.py" for name in ("guardian", "undo", "process")]
    for path in (*healers, *files("harness/primitives")):
        assert forbidden(path.read_text(), ("faults", "gevent", "locust")) == set(), path


def test_faults_and_reports_stand_on_low_floors() -> None:
    for path in files("faults"):
        assert above(path.read_text(), ()) == set(), path
    for path in files("reports"):
        assert above(path.read_text(), ("fault_record", "record", "metrics", "traffic", "ledger")) == set(), path
    assert above("from harness.journal import Journal", ()) == {"journal"}
    assert above("from harness import judge\nfrom harness.record import Record", ("record",)) == {"judge"}


def test_the_twin_holds_no_word_of_a_test() -> None:
    brought = words_of_the_scenarios()
    assert {"rogue_kernel", "MF01_triple_threat", "cpu_spike", "acl_flooder"} <= brought
    for path in files("twin"):
        assert foreign_words(path.read_text(), brought) == [], path
    assert foreign_words("if actor == 'rogue_kernel': ...") == ["rogue_kernel"]
    assert foreign_words("while kernel_pause: ...", brought) == ["kernel_pause"]


@pytest.mark.parametrize("folder", PYTHON)
def test_every_file_says_what_it_is_for_and_is_short(folder: str) -> None:
    for path in files(folder):
        text = path.read_text()
        assert not undescribed(text), f"{path} has no first line that says what it is for"
        assert text.count("\n") <= LINES_MAX, path
        assert long_functions(text) == [], path


def test_files_that_are_not_tidy_are_seen_red() -> None:
    assert undescribed("import os\n'too late'")
    assert long_functions("def short(): ...\n\ndef long():\n" + "    x = 1\n" * FUNCTION_LINES_MAX) == ["long"]


def test_no_test_waits_blindly_or_steps_aside() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert evasions(path.read_text()) == set(), path
    assert evasions("import time\ntime.sleep(1)") == {"time.sleep"}
    assert evasions("@pytest.mark.xfail(strict=False)\ndef test(): ...") == {"pytest.mark.xfail"}


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    held = [path for folder in HELD for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    held += [path for path in ROOT.iterdir() if path.suffix in (".md", ".toml", "") and path.is_file()]
    assert len(held) > 100
    for path in held:
        if path.is_file() and path.suffix != ".pyc":
            found = OF_A_MACHINE.findall(path.read_text(encoding="utf-8", errors="replace"))
            assert found == [], f"{path}: {found}"
    planted = ["open('" + "/home" + "/me/x')", "cd " + "/work" + "/main", "--out=" + "/tmp" + "/x"]
    assert all(OF_A_MACHINE.search(text) for text in planted)
    assert not OF_A_MACHINE.search("GET /api/x, run/tmp/x, http://host/home/x")


@pytest.mark.parametrize("package", ["faults", "harness.checks", "harness.observers", "reports"])
def test_every_part_is_named_by_a_test(package: str) -> None:
    attribute = {"faults": "FAULT", "harness.checks": "CHECK", "harness.observers": "OBSERVER", "reports": "REPORTER"}
    stems = set(catalog.parts(package, attribute[package]))
    assert stems and untested(stems) == set()


def untested(stems: set[str]) -> set[str]:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    return {stem for stem in stems if not any(re.search(rf"\b{stem}\b", text) for text in texts)}


def test_an_untested_part_is_seen_red() -> None:
    unheard_of = "no_such" + "_part"
    assert untested({"journal_intact", unheard_of}) == {unheard_of}


def test_each_file_of_tests_has_a_name_of_its_own() -> None:
    """pytest imports them by their stems alone: with two of one name it collects nothing at all."""
    assert namesakes((ROOT / "tests").rglob("test_*.py")) == []
    assert namesakes([Path("a/test_x.py"), Path("b/test_x.py"), Path("b/test_y.py")]) == ["test_x.py"]


def namesakes(paths: Iterable[Path]) -> list[str]:
    names = [path.name for path in paths]
    return sorted({name for name in names if names.count(name) > 1})


def test_every_link_of_a_page_leads_to_a_file() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        assert dead_links(page.read_text(encoding="utf-8"), page.parent) == [], page
    planted = "[a](README.md) [b](no/such.md) [c](https://example.org)"
    assert dead_links(planted, ROOT) == ["no/such.md"]


def dead_links(text: str, folder: Path) -> list[str]:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    return [link for link in links if "://" not in link and not (folder / link).exists()]


def test_the_makefile_holds_each_target_once_and_tells_of_it() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = ["venv", "run", "lint", "test-fast", "test", "sabotage"]
    targets += ["bench", "matrix", "soak", "killmatrix", "seeds", "audit", "defects", "clean"]
    assert make_faults(text) == []
    assert [name for name in make_targets(text) if name != "help"] == targets
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    told = subprocess.run(["make", "help"], cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
    assert told.stderr == "" and [line.split()[0] for line in told.stdout.splitlines()] == targets
    planted = ".PHONY: a b help\na: x ## does it\n\t@true\na: ## again\n\t@true\nb:\n\t@true\n$(S): x\n\t@true\n"
    assert make_faults(planted) == ["a stands twice", "b has no ## words for make help"]


def make_targets(text: str) -> list[str]:
    """The targets that a Makefile has by name, in order."""
    return re.findall(r"^([a-z-]+):(?!=)", text, re.MULTILINE)


def make_faults(text: str) -> list[str]:
    """Targets that stand twice, of which make takes the last, and those that `make help` does not tell of."""
    targets = make_targets(text)
    told = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)) | {"help"}
    twice = [f"{name} stands twice" for name in dict.fromkeys(targets) if targets.count(name) > 1]
    return twice + [f"{name} has no ## words for make help" for name in dict.fromkeys(targets) if name not in told]


def test_the_architecture_page_tells_the_floors_as_they_are() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert told_floors(text) == FLOORS
    assert told_floors("| 3 | `x.py`, `y/` | words |") == {"x": 3, "y": 3}


def test_the_safety_page_tells_limits_and_live_values_as_they_are() -> None:
    text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", text, re.MULTILINE))
    limits = {one.name: f"{getattr(Limits(), one.name):g}" for one in fields(Limits)}
    assert told == {**limits, **NAMES}


def told_floors(text: str) -> dict[str, int]:
    rows = re.findall(r"^\| (\d) \| ([^|]*)\|", text, re.MULTILINE)
    return {name: int(floor) for floor, cell in rows for name in re.findall(r"`(\w+)(?:\.py|/)`", cell)}
