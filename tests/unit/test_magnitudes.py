"""What was not as much as was asked for proves nothing: neither for the platform nor against it, whatever the fault."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.expect import NEEDED_MAGNITUDE, moves
from harness.judge import judge, verdict
from harness.metrics import UNITS
from harness.model import Finding, Kind, Plan, Step, Verdict
from harness.plan import Options, build_plan
from harness.scenario import FOLDER, find, load_file, shipped_classic
from harness.wave_groups import Member, clash
from tests.drafts import FLOOD_END, INJECTED, Draft, PaperTarget, healthy

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
VIOLATIONS, MEMORY = "message_bus.acl_violations", "memory_usage_peak"
# a fault of each type that a monitor of the bus or of a resource sees, as briefly as can be
SHORTEST = {
    "acl_flood": "{messages_per_second: 100, duration_seconds: 5, blocked_actor: x}",
    "acl_spam": "{topic: system.control, messages: 60}",
    "cpu_spike": "{cpu_percent: 80, duration_seconds: 5}",
    "cpu_pressure": "{cpu_percent: 80, duration_seconds: 5}",
    "memory_pressure": "{memory_percent: 70, duration_seconds: 5}",
    "memory_leak": "{megabytes: 512, over_seconds: 5}",
    "disk_io_saturation": "{io_ops_per_second: 100, duration_seconds: 5}",
    "disk_full": "{path: audit, disk_percent: 99, duration_seconds: 5}",
}
NO_METRIC = ("disk_full",)  # how full a disk is: no verification compares it


def planned(folder: Path, fault: str, *claims: str) -> Plan:
    path = folder / "mine.yaml"
    head = "scenario_id: X\ncategory: layer1\nmax_recovery_time: 60\n"
    path.write_text(f"{head}faults: [{fault}]\nverification: [{', '.join(claims)}]\n")
    return plan_of(load_file(path)[0])


def plan_of(scenario: object) -> Plan:
    return build_plan(scenario, PaperTarget(), Options(seed=7, time_scale=0.1), UNITS)[0]  # type: ignore[arg-type]


def story(plan: Plan, short: str = "") -> Draft:
    """As it goes well by *plan*; step *short* is two hundredths below its floor all the time."""
    draft = healthy()
    old = {step.step_id for step in draft.plan.steps}
    draft.events = [event for event in draft.events if event.subject not in old]
    draft.plan = plan
    for step in plan.steps:
        of, got = step.step_id, step.asked.value if step.step_id != short else step.asked.floor * 0.98
        achieved = {"mean": got, "sd": 0.0, "p5": got, "p95": got, "max": got, "n": 20.0}
        draft.add(INJECTED - 0.05, Kind.FAULT_PLANNED, of, "conductor", type=step.type, subject=step.subject)
        draft.add(INJECTED, Kind.FAULT_INJECTED, of, "conductor", mechanism="on paper")
        draft.add(INJECTED + 1, Kind.FAULT_ATTAINED, of, "conductor", achieved=step.asked.value)
        ended = {"ended_by": "plan", "because": "its time is up", "achieved": achieved}
        draft.add(FLOOD_END, Kind.FAULT_ENDED, of, "conductor", **ended)
        draft.add(FLOOD_END + 0.05, Kind.FAULT_HEALED, of, "conductor", verified=True, primitives=[])
    return draft


def found(draft: Draft, folder: Path, claim: str) -> Finding:
    return next(one for one in judge(draft.record(folder)) if one.claim == claim)


def test_each_fault_that_a_measure_is_the_effect_of_is_known_to_it(tmp_path: Path) -> None:
    covered = yaml.safe_load((FOLDER / "coverage.yaml").read_text())["faults"]
    monitors = ("acl_violation_monitor", "resource_pressure_monitor")
    seen = {kind for kind, rows in covered.items() if any(row["safeguard"] in monitors for row in rows)}
    assert seen == set(SHORTEST), "a new one says here what it is the effect of"
    for kind, params in SHORTEST.items():
        (step,) = planned(tmp_path, f"{{type: {kind}, params: {params}}}").steps
        told = [metric for metric in NEEDED_MAGNITUDE if moves(step, metric)]
        assert len(told) == (kind not in NO_METRIC), (kind, step.asked, told)


SPAM = "{type: acl_spam, params: {topic: system.control, messages: 60}}"
COUNTED = "{type: topic_flood, params: {topic: t, messages: 60, messages_per_second: 9}}"
RATED = "{type: topic_flood, params: {topic: t, duration_seconds: 9, messages_per_second: 9}}"
LEAK = "{type: memory_leak, params: {megabytes: 512, over_seconds: 5}}"


@pytest.mark.parametrize(
    ("fault", "claim", "otherwise"),
    [
        (SPAM, f"{VIOLATIONS} >= 60", PASS),
        (SPAM, f"{VIOLATIONS} >= 90000", FAIL),
        (COUNTED, f"{VIOLATIONS} >= 0", PASS),
        (COUNTED, f"{VIOLATIONS} == 0", FAIL),
        (RATED, f"{VIOLATIONS} == 0", FAIL),
        (LEAK, f"{MEMORY} >= 40%", PASS),
        (LEAK, f"{MEMORY} >= 99%", FAIL),
        ("{type: memory_pressure, params: {memory_percent: 70, duration_seconds: 5}}", f"{MEMORY} < 30%", FAIL),
        ("{type: cpu_spike, params: {cpu_percent: 80, duration_seconds: 5}}", "cpu_usage_peak < 30%", FAIL),
        ("{type: disk_io_saturation, params: {io_ops_per_second: 9, duration_seconds: 5}}", "disk_io_peak > 90%", FAIL),
    ],
)
def test_a_measure_of_a_fault_that_fell_short_is_neither(
    tmp_path: Path, fault: str, claim: str, otherwise: Verdict
) -> None:
    plan = planned(tmp_path, fault, f'"{claim}"')
    (step,) = plan.steps
    assert found(story(plan), tmp_path / "whole", claim).verdict is otherwise
    short = found(story(plan, step.step_id), tmp_path / "short", claim)
    assert short.verdict is UNSURE and f"{step.step_id} was not what was asked" in short.because


def steps_of(name: str) -> list[Step]:
    return list(plan_of(find(name)[0]).steps)


SHIPPED = [(name, step.step_id) for name in shipped_classic() for step in steps_of(name)]


@pytest.mark.parametrize(("name", "step_id"), SHIPPED)
def test_no_scenario_of_the_original_suite_passes_with_less_than_it_asks_for(
    tmp_path: Path, name: str, step_id: str
) -> None:
    plan = plan_of(find(name)[0])
    assert {step.step_id for step in plan.steps} >= {step_id} and len(SHIPPED) == 17
    (reached,) = (c.claim for c in plan.claims if c.check == "fault_attained" and c.args["step_id"] == step_id)
    assert found(story(plan), tmp_path / "whole", reached).verdict is PASS
    findings = judge(story(plan, step_id).record(tmp_path / "short"))
    short = next(one for one in findings if one.claim == reached)
    assert short.verdict is UNSURE and "a mean of" in short.because
    needing = {claim.claim for claim in plan.claims if step_id in claim.needs}
    assert {one.verdict for one in findings if one.claim in needing} <= {UNSURE} and verdict(findings) is not PASS


def test_a_measure_that_somebody_else_s_fault_moves_is_not_taken_in_one_wave(tmp_path: Path) -> None:
    kill = "{type: kernel_kill, target: sandbox}"
    for fault, metric in ((LEAK, f"{MEMORY} < 90%"), (SPAM, f"{VIOLATIONS} == 0"), (RATED, f"{VIOLATIONS} == 0")):
        moved = member("moves", planned(tmp_path, fault))
        claims = member("claims", planned(tmp_path, kill, f'"{metric}"'))
        assert clash(claims, moved) == f"{metric.split()[0]} would be that of moves too"
        assert clash(member("claims", planned(tmp_path, kill)), moved) == ""


def member(name: str, plan: Plan) -> Member:
    return Member(scenario_id=name, severity=1, conflicts_with=(), plan=plan)
