"""docs/ADDING.md: its examples, exactly as they stand there, are loaded, tried on real things, and run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import catalog, own_parts
from harness.guardian_link import GuardianLink
from harness.metrics import UNITS
from harness.model import Finding, Hold, Verdict
from harness.plan import Options, build_plan, lint
from harness.record import Record
from harness.scenario import load_file
from harness.undo import heal
from tests.drafts import INJECTED, KERNELS, Draft, PaperTarget, healthy
from tests.fake_target import FakeView, target
from tests.own_folder import environment, named
from tests.test_tidy import above, imports, long_functions, part_of, undescribed

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "ADDING.md").read_text(encoding="utf-8")
SCENARIO = "scenarios/MY01_config_gone.yaml"


def blocks() -> dict[str, str]:
    """{path below my_parts: the file} of every example on the page."""
    return dict(re.findall(r"^`my_parts/([\w/.]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "my_parts"
    for name, text in blocks().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    with named(folder):
        own_parts.check()
        yield folder


def test_the_page_has_an_example_of_every_kind_and_tells_each_where_it_belongs(mine: Path) -> None:
    assert sorted(name.partition("/")[0] for name in blocks()) == sorted([*own_parts.KINDS, "scenarios"])
    assert PAGE.count("```") == 2 * len(blocks()), "every fenced block is one that is run here"
    for kind, (package, name, _) in own_parts.KINDS.items():
        assert f"`{kind}/` | `{package.replace('.', '/')}/` | `{name} = Class`" in PAGE
        stem = next(Path(path).stem for path in blocks() if path.startswith(f"{kind}/"))
        assert stem in catalog.parts(package, name)


def test_the_examples_keep_the_rules_of_the_tree(mine: Path) -> None:
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    for words in (["check", *config], ["format", "--check", *config]):
        done = subprocess.run([sys.executable, "-m", "ruff", *words, str(mine)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    for name, text in blocks().items():
        assert text.count("\n") < 80, f"{name} is not small"
        if name.endswith(".py"):
            assert not undescribed(text) and long_functions(text) == [], name
        if name.startswith(("faults", "reports")):
            assert above(text, ("record",) if name.startswith("reports") else ()) == set(), name
        if name.startswith("observers"):
            assert not {part_of(one) for one in imports(text)} & {"plan", "scenario", "conductor", "record"}, name


# The fault


def look(path: Path) -> tuple[str, int, int]:
    about = path.stat()
    return hashlib.sha256(path.read_bytes()).hexdigest(), about.st_mode, about.st_mtime_ns


class Grace:
    """A target that has a configuration."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.paths = {"root": root, "config": root / "settings.yaml"}
        self.paths["config"].write_text("governance: {approval_required: true}\n")
        self.paths["config"].chmod(0o640)


@pytest.fixture
def grace(tmp_path: Path) -> Any:
    return Grace(tmp_path / "grace")


@pytest.fixture
def guardian(tmp_path: Path) -> Iterator[GuardianLink]:
    (tmp_path / "run").mkdir()
    one = GuardianLink(tmp_path / "run", f"adding-{os.getpid()}-{tmp_path.name}")
    yield one
    one.close()


def test_the_fault_is_real_and_is_taken_back_twice(mine: Path, grace: Any, guardian: GuardianLink) -> None:
    config, hands = grace.paths["config"], None
    before = look(config)
    fault = catalog.build_fault("file_gone", {"target": "config"})
    planned = fault.prepare(grace)
    assert all(result["verified"] for result in heal(planned)) and look(config) == before, "prepare touches nothing"
    undo = guardian.arm("f", planned, 60)
    effect = fault.inject(grace, undo, hands)
    guardian.active("f")
    assert not config.exists() and fault.sample(grace, undo, effect, hands).achieved == fault.asked.value
    for _ in range(2):
        assert all(result["verified"] for result in guardian.heal("f")) and look(config) == before
    sample = fault.sample(grace, undo, effect, hands)
    assert sample.hold is Hold.LOST, "what the harness gave back is no deed of the target"


def test_what_the_target_puts_back_ends_the_fault_and_stays(mine: Path, grace: Any, guardian: GuardianLink) -> None:
    fault = catalog.build_fault("file_gone", {"target": "config", "duration_seconds": 9})
    undo = guardian.arm("f", fault.prepare(grace), 60)
    effect = fault.inject(grace, undo, None)
    guardian.active("f")
    grace.paths["config"].write_text("put back\n")
    sample = fault.sample(grace, undo, effect, None)
    assert sample.hold is Hold.TARGET and "is there again" in sample.because
    assert all(result["verified"] for result in guardian.heal("f"))
    assert grace.paths["config"].read_text() == "put back\n"


def test_cut_off_before_the_backup_nothing_is_stuck(mine: Path, grace: Any, guardian: GuardianLink) -> None:
    fault = catalog.build_fault("file_gone", {"target": "config"})
    guardian.arm("f", fault.prepare(grace), 60)
    grace.paths["config"].unlink()  # by somebody else
    assert [result["verified"] for result in guardian.heal("f")] == [True, True]


