"""Rules that hold for every file, each with a planted violation that shows it red."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "model": 0,
    "contracts": 1,
    "catalog": 1,
    "clock": 1,
    "process": 2,
    "undo": 2,
    "cpu_clock": 2,
    "loopback": 2,
    "observers": 2,
    "scenario": 3,
    "claims": 3,
    "plan": 3,
    "journal": 3,
    "traffic": 3,
    "record": 3,
    "metrics": 3,
    "target": 3,
    "guardian": 3,
    "guardian_link": 3,
    "checks": 3,
    "conductor": 4,
    "watcher": 4,
    "judge": 4,
    "run": 5,
    "embedded": 5,
    "suite": 5,
    "console": 6,
    "locust_load": 6,
    "cli": 6,
}
# What only a test or a fault may know: the embedded Grace must see by itself.
FOREIGN = ("rogue_kernel", "chaos", "127.0.0.2", "127.0.0.3", "acl_flooder", "cpu_pacer", "MF01", "locust", "harness")
LINES_MAX = 500


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


def foreign_words(text: str) -> list[str]:
    return [word for word in FOREIGN if word.lower() in text.lower()]


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
    for name in ("guardian", "undo", "process"):
        assert forbidden((ROOT / "harness" / f"{name}.py").read_text(), ("faults", "gevent", "locust")) == set()


def test_the_twin_holds_no_word_of_a_test() -> None:
    for path in files("twin"):
        assert foreign_words(path.read_text()) == [], path
    assert foreign_words("if actor == 'rogue_kernel': ...") == ["rogue_kernel"]


@pytest.mark.parametrize("folder", ["twin", "harness", "faults", "reports", "locustfiles", "tests"])
def test_every_file_says_what_it_is_for_and_is_short(folder: str) -> None:
    for path in files(folder):
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{path} has no first line that says what it is for"
        assert text.count("\n") <= LINES_MAX, path
