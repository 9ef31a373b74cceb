"""What a scenario promises becomes claims: each playbook has a witness, each override counts, nothing is assumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import expect
from harness.judge import judge, verdict
from harness.metrics import UNITS
from harness.model import Finding, Kind, Plan, Verdict
from harness.plan import Options, build_plan
from harness.record import Record
from harness.run import absent_routes
from harness.scenario import ScenarioError, find, load_file
from harness.traffic import RequestRow
from tests.drafts import END, Draft, PaperTarget, healthy

PAUSE = """scenario_id: X
faults:
  - {type: kernel_pause, target: memory_fusion, params: {pause_seconds: 45}}
expected_safeguards: [kernel_watchdog]
expected_playbooks: [kernel_restart]
max_recovery_time: 90
"""


def planned(folder: Path, text: str, target: PaperTarget | None = None) -> Plan:
    path = folder / "mine.yaml"
    path.write_text(text)
    return build_plan(load_file(path)[0], target or PaperTarget(), Options(seed=1), UNITS)[0]


def claims_of(plan: Plan, check: str) -> list[tuple[str, dict[str, Any]]]:
    return [(claim.claim, dict(claim.args)) for claim in plan.claims if claim.check == check]


def found(record: Record, check: str) -> Finding:
    return next(one for one in judge(record) if one.check == check)


def test_a_restart_has_a_witness_though_the_scenario_does_not_ask(tmp_path: Path) -> None:
    plan = planned(tmp_path, PAUSE)
    text = "memory_fusion has a new process, and its route answers"
    assert claims_of(plan, "restarted") == [(text, {"kernel": "memory_fusion", "within_s": 90.0})]


def test_a_restart_that_the_scenario_asks_for_is_claimed_once(tmp_path: Path) -> None:
    plan = planned(tmp_path, PAUSE + "verification: [memory_fusion restarted within 60s]\n")
    text = "memory_fusion restarted within 60s"
    assert claims_of(plan, "restarted") == [(text, {"kernel": "memory_fusion", "within_s": 60.0})]


def test_the_witness_goes_red_when_the_target_only_says_that_it_restarted(tmp_path: Path) -> None:
    draft = healthy()
    kept = [claim for claim in draft.plan.claims if claim.check != "restarted"]
    witness = next(claim for claim in planned(tmp_path, PAUSE).claims if claim.check == "restarted")
    draft.plan = replace(draft.plan, claims=(*kept, witness))
    assert found(draft.record(tmp_path / "a"), "restarted").verdict is Verdict.PASS
    draft.drop(Kind.KERNEL_CHANGED, "memory_fusion")
    assert found(draft.record(tmp_path / "b"), "playbook_ran").verdict is Verdict.PASS, "by its word all is well"
    assert found(draft.record(tmp_path / "b2"), "restarted").verdict is Verdict.FAIL


def test_detected_by_replaces_the_coverage_and_its_claims_need_the_fault(tmp_path: Path) -> None:
    text = PAUSE.replace("[kernel_watchdog]", "[resource_pressure_monitor]").replace("[kernel_restart]", "[]")
    plan = planned(tmp_path, text + "detected_by: {kernel_pause: [resource_pressure_monitor]}\n")
    assert [name for name, _ in plan.coverage["kernel_pause"]] == ["resource_pressure_monitor"]
    claim = next(claim for claim in plan.claims if claim.check == "safeguard_engaged")
    assert claim.needs == ("kernel_pause",)


def test_playbooks_that_repeat_need_the_faults_that_they_answer() -> None:
    """And no other: a disk that is too fast to be short has no part in how often CPU and memory are answered."""
    (scenario,) = find("DC01_sustained_pressure")
    plan = build_plan(scenario, PaperTarget(), Options(seed=1), UNITS)[0]
    claim = next(claim for claim in plan.claims if claim.check == "playbooks_repeat")
    assert set(claim.needs) == {"cpu_pressure", "memory_pressure"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("detected_by: {kernel_paus: [kernel_watchdog]}", "no fault 'kernel_paus'. Did you mean 'kernel_pause'?"),
        ("detected_by: {kernel_pause: [kernel_watchdg]}", "'kernel_watchdg'. Did you mean 'kernel_watchdog'?"),
    ],
)
def test_an_override_with_a_wrong_word_is_refused(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        planned(tmp_path, PAUSE + line + "\n")
    assert said in str(caught.value) and "mine.yaml:7" in str(caught.value)


def test_each_of_two_safeguards_that_cover_a_fault_must_engage(tmp_path: Path) -> None:
    draft = healthy()
    both = (("kernel_watchdog", "kernel_restart"), ("resource_pressure_monitor", "resource_pressure_cpu"))
    draft.plan = replace(draft.plan, coverage={**draft.plan.coverage, "kernel_pause": both})
    red = [f for f in judge(draft.record(tmp_path / "a")) if f.check == "safeguard_engaged" and f.verdict is not _PASS]
    assert [one.claim for one in red] == ["safeguard resource_pressure_monitor engages"]
    draft.add(
        12.0, Kind.SAFEGUARD_ENGAGED, "resource_pressure_monitor", "t", subject="memory_fusion", incident_id="second"
    )
    greens = [f for f in judge(draft.record(tmp_path / "b")) if f.check == "safeguard_engaged"]
    assert {one.verdict for one in greens} == {_PASS}, "though it was not the first to see the fault"


def test_a_target_without_incident_ids_is_paired_in_order(tmp_path: Path) -> None:
    draft = healthy().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog").drop(Kind.SAFEGUARD_RELEASED, "kernel_watchdog")
    for at_s, kind in (
        (10.0, Kind.SAFEGUARD_ENGAGED),
        (11.0, Kind.SAFEGUARD_RELEASED),
        (12.0, Kind.SAFEGUARD_ENGAGED),
        (13.0, Kind.SAFEGUARD_RELEASED),
        (14.0, Kind.SAFEGUARD_ENGAGED),
    ):
        draft.add(at_s, kind, "kernel_watchdog", "t", subject="memory_fusion")
    spans = [one for one in draft.record(tmp_path).engagements if one.safeguard == "kernel_watchdog"]
    assert [(one.engaged.at_s, one.released and one.released.at_s) for one in spans] == [(10, 11), (12, 13), (14, None)]


def test_a_series_that_falls_silent_without_a_word_is_a_lost_signal(tmp_path: Path) -> None:
    draft = healthy()
    draft.signals = [row for row in draft.signals if row[1] != "cpu_percent" or not 14.0 < row[0] < 20.0]
    quiet = found(draft.record(tmp_path / "a"), "signals_complete")
    assert quiet.verdict is Verdict.INCONCLUSIVE and "cpu_percent was not sampled for 6.0 s" in quiet.because
    tail = healthy()
    tail.signals = [row for row in tail.signals if row[1] != "route_up" or row[0] < 25.0]
    assert found(tail.record(tmp_path / "b"), "signals_complete").verdict is Verdict.INCONCLUSIVE


def hears_events(offers: tuple[str, ...] = ("signals.events", "signals.safeguards")) -> Draft:
    draft = healthy()
    draft.plan = replace(draft.plan, offers=offers)
    draft.change(Kind.RUN_STARTED, draft.plan.scenario_id, run_format=2)
    draft.signals += [(half / 2, "events_heard", "", 3.0) for half in range(72)]
    return draft


def test_events_that_nobody_looked_for_are_a_lost_signal(tmp_path: Path) -> None:
    assert found(hears_events().record(tmp_path / "a"), "signals_complete").verdict is Verdict.PASS
    never, gap = hears_events(), hears_events()
    never.signals = [row for row in never.signals if row[1] != "events_heard"]
    quiet = found(never.record(tmp_path / "b"), "signals_complete")
    assert (quiet.verdict, quiet.code) == (Verdict.INCONCLUSIVE, "signals_complete.never_measured")
    gap.signals = [row for row in gap.signals if row[1] != "events_heard" or row[0] < 20.0]
    short = found(gap.record(tmp_path / "c"), "signals_complete")
    assert (short.verdict, short.code) == (Verdict.INCONCLUSIVE, "signals_complete.silent")


@pytest.mark.parametrize(
    ("lost_s", "back_s", "verdict"),
    [
        (0.5, None, Verdict.INCONCLUSIVE),  # never there
        (0.5, 9.0, Verdict.INCONCLUSIVE),  # not before the faults
        (12.0, 20.0, Verdict.PASS),  # its kernel was struck
        (12.0, None, Verdict.INCONCLUSIVE),
        (12.0, END - 0.2, Verdict.INCONCLUSIVE),  # all had recovered, and it had not
    ],
)
def test_a_counter_that_is_missing(tmp_path: Path, lost_s: float, back_s: float | None, verdict: Verdict) -> None:
    name = "counters of htm_queue_depth"
    draft = healthy().add(lost_s, Kind.SIGNAL_LOST, name, "counters", error="it is not there")
    if back_s is not None:
        draft.add(back_s, Kind.SIGNAL_BACK, name, "counters")
    assert found(draft.record(tmp_path), "signals_complete").verdict is verdict


def test_a_target_without_safeguards_owes_no_look_for_events(tmp_path: Path) -> None:
    draft = hears_events(("signals.events",))
    draft.signals = [row for row in draft.signals if row[1] != "events_heard"]
    assert found(draft.record(tmp_path), "signals_complete").verdict is Verdict.PASS


def test_a_lost_signal_says_why(tmp_path: Path) -> None:
    draft = healthy().add(12.0, Kind.SIGNAL_LOST, "events", "run", error="the manifest has no signals.events")
    lost = found(draft.record(tmp_path), "signals_complete")
    assert lost.because == "events was silent for 24.0 s: the manifest has no signals.events"


def test_one_route_that_falls_silent_is_not_hidden_by_the_others(tmp_path: Path) -> None:
    draft = healthy()
    draft.signals += [(half / 2, "route_up", "GET /other", 1.0) for half in range(72) if not 14.0 < half / 2 < 20.0]
    quiet = found(draft.record(tmp_path), "signals_complete")
    assert quiet.verdict is Verdict.INCONCLUSIVE and quiet.because == "route_up of GET /other was not sampled for 6.0 s"


@pytest.mark.parametrize(
    ("text", "target", "reason"),
    [
        (PAUSE + "prerequisites: [second_instance]\n", PaperTarget(), "prerequisite 'second_instance'"),
        (
            "scenario_id: X\nfaults: [{type: acl_flood, params: {messages_per_second: 10, duration_seconds: 9,"
            " blocked_actor: x}}]\n",
            PaperTarget(bus=None),
            "acl_flood: a message bus is needed",
        ),
    ],
)
def test_what_the_target_lacks_makes_everything_not_applicable(
    tmp_path: Path, text: str, target: PaperTarget, reason: str
) -> None:
    plan = planned(tmp_path, text, target)
    assert len(plan.not_applicable) == 1 and reason in plan.not_applicable[0]
    draft = healthy()
    draft.plan = replace(plan, scenario_id=draft.plan.scenario_id)
    draft.events = draft.events[:1]
    draft.add(0.5, Kind.RUN_ABORTED, plan.scenario_id, "run", reason="the target lacks what the scenario needs")
    findings = judge(draft.record(tmp_path / "run"))
    judged = [one for one in findings if one.check == "journal_intact"]
    assert {one.verdict for one in findings if one not in judged} == {Verdict.NOT_APPLICABLE}
    assert [one.verdict for one in judged] == [Verdict.PASS] and verdict(findings).exit_code == 4
    assert reason in findings[0].because


@pytest.mark.parametrize("word", ["memory_fusion", "kernel_watchdog", "kernel_restart", "GET /api/knowledge", "two"])
def test_what_the_target_has_is_no_hindrance(tmp_path: Path, word: str) -> None:
    assert (
        planned(tmp_path, PAUSE + f"prerequisites: ['{word}']\n", PaperTarget(capabilities=("two",))).not_applicable
        == ()
    )


def test_a_run_that_injected_something_is_judged_whatever_is_said_later(tmp_path: Path) -> None:
    draft = healthy()
    draft.plan = replace(draft.plan, not_applicable=("a late thought",))
    assert Verdict.NOT_APPLICABLE not in {one.verdict for one in judge(draft.record(tmp_path)) if one.judged}


def test_a_route_is_absent_only_when_it_never_answers_anything_else() -> None:
    def row(name: str, status: int, count: int) -> RequestRow:
        return RequestRow(1.0, "legitimate", name, "failed" if status == 404 else "ok", status, count, ())

    rows = [row("a", 404, 3), row("b", 404, 9), row("b", 200, 1), row("c", 404, 2), row("d", 200, 5)]
    assert absent_routes(rows) == ["a"]


_PASS = Verdict.PASS


def test_a_safeguard_names_something_else_only_for_the_faults_for_which_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two faults of a scenario that the same safeguard sees, one by a queue, the other by itself."""
    of = {"safeguard": "kernel_watchdog", "playbook": "kernel_restart"}
    faults = {"cpu_spike": [{**of, "subject": "a_queue"}], "kernel_pause": [of]}
    monkeypatch.setattr(expect, "_coverage_file", lambda: {"faults": faults, "playbooks": {}})
    both = PAUSE.replace(
        "faults:\n", "faults:\n  - {type: cpu_spike, params: {cpu_percent: 90, duration_seconds: 60}}\n"
    )
    plan = planned(tmp_path, both)
    named = {step.type: plan.subject_of(step, "kernel_watchdog") for step in plan.steps}
    assert named == {"cpu_spike": "a_queue", "kernel_pause": "memory_fusion"}
    faults["kernel_pause"] = []
    own = "detected_by: {kernel_pause: [kernel_watchdog]}\n"
    plan = planned(tmp_path, both + own)
    assert {plan.subject_of(step, "kernel_watchdog") for step in plan.steps} == {"a_queue"}


