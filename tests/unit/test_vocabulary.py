"""One name for each observer: the timeline, the checks and the plan's needs call it by the stem of its file."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from harness import catalog, checks
from harness.judge import judge
from harness.metrics import UNITS
from harness.model import INVARIANT, Claim, Kind, Verdict
from harness.plan import Options, build_plan
from harness.record import Record
from harness.run import Run
from harness.scenario import load_file
from harness.watcher import name_of
from tests.checks.test_blind_checks import lose
from tests.drafts import healthy
from tests.fake_target import BASE, target

CHECKS = Path(checks.__file__).parent
CONSTANTS = {"EVENTS": checks.EVENTS, "PROCESSES": checks.PROCESSES, "FILES": checks.FILES}
WATCHDOG = """\
scenario_id: watchdog
faults:
  - {type: kernel_pause, target: librarian, params: {pause_seconds: 5}}
expected_safeguards: [kernel_watchdog]
expected_playbooks: [kernel_restart]
"""
PLAIN = """\
scenario_id: plain
category: layer1
faults:
  - {type: kernel_pause, target: librarian, params: {pause_seconds: 5}}
"""


@pytest.fixture(autouse=True)
def _not_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust patches its processes, so that a nap lets others run; this one is not patched."""
    monkeypatch.setattr("harness.observers.loop_lag.worst_lag_ms", lambda: gevent.sleep(0.4) or 1.0)


def run_of(folder: Path, text: str, signals: dict[str, Any]) -> Record:
    """The record of a real Run on a target with *signals*, ended before any fault."""
    (folder / "mine.yaml").write_text(text)
    processes = {"librarian": {"pid_file": str(folder / "none.pid")}}
    still = {"name": "GET /still", "method": "GET", "path": "/still", "kernels": []}
    routes = [{**BASE["routes"][0], "kernels": ["librarian"]}, still]
    known = target(folder, processes=processes, routes=routes, signals=signals)
    plan, faults = build_plan(load_file(folder / "mine.yaml")[0], known, Options(seed=1), UNITS)
    run = Run(plan, faults, known, folder / "out" / "x" / "now", {"repeat": ""})
    run.begin()
    run.abort("enough was seen")
    run.settle()
    return Record.load(run.folder)


def test_a_source_lacking_from_the_start_is_never_red(tmp_path: Path) -> None:
    record = run_of(tmp_path, WATCHDOG, {})
    assert [one.subject for one in record.of_kind(Kind.SIGNAL_LOST) if one.source == "run"] == ["events"]
    assert checks.lost(record, checks.EVENTS) is not None
    draft = healthy()
    lines = record.first(Kind.RUN_STARTED).detail["unseen"]  # type: ignore[union-attr]
    draft.change(Kind.RUN_STARTED, draft.plan.scenario_id, unseen=lines)
    for kind in (Kind.SAFEGUARD_ENGAGED, Kind.SAFEGUARD_RELEASED, Kind.PLAYBOOK_STARTED, Kind.PLAYBOOK_FINISHED):
        draft.drop(kind)
    for told in (True, False):
        if told:
            draft.add(0.1, Kind.SIGNAL_LOST, "events", "run", error=lines[0])
        findings = judge(draft.record(tmp_path / str(told)))
        guards = [one for one in findings if one.check in ("safeguard_engaged", "playbook_ran", "each_fault_detected")]
        assert {one.verdict for one in guards} == {Verdict.INCONCLUSIVE}, [one.because for one in guards]


def test_a_source_that_no_claim_needs_is_not_lost(tmp_path: Path) -> None:
    record = run_of(tmp_path, PLAIN, {})
    assert not [one for one in record.of_kind(Kind.SIGNAL_LOST) if one.source == "run"]


@pytest.mark.parametrize("old", ["Events", "Events of the one"])
def test_folders_of_format_1_name_the_class(tmp_path: Path, old: str) -> None:
    draft = healthy().drop(Kind.SAFEGUARD_ENGAGED)
    lose(old)(draft)
    engaged = [one for one in judge(draft.record(tmp_path)) if one.check == "safeguard_engaged"]
    assert {one.verdict for one in engaged} == {Verdict.INCONCLUSIVE}
    assert set(checks.CLASS_NAMES.values()) <= set(catalog.observers())


def test_every_observer_is_called_after_its_file() -> None:
    for stem, kind in catalog.observers().items():
        observer: Any = object.__new__(kind)
        observer.about = ""
        assert name_of(observer) == stem
        observer.about = "GET /x"
        assert checks.observer_of(SimpleNamespace(subject=name_of(observer))) == stem  # type: ignore[arg-type]


def test_every_name_that_a_check_needs_is_an_observer() -> None:
    known = set(catalog.observers())
    assert set(CONSTANTS.values()) <= known
    for name, kind in catalog.checks().items():
        named = getattr(kind, "observers", ())
        assert isinstance(named, property) or set(named) <= known, name


@pytest.mark.parametrize("path", sorted(CHECKS.glob("*.py")), ids=lambda path: path.stem)
def test_a_check_that_asks_for_an_observer_needs_it(path: Path) -> None:
    kind = catalog.checks().get(path.stem)
    if kind is None or getattr(kind, "invariant", None) is not None:
        return
    read = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    asked = {CONSTANTS[name] for name in read & set(CONSTANTS)}
    assert asked <= set(kind.observers if asked else ()), f"{path.stem} must name {asked} in its `observers`"


def test_a_metric_needs_the_counters_only_if_they_tell_it() -> None:
    for metric, expected in (("message_bus.acl_violations", ("counters",)), ("cpu_usage_peak", ())):
        claim = Claim(claim="", check="metric", args={"metric": metric, "op": ">", "number": 1.0})
        assert catalog.observers_of(claim) == expected


def test_an_invariant_does_not_make_a_source_needed() -> None:
    claim = Claim(claim="", check="safeguard_engaged", args={"safeguard": "x"}, group=INVARIANT)
    run: Any = SimpleNamespace(plan=SimpleNamespace(claims=(claim,)))
    assert not Run._needed(run, "events")
    run.plan.claims = (Claim(claim="", check="safeguard_engaged", args={"safeguard": "x"}),)
    assert Run._needed(run, "events")
