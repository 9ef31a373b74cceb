"""grace-chaos audit: each promise of each shipped scenario has a check, and each check declares what it reads."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness import audit as module
from harness import catalog, cli, expect
from harness import scenario as scenarios
from harness.audit import NO_CHECK, NO_SOURCES, NO_WITNESS, Audit, as_markdown, as_text, audit, expanded
from harness.classic import CLASSIC
from harness.model import INVARIANT, Finding, Invariant, Magnitude
from harness.plan import Plan
from harness.proofread import paper
from harness.record import Record
from harness.scenario import ALL, Scenario, shipped, shipped_classic
from tests import source_recorder
from tests.checks.test_invariants import Planted
from tests.drafts import PaperTarget, healthy

ROOT = Path(__file__).resolve().parents[1]
INVARIANTS = (
    *("work_kept", "execution_proven", "answers_agree", "audit_trail_kept", "state_kept"),
    *("bystanders_unharmed", "playbooks_effective", "load_accounted"),
)


@pytest.fixture(scope="module")
def audits() -> list[Audit]:
    with paper(None) as target:
        return [audit(one, target) for word in (ALL, *CLASSIC) for one in scenarios.find(word)]


def mf01() -> Scenario:
    return scenarios.find("MF01_triple_threat")[0]


@pytest.fixture(scope="module")
def recorded() -> dict[str, dict[str, list[str]]]:
    return source_recorder.recorded()


@pytest.mark.slow
@pytest.mark.beside
def test_each_check_declares_just_what_it_reads(recorded: dict[str, dict[str, list[str]]]) -> None:
    assert source_recorder.wrong(recorded) == [], "python -m tests.source_recorder --write enters the sources"


def test_undeclared_unread_and_untested_sources_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "checks", lambda: {"a": object, "b": object, "c": object})
    one = {"read": ["requests.csv"], "declared": ["ledger.jsonl"], "undeclared": ["requests.csv"]}
    fine = {"read": ["requests.csv"], "declared": ["requests.csv"], "undeclared": []}
    assert source_recorder.wrong({"a": one, "b": fine}) == [
        "c: no test of tests/checks runs it",
        "a reads 'requests.csv' and does not declare it",
        "a declares 'ledger.jsonl' and never reads it",
    ]


RECORDED = """
from tests import source_recorder as recorder
recorder.instrument()
import subprocess
import sys
from pathlib import Path
from harness.checks.restarted import Restarted
from harness.record import Record
from tests.drafts import healthy
Restarted.sources = ("timeline: kernel_changed", "ledger.jsonl")
Restarted(claim="c", kernel="memory_fusion", within_s=60).check(healthy().record(Path(sys.argv[1])))
found = recorder.NOTES.result()["restarted"]
print(sorted(found["undeclared"]), "ledger.jsonl" in found["read"])
"""


def test_the_recorder_sees_a_real_check_that_declares_wrongly(tmp_path: Path) -> None:

    done = subprocess.run(
        [sys.executable, "-c", RECORDED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "'signals.csv: route_up'" in done.stdout and "'timeline: fault_injected'" in done.stdout, done.stderr
    assert done.stdout.strip().endswith("False") and "kernel_changed" not in done.stdout


def test_each_promise_of_a_shipped_scenario_has_a_check(audits: list[Audit]) -> None:
    assert [line for one in audits for line in one.lacking] == []
    assert {one.scenario_id for one in audits} == {*shipped(), *shipped_classic()}


def test_each_fault_safeguard_and_playbook_is_listed(audits: list[Audit]) -> None:
    for one, scenario in zip(audits, [s for word in (ALL, *CLASSIC) for s in scenarios.find(word)], strict=True):
        texts = " ".join(promise.text for promise in one.promises)
        written = [
            *scenario.expected_safeguards,
            *scenario.expected_playbooks,
            *(text for text, _ in scenario.verification),
        ]
        assert all(word in texts for word in written), (one.scenario_id, written)
        types = {entry.type for entry in (*scenario.faults, *scenario.pool)}
        assert all(any(p.kind == "fault" and p.text.startswith(kind) for p in one.promises) for kind in types)


def test_all_eight_invariants_are_claimed_by_each_scenario(audits: list[Audit]) -> None:
    wanted = list(INVARIANTS)
    assert list(catalog.invariants()) == wanted
    for one in audits:
        mine = [promise for promise in one.promises if promise.kind == INVARIANT]
        assert [promise.check for promise in mine] == wanted
        assert not any(promise.not_judged for promise in mine), "the embedded Grace offers a source of each"


def test_each_fault_names_a_witness(audits: list[Audit]) -> None:
    promises = [p for one in audits for p in one.promises if p.kind == "fault" and p.check == "fault_attained"]
    assert promises and [p.text for p in promises if NO_WITNESS in p.sources] == []


def test_the_page_of_the_docs_is_the_audit_of_today(audits: list[Audit]) -> None:
    assert (ROOT / "docs" / "audit.md").read_text(encoding="utf-8") == as_markdown(audits), "make audit writes it"


def test_a_safeguard_without_a_claim_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expect, "_safeguards", lambda scenario, coverage: [])
    found = audit(mf01(), PaperTarget())
    assert len(found.lacking) == 3 and f"kernel_watchdog: {NO_CHECK}" in found.lacking[2]
    assert "NOTHING: no check judges it" in as_text([found]) and f"**{NO_CHECK}**" in as_markdown([found])


def test_a_playbook_whose_effect_nobody_sees_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    witnesses = dict(expect._coverage_file()["playbooks"])
    monkeypatch.setitem(expect._coverage_file(), "playbooks", {**witnesses, "kernel_restart": {}})
    assert ["effect of kernel_restart" in line for line in audit(mf01(), PaperTarget()).lacking] == [True]


def test_a_magnitude_and_a_verification_without_a_claim_lack_it(monkeypatch: pytest.MonkeyPatch) -> None:

    original = module.build_plan

    def without(*args: Any) -> tuple[Plan, dict[str, Any]]:
        plan, faults = original(*args)
        kept = [one for one in plan.claims if one.check not in ("fault_attained", "metric")]
        return replace(plan, claims=tuple(kept)), faults

    monkeypatch.setattr(module, "build_plan", without)
    lacking = audit(mf01(), PaperTarget()).lacking
    assert [line.split(": ")[1] for line in lacking] == ["verification"] * 2 + ["fault"] * 3


def test_a_check_without_sources_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(catalog.checks()["restarted"], "sources")
    lacking = audit(mf01(), PaperTarget()).lacking
    assert len(lacking) == 1 and NO_SOURCES in lacking[0]


@dataclass(frozen=True, kw_only=True)
class Sourced(Planted):
    """An invariant that declares its sources."""

    sources: ClassVar[tuple[str, ...]] = ("requests.csv",)
    invariant: ClassVar[Invariant] = Invariant(order=9, claim="planted", sources=("ledgers.planted",))

    def check(self, record: Record) -> Finding:
        raise AssertionError("the audit runs no check")


def test_an_invariant_without_a_manifest_key_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(catalog.checks())
    monkeypatch.setattr(catalog, "checks", lambda: {**known, "planted": Sourced})
    for offers, missing in (((), ("ledgers.planted",)), (("ledgers.planted",), ())):
        found = audit(mf01(), PaperTarget(offers=offers))
        (mine,) = [one for one in found.promises if one.check == "planted"]
        assert (mine.kind, mine.not_judged, mine.lacks) == (INVARIANT, missing, "")
        assert bool(missing) == ("names none of ledgers.planted" in as_text([found]))


def test_other_magnitudes_and_a_witness_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:

    plan = healthy().plan
    for name, value in (
        ("witness", "the bus's counter"),
        ("also_asked", (Magnitude(name="share", value=50, unit="%", tolerance=5),)),
    ):
        object.__setattr__(plan.steps[0], name, value)
    monkeypatch.setattr(module, "build_plan", lambda *_: (plan, {}))
    faults = [one for one in audit(mf01(), PaperTarget()).promises if one.kind == "fault"]
    assert [one.text for one in faults if "share" in one.text] == ["acl_flood: share 50 %"]
    assert [one.sources[-1] for one in faults if one.check == "fault_attained"].count("witness: the bus's counter") == 2


def test_the_command_prints_and_exits_zero(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["grace-chaos", "audit", "layer3", "waves"])
    assert cli.main() == 0
    said = capsys.readouterr().out
    assert "L3_retro_cascade_failure: " in said and "retros_completed: ledger.jsonl" in said


def test_a_scenario_that_is_not_there_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["grace-chaos", "audit", "L3_retro_cascade_failur"])
    assert cli.main() == 2


def test_sources_of_one_file_are_written_together() -> None:
    one_each = ["requests.csv", "timeline: fault_ended", "timeline: fault_injected"]
    assert source_recorder.compact(one_each) == ["requests.csv", "timeline: fault_ended, fault_injected"]
    assert sorted(expanded(source_recorder.compact(one_each))) == one_each