@pytest.mark.parametrize("check", ["load_shed", "no_cascading_failure"])
def test_evidence_of_requests_names_lines_that_are_there(tmp_path: Path, check: str) -> None:
    record = healthy().record(tmp_path)
    lines = (record.folder / "requests.csv").read_text().splitlines()
    cited = [int(one.rpartition(":")[2]) for one in found(record, check).evidence if one.startswith("requests.csv:")]
    assert cited and all(2 <= number <= len(lines) for number in cited)
    if check == "load_shed":
        assert all(",shed," in lines[number - 1] for number in cited)


def test_a_long_quiet_run_does_not_hide_a_fault_that_disturbs_the_generator(tmp_path: Path) -> None:
    draft = healthy().hold("loop_lag_ms", 1.0)
    quiet = [(at_s / 10, "loop_lag_ms", "", 1.0) for at_s in range(400, 4000)]
    draft.events[-1] = replace(draft.events[-1], at_s=400.0)
    disturbed = [(a, n, s, 400.0 if n == "loop_lag_ms" and 11.0 < a < 13.0 else v) for a, n, s, v in draft.signals]
    draft.signals = disturbed + quiet
    told = found(draft.record(tmp_path), "generator_healthy")
    assert told.verdict is Verdict.INCONCLUSIVE and "1 ms over the run" in told.because
    assert "400 ms during cpu_spike" in told.because


