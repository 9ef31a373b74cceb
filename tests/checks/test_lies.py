"""Stories that once passed, or could have, without the thing being true: each is red or undecided for good."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.claims import ClaimError, parse
from harness.judge import judge, verdict
from harness.metrics import METRICS, UNITS
from harness.model import Finding, Kind, Verdict
from harness.plan import Options, build_plan
from harness.record import Record
from harness.scenario import CATEGORIES, load_file
from harness.traffic import RequestRow
from tests.drafts import CHECK, CPU_END, END, PRESSURE, RECOVERED, RETRO, SHED_END, Draft, PaperTarget, healthy
from tests.ledgers import sent

MONITOR = "resource_pressure_monitor"


def found(record: Record, check: str) -> Finding:
    return next(one for one in judge(record) if one.check == check)


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_scenario_that_asks_for_nothing_still_asks_for_recovery(tmp_path: Path, category: str) -> None:
    path = tmp_path / "mine.yaml"
    fault = "{type: kernel_pause, target: librarian, params: {pause_seconds: 9}}"
    path.write_text(f"scenario_id: X\ncategory: {category}\nfaults: [{fault}]\n")
    plan, _ = build_plan(load_file(path)[0], PaperTarget(), Options(seed=1), UNITS)
    criteria = {claim.check for claim in plan.claims if claim.group == "criterion"}
    assert {"all_faults_injected", "recovery_within_limit", "no_cascading_failure"} <= criteria


def test_a_run_that_only_was_valid_does_not_pass() -> None:
    valid = Finding(check="x", verdict=Verdict.PASS, claim="c", because="b", group="validity")
    assert verdict([valid, valid]) is Verdict.INCONCLUSIVE
    assert verdict([valid, replace(valid, group="criterion")]) is Verdict.PASS


@pytest.mark.parametrize("kind", [Kind.SAFEGUARD_ENGAGED, Kind.KERNEL_CHANGED])
def test_a_relapse_after_the_recovery_is_a_failure(tmp_path: Path, kind: Kind) -> None:
    draft = healthy().add(RECOVERED + 4.0, kind, "governance", "t", subject="x", incident_id="late", to="gone")
    told = found(draft.record(tmp_path), "recovery_within_limit")
    assert told.verdict is Verdict.FAIL and "ill again" in told.because and len(told.evidence) == 2


def test_a_machine_that_others_keep_busy_is_no_relapse(tmp_path: Path) -> None:
    draft = healthy().add(RECOVERED + 4.0, Kind.SAFEGUARD_ENGAGED, MONITOR, "t", subject="memory", incident_id="late")
    draft.signals = [row for row in draft.signals if row[1:3] != ("memory_percent", "target")]
    assert found(draft.record(tmp_path / "unseen"), "recovery_within_limit").code == "recovery_within_limit.relapse"
    draft.signals += [(RECOVERED + half / 4, "memory_percent", "target", 95.0) for half in range(16)]
    told = found(draft.record(tmp_path / "seen"), "recovery_within_limit")
    assert (told.verdict, told.code) == (Verdict.INCONCLUSIVE, "recovery_within_limit.relapse_by_others")
    draft.add(RECOVERED + 4.5, Kind.KERNEL_CHANGED, "governance", "t", to="gone")
    assert found(draft.record(tmp_path / "ill"), "recovery_within_limit").code == "recovery_within_limit.relapse"


def test_an_alarm_after_the_load_is_no_relapse(tmp_path: Path) -> None:
    draft = healthy().add(RECOVERED + 4.0, Kind.SAFEGUARD_ENGAGED, MONITOR, "t", subject="cpu", incident_id="late")
    assert found(draft.record(tmp_path / "load"), "recovery_within_limit").code == "recovery_within_limit.relapse"
    draft.add(END - 0.5, Kind.READ_BACK, draft.plan.scenario_id, "run", rows=0, problems=[], began_s=RECOVERED + 3.0)
    told = found(draft.record(tmp_path / "read"), "recovery_within_limit")
    assert told.code == "recovery_within_limit.relapse_by_others" and told.evidence


@pytest.mark.parametrize(
    "text", ["failure_percent < 5s", "cpu_usage_peak >= 85ms", "latency_p99 < 50%", "message_bus.acl_violations > 5s"]
)
def test_a_unit_that_is_not_the_metrics_is_refused(text: str) -> None:
    with pytest.raises(ClaimError, match="is compared in"):
        parse(text, [], UNITS, [])


def test_every_metric_has_a_unit() -> None:
    assert set(UNITS) == set(METRICS)


@pytest.mark.parametrize(
    ("at_s", "check"), [(12.0, "no_cascading_failure"), (RECOVERED + 4.0, "recovery_within_limit")]
)
def test_a_kernel_that_the_target_no_longer_lists_is_not_taken_for_one_that_runs(
    tmp_path: Path, at_s: float, check: str
) -> None:
    draft = healthy().add(at_s, Kind.KERNEL_CHANGED, "librarian", "control_plane", what="state", to="unlisted")
    assert found(draft.record(tmp_path), check).verdict is Verdict.FAIL


def both_pressures(draft: Draft, since_s: float, until_s: float) -> Draft:
    """The same monitor is engaged for memory as well, by something else."""
    about = {"subject": "memory", "incident_id": "memory"}
    draft.add(since_s, Kind.SAFEGUARD_ENGAGED, MONITOR, "t", **about)
    return draft.add(until_s, Kind.SAFEGUARD_RELEASED, MONITOR, "t", **about)


def test_work_deferred_for_memory_does_not_show_the_playbook_for_cpu(tmp_path: Path) -> None:
    draft = both_pressures(healthy(), SHED_END + 2.0, SHED_END + 6.0)
    served = [replace(r, outcome="ok", status=200) if r.outcome == "shed" else r for r in draft.requests]
    shed = RequestRow(SHED_END + 3.0, "legitimate", RETRO, "shed", 503, 4, ((2, 4),))
    draft.requests = sorted([*served, shed], key=lambda row: row.at_s)
    told = found(draft.record(tmp_path), "load_shed")
    assert told.verdict is Verdict.FAIL and "deferred for it" in told.because


def test_work_deferred_for_cpu_is_still_shown_beside_memory(tmp_path: Path) -> None:
    draft = both_pressures(healthy(), SHED_END - 1.0, SHED_END + 6.0)
    assert found(draft.record(tmp_path / "a"), "load_shed").verdict is Verdict.PASS
    together = both_pressures(healthy(), PRESSURE, SHED_END)
    told = found(together.record(tmp_path / "b"), "load_shed")
    assert told.verdict is Verdict.INCONCLUSIVE and "it was engaged alone for 0.0 s, at least 3 s" in told.because


@pytest.mark.parametrize(
    ("reasons", "at_s", "expected", "words"),
    [
        ("cpu", 12.0, Verdict.PASS, "1 deferred for it by the target's own word"),
        ("cpu,memory", 12.0, Verdict.PASS, "1 deferred for it"),
        ("memory", 12.0, Verdict.FAIL, "no client saw anything deferred for it: 1 were told of other reasons"),
        ("cpu", END - 3, Verdict.FAIL, "1 deferred for it while it was not engaged"),
        ("no_such_subject", 12.0, Verdict.INCONCLUSIVE, "may be for another reason"),
        ("", 12.0, Verdict.INCONCLUSIVE, "may be for another reason"),
    ],
)
def test_two_pressures_are_told_apart_by_what_the_target_tells_its_clients(
    tmp_path: Path, reasons: str, at_s: float, expected: Verdict, words: str
) -> None:
    draft = both_pressures(healthy(), PRESSURE, SHED_END)
    row = sent("intent", "r-1", "legitimate", at_s=at_s, outcome="refused", status=503, deferred_for=reasons)
    draft.files = {"ledger.jsonl": json.dumps(row) + "\n"}
    told = found(draft.record(tmp_path), "load_shed")
    assert told.verdict is expected and words in told.because, told


@pytest.mark.parametrize(("since", "expected"), [(12.0, Verdict.PASS), (None, Verdict.FAIL)])
def test_work_deferred_before_the_fault_is_neither_its_witness_nor_a_failing(
    tmp_path: Path, since: float | None, expected: Verdict
) -> None:
    """A machine that was busy when the run began: the monitor was engaged for that, and released before the fault."""
    draft, about = healthy(), {"subject": "cpu", "incident_id": "early"}
    draft.add(1.0, Kind.SAFEGUARD_ENGAGED, MONITOR, "t", **about)
    draft.add(5.0, Kind.SAFEGUARD_RELEASED, MONITOR, "t", **about)
    at = [one for one in (2.0, since) if one]
    rows = [
        sent("intent", f"r-{at_s}", "legitimate", at_s=at_s, outcome="refused", status=503, deferred_for="cpu")
        for at_s in at
    ]
    draft.files = {"ledger.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}
    told = found(draft.record(tmp_path), "load_shed")
    assert told.verdict is expected, told
    assert ("1 deferred for it" if since else "no client saw anything deferred for it") in told.because


def test_what_an_attack_is_refused_is_no_witness_of_a_playbook(tmp_path: Path) -> None:
    """A full queue answers a flood with 503 whether anybody defers work or not."""
    draft = healthy()
    draft.requests = [replace(r, user="htm_flood") if r.outcome == "shed" else r for r in draft.requests]
    told = found(draft.record(tmp_path), "load_shed")
    assert told.verdict is Verdict.FAIL and "no client saw anything deferred" in told.because


def test_work_deferred_by_another_safeguards_playbook_is_not_deferred_by_nobody(tmp_path: Path) -> None:
    """A queue's backpressure defers as the pressure of CPU does; a safeguard that defers nothing explains nothing."""
    for name, playbook, expected in (("a", "queue_backpressure", Verdict.PASS), ("b", "other", Verdict.FAIL)):
        draft = healthy()
        about = {"subject": "htm_queue", "incident_id": "queue"}
        draft.add(SHED_END + 4.0, Kind.SAFEGUARD_ENGAGED, "queue_pressure_monitor", "t", **about)
        draft.add(SHED_END + 4.1, Kind.PLAYBOOK_STARTED, playbook, "t", **about)
        draft.add(SHED_END + 8.0, Kind.SAFEGUARD_RELEASED, "queue_pressure_monitor", "t", **about)
        draft.requests.append(RequestRow(SHED_END + 5.0, "legitimate", RETRO, "shed", 503, 4, ((2, 4),)))
        assert found(draft.record(tmp_path / name), "load_shed").verdict is expected


