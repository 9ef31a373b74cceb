"""The mechanism of invariants: added by themselves, judged where there is a source, listed where there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness import catalog
from harness.checks import finding
from harness.judge import judge, judge_claim, verdict
from harness.model import INVARIANT, Claim, Finding, Invariant, Kind, Verdict, invariants_judged, not_passed
from harness.plan import Options, build_plan
from harness.record import Record
from harness.scenario import ScenarioError, load_file
from reports.incident import incident_of
from tests.drafts import Draft, PaperTarget, healthy
from tests.trails import trail

SCENARIO = """scenario_id: MINE
faults: [{{type: cpu_spike, params: {{cpu_percent: 50, duration_seconds: 5}}}}]
require: [{name}]
"""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """An invariant that fails whenever it is judged."""

    claim: str
    invariant: ClassVar[Invariant] = Invariant(order=9, claim="planted", sources=("ledgers.planted", "signals.*"))

    def check(self, record: Record) -> Finding:
        found = finding(self, Verdict.FAIL, "it was judged", "timeline:1", code="judged")
        return replace(found, check="planted", code="planted.judged")


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted invariant is the only one."""
    known = dict(catalog.checks())
    kept: dict[str, Any] = {name: kind for name, kind in known.items() if not hasattr(kind, "invariant")}
    monkeypatch.setattr(catalog, "checks", lambda: {**kept, "planted": Planted})


def record_of(draft: Draft, folder: Path, offers: tuple[str, ...] = (), require: tuple[str, ...] = ()) -> Record:
    draft.plan = replace(draft.plan, offers=offers, require=require)
    draft.change(Kind.RUN_STARTED, draft.plan.scenario_id, run_format=2)
    return draft.record(folder)


def planted_finding(findings: list[Finding]) -> Finding:
    return next(one for one in findings if one.claim == "planted")


def test_an_invariant_is_judged_though_the_plan_drops_it(planted: None, tmp_path: Path) -> None:
    draft = healthy()
    draft.plan = replace(draft.plan, claims=tuple(one for one in draft.plan.claims if one.group != INVARIANT))
    findings = judge(record_of(draft, tmp_path, offers=("ledgers.planted",)))
    assert planted_finding(findings).verdict is Verdict.FAIL and verdict(findings) is Verdict.FAIL


def test_a_source_by_a_wildcard_is_enough(planted: None, tmp_path: Path) -> None:
    findings = judge(record_of(healthy(), tmp_path, offers=("signals.events",)))
    assert planted_finding(findings).verdict is Verdict.FAIL


def test_without_a_source_it_is_listed_and_passes(planted: None, tmp_path: Path) -> None:
    record = record_of(healthy(), tmp_path)
    findings = judge(record)
    one = planted_finding(findings)
    assert not one.judged and one.missing == ("ledgers.planted", "signals.*") and one.evidence
    assert verdict(findings) is Verdict.PASS and one not in not_passed(findings)
    assert invariants_judged(findings) == "0 of 1 invariants judged"
    incident = incident_of(record, findings)
    assert incident["verdict"] == "PASS"
    assert incident["not_judged"] == [{"invariant": "planted", "missing": ["ledgers.planted", "signals.*"]}]


def test_without_a_source_a_required_one_is_inconclusive(planted: None, tmp_path: Path) -> None:
    findings = judge(record_of(healthy(), tmp_path, require=("planted",)))
    assert planted_finding(findings).code == "planted.not_judged"
    assert verdict(findings) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("name", ["bystanders_unharmed", "playbooks_effective"])
def test_what_a_check_leaves_unjudged_may_be_required(name: str, tmp_path: Path) -> None:
    draft = healthy()
    routes = dict.fromkeys(draft.plan.routes, draft.plan.kernels)
    draft.plan = replace(draft.plan, routes=routes)
    claim = Claim(claim="planted", check=name, group=INVARIANT)
    offers = ("playbook_effects.any",)
    free = judge_claim(record_of(draft, tmp_path / "free", offers), claim)
    bound = judge_claim(record_of(draft, tmp_path / "bound", offers, require=(name,)), claim)
    assert (free.verdict, bound.verdict) == (Verdict.NOT_APPLICABLE, Verdict.INCONCLUSIVE)
    assert bound.code == f"{name}.not_judged" and bound.missing == free.missing


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_what_is_judged_by_one_source_of_several_is_judged_in_part(tmp_path: Path, required: bool, whole: bool) -> None:
    made = trail()
    if not whole:
        made.offers = ("ledgers.knowledge", "exclusive")
        made.held["intents"].clear()
        made.held["retrospectives"].clear()
    made.draft.plan = replace(made.draft.plan, require=("work_kept",) if required else ())
    findings = judge(made.record(tmp_path))
    one = next(found for found in findings if found.check == "work_kept")
    expected = (Verdict.INCONCLUSIVE, "judged_in_part") if required and not whole else (Verdict.PASS, "shown")
    assert (one.verdict, one.cause, bool(one.missing)) == (*expected, not whole), one
    mine = replace(one, group=INVARIANT)
    assert invariants_judged([mine]) == f"1 of 1 invariants judged{'' if whole else ', 1 in part'}"


def test_an_unknown_required_invariant_is_refused(planted: None, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIO.format(name="plnted"))
    with pytest.raises(ScenarioError, match=r"mine.yaml:3: require: no invariant is called 'plnted'. Did you mean"):
        build_plan(load_file(path)[0], PaperTarget(), Options(seed=1), {})


def test_a_control_run_claims_every_invariant(planted: None, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIO.format(name="planted"))
    plan, _ = build_plan(load_file(path)[0], PaperTarget(), Options(seed=1, control=True), {})
    assert [one.check for one in plan.claims if one.group == INVARIANT] == ["planted"]
    assert {"signals_complete", "generator_healthy", "control_clean"} <= {one.check for one in plan.claims}


def test_validity_alone_and_invariants_not_judged_is_no_pass(planted: None, tmp_path: Path) -> None:
    findings = judge(record_of(healthy(), tmp_path))
    kept = [one for one in findings if one.group in ("validity", INVARIANT)]
    assert verdict(kept) is Verdict.INCONCLUSIVE