def test_a_worker_that_falls_silent_is_not_taken_for_a_healthy_one(tmp_path: Path) -> None:
    """Its first samples were fine; the others of the generator go on."""
    draft = healthy()
    early = [(a, n, "w1", v) for a, n, s, v in draft.signals if n == "loop_lag_ms" and a < 20.0]
    draft.signals += early
    told = found(draft.record(tmp_path), "generator_healthy")
    assert told.verdict is Verdict.INCONCLUSIVE and "worker w1's lag was not measured for 16.5 s" in told.because


def test_what_the_workers_do_while_the_target_is_read_back_is_no_silence(tmp_path: Path) -> None:
    """They are gone by then; before that they must be heard."""
    for name, began_s, expected in (("a", 21.0, Verdict.PASS), ("b", 26.0, Verdict.INCONCLUSIVE)):
        draft = healthy()
        draft.signals += [(a, n, "w1", v) for a, n, s, v in draft.signals if n == "loop_lag_ms" and a < 20.0]
        draft.signals = [(a, n, s, 900.0 if n == "loop_lag_ms" and a > began_s else v) for a, n, s, v in draft.signals]
        draft.add(END - 1.0, Kind.READ_BACK, draft.plan.scenario_id, "run", rows=1, problems=[], began_s=began_s)
        told = found(draft.record(tmp_path / name), "generator_healthy")
        assert told.verdict is expected, told
        assert expected is Verdict.PASS or "worker w1's lag was not measured for 6.5 s" in told.because


