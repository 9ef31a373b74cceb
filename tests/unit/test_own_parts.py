"""A folder of somebody's own parts: what is wrong with it is said with its file, before anything starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness import catalog, own_parts
from harness.catalog import CatalogError
from harness.suite_check import Asked, SuiteRefused, check
from tests.own_folder import environment, named

ROOT = Path(__file__).resolve().parents[2]
CHECK = '''"""Always so."""
from dataclasses import dataclass
from harness.checks import finding
from harness.model import Verdict
@dataclass(frozen=True, kw_only=True)
class Mine:
    claim: str
    def check(self, record):
        return finding(self, Verdict.INCONCLUSIVE, "it is only a test", code="a_test")
CHECK = Mine
'''
FAULT_LACKS = "FAULT lacks prepare, inject, sample, subject, asked, duration_field, min_duration_s, the field 'target'"
WRONG = [
    (
        "checks/metric.py",
        CHECK,
        "metric.py: a part called 'metric' comes with this version: give this one another name",
    ),
    ("checks/torn.py", "x = (\n", "torn.py:1: cannot be loaded: SyntaxError: '(' was never closed"),
    ("checks/falls.py", "x = 1\n\ny = x / 0\n", "falls.py:3: cannot be loaded: ZeroDivisionError: division by zero"),
    ("checks/ends.py", "import sys\nsys.exit(0)\n", "ends.py:2: cannot be loaded: SystemExit: 0"),
    ("checks/asks.py", "import no_such_module\n", "asks.py:1: cannot be loaded: ModuleNotFoundError: No module named"),
    ("checks/leaves.py", CHECK.replace("CHECK = Mine", ""), "leaves.py: CHECK = Class is missing at its end"),
    ("checks/bare.py", "class A:\n    check = 1\nCHECK = A\n", "bare.py: CHECK lacks the field 'claim' of a dataclass"),
    ("faults/empty_one.py", "class A: ...\nFAULT = A\n", FAULT_LACKS),
    ("observers/deaf.py", "class A: ...\nOBSERVER = A\n", "deaf.py: OBSERVER lacks every_s, observe, close"),
    ("reports/mute.py", "class A: ...\nREPORTER = A\n", "mute.py: REPORTER lacks filename, render"),
    ("check/mine.py", CHECK, "has no folder of parts, only 'check'. Did you mean 'checks'?"),
]


def put(folder: Path, name: str, text: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_part_of_ones_own_is_as_good_as_any(tmp_path: Path) -> None:
    path = put(tmp_path, "checks/always_so.py", CHECK)
    put(tmp_path, "checks/_helper.py", "class A: ...\n")
    assert "always_so" not in catalog.checks() and own_parts.own_parts() == {}
    with named(tmp_path):
        own_parts.check()
        assert "always_so" in catalog.plain_checks() and "metric" in catalog.checks()
        assert list(own_parts.own_parts()) == [str(path)]
        assert own_parts.before("locust --x") == f"GRACE_PARTS={tmp_path} locust --x"
    assert "always_so" not in catalog.checks() and own_parts.before("locust --x") == "locust --x"


@pytest.mark.parametrize(("name", "text", "words"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_wrong_with_a_part_is_said_with_its_file(tmp_path: Path, name: str, text: str, words: str) -> None:
    put(tmp_path, name, text)
    with named(tmp_path), pytest.raises(CatalogError) as caught:
        own_parts.check()
    assert words in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_name_stands_once_among_several_folders(tmp_path: Path) -> None:
    put(tmp_path / "a", "checks/always_so.py", CHECK)
    put(tmp_path / "b", "checks/always_so.py", CHECK)
    with named(tmp_path / "a", tmp_path / "b"), pytest.raises(CatalogError, match=f"stands in {tmp_path}/a: give"):
        own_parts.check()


def test_the_variable_reaches_each_way_in(tmp_path: Path) -> None:
    """The command line, Locust and the suite refuse alike, with exit code 2 and no traceback."""
    torn = put(tmp_path, "checks/torn.py", "x = (\n")
    locust = ["locust", "-f", str(ROOT / "locustfiles" / "grace.py"), "--headless", "--scenario", "MF01_triple_threat"]
    for words in (["harness.cli", "list"], ["harness.cli", "run", "all"], locust):
        command = [sys.executable, "-m", *words]
        command += ["--out", str(tmp_path / "out")] if "list" not in words else []
        done = subprocess.run(command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True)
        assert (done.returncode, f"{torn}:1: cannot be loaded: SyntaxError" in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr
    with named(tmp_path), pytest.raises(SuiteRefused, match="cannot be loaded"):
        check(Asked(scenarios=("all",), out=tmp_path))
    gone = subprocess.run(
        [sys.executable, "-m", "harness.cli", "list"],
        cwd=ROOT,
        env=environment(tmp_path / "nowhere"),
        capture_output=True,
        text=True,
    )
    assert gone.returncode == 2 and gone.stderr == f"GRACE_PARTS: {tmp_path / 'nowhere'} is not a folder\n"


def test_healing_works_whatever_the_parts_look_like(tmp_path: Path) -> None:
    put(tmp_path, "faults/torn.py", "x = (\n")
    command = [sys.executable, "-m", "harness.cli", "heal", str(tmp_path / "runs")]
    done = subprocess.run(command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"nothing to heal below {tmp_path / 'runs'}\n"), done.stderr


def test_a_helper_of_ones_own_fault_is_found_where_helpers_are_started(tmp_path: Path) -> None:
    put(tmp_path, "faults/_mine.py", "import json, sys\nprint(json.loads(sys.argv[1])['told'])\n")
    command = [sys.executable, "-m", "faults._mine", '{"told": "by the guardian"}']
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("by the guardian\n", "")


def test_a_check_that_is_not_there_leaves_a_claim_open_in_words() -> None:
    with pytest.raises(CatalogError, match=r"no check is called 'always_so' here; .* GRACE_PARTS must name its folder"):
        catalog.build_check("always_so", "x", {})