def test_a_fault_that_was_measured_for_a_moment_only_was_not_held(tmp_path: Path) -> None:
    draft = healthy().change(Kind.FAULT_ENDED, "cpu_spike", held_percent=3.0)
    told = [one for one in judge(draft.record(tmp_path)) if one.check == "fault_attained"]
    assert {one.verdict for one in told if "cpu_spike" in one.claim} == {Verdict.INCONCLUSIVE}
    assert any("measured for 3 % of its time only" in one.because for one in told)


def test_detection_counts_from_attainment(tmp_path: Path) -> None:
    """80 s to fill, seen 2 s later, is within 30 s; seen 40 s later it is not."""
    draft = healthy().change(Kind.SAFEGUARD_ENGAGED, MONITOR, at_s=CPU_END)
    draft.plan = replace(draft.plan, slo=replace(draft.plan.slo, detect_s_max=4.0))
    early = draft.change(Kind.FAULT_ATTAINED, "cpu_spike", at_s=CPU_END - 2.0).record(tmp_path / "a")
    assert found(early, "each_fault_detected").verdict is Verdict.PASS
    late = draft.change(Kind.FAULT_ATTAINED, "cpu_spike", at_s=CPU_END - 5.0).record(tmp_path / "b")
    assert found(late, "each_fault_detected").verdict is Verdict.FAIL


def test_a_fault_of_a_moment_is_looked_on_for_its_consequences(tmp_path: Path) -> None:
    """The target is well again at once; what its clients meet in the seconds after that is a consequence too."""
    draft = healthy()
    for step in ("acl_flood", "cpu_spike", "kernel_pause"):
        draft.change(Kind.FAULT_ENDED, step, at_s=8.6)
    draft.change(Kind.RECOVERED, draft.plan.scenario_id, at_s=8.7)
    assert found(draft.record(tmp_path / "well"), "no_cascading_failure").verdict is Verdict.PASS
    draft.requests.append(RequestRow(15.0, "legitimate", CHECK, "failed", 500, 40, ((2, 40),)))
    assert found(draft.record(tmp_path / "ill"), "no_cascading_failure").verdict is Verdict.FAIL