def test_a_generator_that_is_busy_making_its_users_is_not_ill(tmp_path: Path) -> None:
    draft = healthy()
    draft.signals = [(a, n, s, 900.0 if n == "loop_lag_ms" and a < 2.0 else v) for a, n, s, v in draft.signals]
    assert found(draft.record(tmp_path / "a"), "generator_healthy").verdict is Verdict.PASS
    draft.signals = [(a, n, s, 900.0 if n == "loop_lag_ms" and 4.0 < a < 6.0 else v) for a, n, s, v in draft.signals]
    told = found(draft.record(tmp_path / "b"), "generator_healthy")
    assert told.verdict is Verdict.INCONCLUSIVE, "in the baseline it must keep up"


@pytest.mark.parametrize(
    ("words_s", "bounds"),
    [(3000, {30.0, 3000.0}), (30, {30.0}), (12, {12.0}), (None, {30.0})],
)
def test_a_bound_in_words_never_loosens_the_one_that_follows_from_the_scenario(
    tmp_path: Path, words_s: int | None, bounds: set[float]
) -> None:
    words = f"verification: [memory_fusion restarted within {words_s}s]" if words_s else ""
    text = PAUSE.replace("90", "30") + words
    found = [one for one in planned(tmp_path, text).claims if one.check == "restarted"]
    assert {one.args["within_s"] for one in found} == bounds
    assert all(one.needs == ("kernel_pause",) for one in found)