# The observer


def test_the_observer_counts_what_a_process_really_holds(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "me.pid").write_text(f"{os.getpid()}\n")
    (tmp_path / "nobody.pid").write_text("999999999\n")
    pids = {"librarian": {"pid_file": str(tmp_path / "me.pid")}, "sandbox": {"pid_file": str(tmp_path / "nobody.pid")}}
    whole = target(tmp_path, processes=pids)
    observer, view = catalog.observers()["open_files"](whole), FakeView(whole)

    def counted() -> dict[str, float]:
        return {one.subject: one.value for one in observer.observe(view) if one.name == "open_files"}

    before = counted()
    held = [(tmp_path / "me.pid").open() for _ in range(25)]
    assert counted() == {"librarian": before["librarian"] + 25}
    for one in held:
        one.close()
    assert counted() == before
    observer.close()


# The check


def counted_run(**last: float) -> Draft:
    """A healthy run in which every kernel holds 20 open files; *last* says what one holds in the end."""
    draft = healthy()
    for kernel in KERNELS:
        for half in range(72):
            at_s = half / 2
            value = last.get(kernel, 20.0) if at_s > INJECTED + 10 else 20.0
            draft.signals.append((at_s, "open_files", kernel, value))
    return draft


def found(draft: Draft, folder: Path) -> Finding:
    finding: Finding = catalog.build_check("no_handle_leak", "no handle leak", {}).check(draft.record(folder))
    return finding


def test_the_check_is_green_red_and_undecided(mine: Path, tmp_path: Path) -> None:
    assert found(counted_run(), tmp_path / "a").verdict is Verdict.PASS
    assert found(counted_run(librarian=50.0), tmp_path / "b").verdict is Verdict.PASS
    leak = found(counted_run(librarian=51.0), tmp_path / "c")
    assert (leak.verdict, leak.because[:22]) == (Verdict.FAIL, "librarian holds +31 op")
    assert leak.evidence[0].startswith("signals.csv:")
    unseen = found(counted_run().silence("open_files", "sandbox"), tmp_path / "d")
    assert unseen.verdict is Verdict.INCONCLUSIVE and "sandbox" in unseen.because


# The reporter


def test_the_report_is_the_same_each_time_and_names_what_did_not_pass(mine: Path, tmp_path: Path) -> None:
    record: Record = healthy().record(tmp_path)
    kind = catalog.reporters()["summary"]
    findings = [
        Finding(check="a", verdict=Verdict.PASS, claim="it stands", because="it does"),
        Finding(check="b", verdict=Verdict.FAIL, claim="it holds", because="it broke"),
    ]
    text = kind().render(record, findings)
    assert text == kind().render(record, findings) and "1 of 2 did not pass\n\n- FAIL it holds: it broke\n" in text


# The scenario, and all of them together


def test_the_scenario_is_linted_and_planned(mine: Path, tmp_path: Path) -> None:
    (scenario,) = load_file(mine / SCENARIO)
    lint(scenario, UNITS)
    paper = PaperTarget(paths=Grace(tmp_path / "grace").paths)
    plan, faults = build_plan(scenario, paper, Options(seed=1, time_scale=0.1), UNITS)
    assert [step.step_id for step in plan.steps] == list(faults) == ["file_gone"]
    assert plan.coverage == {"file_gone": (("config_drift_guard", "config_restore"),)}
    claims = {claim.check: claim for claim in plan.claims}
    assert "no_handle_leak" in claims and "config_restored" in claims and not plan.not_applicable


def test_without_the_folder_nothing_of_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(blocks()[SCENARIO])
    command = [sys.executable, "-m", "harness.cli", "lint", str(path)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2 and "no fault is called 'file_gone'" in done.stderr
    assert "no check is called 'no_handle_leak'" in done.stderr


@pytest.mark.slow
def test_the_examples_together_pass_on_the_embedded_grace(mine: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "grace.py"), "--headless"]
    command += [
        "--scenario",
        str(mine / SCENARIO),
        "--time-scale",
        "0.1",
        "--seed",
        "7",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment(mine), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "out" / "MY01_config_gone").iterdir()
    record = Record.load(folder)
    assert sorted(record.events[0].detail["own_parts"]) == sorted(map(str, mine.rglob("*.py")))
    assert record.events[0].detail["repeat"].startswith(f"GRACE_PARTS={mine} locust ")
    assert record.fault("file_gone").ended_by == "target" and record.subjects("open_files")
    assert (folder / "summary.md").read_text().endswith(f": 0 of {len(record.plan.claims)} did not pass\n\n")
    judged = {row["claim"]: row for row in json.loads((folder / "findings.json").read_text())}
    assert judged["no_handle_leak"]["verdict"] == judged["config_restored"]["verdict"] == "PASS"
    again = [sys.executable, "-m", "harness.cli", "verify", str(folder)]
    without = subprocess.run(again, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert without.returncode == 3 and "GRACE_PARTS must name its folder" in " ".join(without.stdout.split())
