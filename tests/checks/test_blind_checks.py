"""Green, or red, for want of a look: what ended early, was lost, came before the fault, or was one of several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.judge import judge
from harness.metrics import METRICS
from harness.model import Finding, Kind, Verdict
from harness.traffic import RequestRow
from tests import drafts
from tests.checks import test_drift_checks as drift
from tests.checks import test_file_checks as files
from tests.checks import test_playbook_spans as spans
from tests.checks import test_refused as refused
from tests.checks import test_worker_checks as workers
from tests.drafts import CPU_END, END, INJECTED, INTENT, KNOWLEDGE, Draft, healthy
from tests.ledgers import World, world

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
MONITOR, CUT_OFF = "resource_pressure_monitor", "message_bus_acl_violation_fix"
Change = Callable[[Draft], Any]


def lose(observer: str, at_s: float = 8.0, back_s: float | None = None) -> Change:
    def act(draft: Draft) -> None:
        draft.add(at_s, Kind.SIGNAL_LOST, observer, "watcher", error="silence")
        if back_s is not None:
            draft.add(back_s, Kind.SIGNAL_BACK, observer, "watcher")

    return act


def until(name: str, end_s: float, subject: str | None = None) -> Change:
    """Nobody has told of it after *end_s*."""

    def act(draft: Draft) -> None:
        before = len(draft.signals)
        draft.signals = [
            one for one in draft.signals if one[1] != name or subject not in (None, one[2]) or one[0] <= end_s
        ]
        assert len(draft.signals) < before, f"the story has no {name} after {end_s}"

    return act


def silent_guards(draft: Draft) -> None:
    for kind in (Kind.SAFEGUARD_ENGAGED, Kind.SAFEGUARD_RELEASED, Kind.PLAYBOOK_STARTED, Kind.PLAYBOOK_FINISHED):
        draft.drop(kind)
    draft.requests = [replace(row, outcome="ok") if row.outcome == "shed" else row for row in draft.requests]


def colours(folder: Path, draft: Draft, check: str) -> tuple[Verdict, str]:
    found = [one for one in judge(draft.record(folder)) if one.check == check]
    worst = Verdict.worst([one.verdict for one in found])
    return worst, "; ".join(one.because for one in found if one.verdict is worst)


# What was told last was told long before the end


def metric(name: str, record: Any) -> float | None:
    found = METRICS[name](record)
    return None if found is None else found[0]


def test_the_depth_at_the_end_is_that_of_the_end(tmp_path: Path) -> None:
    draft = healthy()
    draft.signals += [(half / 2, "htm_queue_depth", "", 7.0) for half in range(int(END * 2))]
    assert metric("queue_depth_at_end", draft.record(tmp_path / "whole")) == 7.0
    until("htm_queue_depth", END - 8)(draft)
    assert metric("queue_depth_at_end", draft.record(tmp_path / "early")) is None


def test_violations_that_were_not_counted_to_the_end_are_not_none(tmp_path: Path) -> None:
    name = "message_bus.acl_violations"
    assert metric(name, healthy().record(tmp_path / "whole")) == pytest.approx(7100, abs=1)
    draft = healthy()
    until(name, INJECTED)(draft)
    assert metric(name, draft.record(tmp_path / "early")) is None
    draft = healthy()
    draft.signals = [(a, n, s, 0.0 if n == name and a > 20 else v) for a, n, s, v in draft.signals]
    assert metric(name, draft.record(tmp_path / "anew")) is None, "a bus that began to count anew"


def test_a_model_that_nobody_asked_at_the_end_is_not_known_to_answer(tmp_path: Path) -> None:
    draft = files.story()
    until("model_answers_same", END - 8, "b.pkl")(draft)
    found = check("models_restored", draft.record(tmp_path))
    assert found.verdict is UNSURE and "whether it answers by b.pkl was last told" in found.because


def survivors(draft: Draft) -> None:
    draft.signals += [(1.0, "kernel_pid", one, 77.0) for one in draft.plan.kernels]


def test_a_kernel_that_was_not_told_of_at_the_end_is_not_known_to_survive(tmp_path: Path) -> None:
    cases: list[tuple[str, Change, Verdict, str]] = [
        ("whole", lambda draft: None, PASS, "all 20 run"),
        ("early", until("kernel_heartbeat_age_s", END - 8), UNSURE, "told nothing of memory_fusion at the end"),
        ("lost", lose("processes"), UNSURE, "nobody looked at /proc"),
        ("gone", lambda draft: add_state(draft, "unlisted"), FAIL, "memory_fusion is unlisted"),
    ]
    for name, change, expected, words in cases:
        draft = healthy()
        survivors(draft)
        change(draft)
        found = check("kernels_survive", draft.record(tmp_path / name))
        assert (found.verdict, words in found.because) == (expected, True), found


def add_state(draft: Draft, to: str) -> None:
    draft.add(END - 3, Kind.KERNEL_CHANGED, "memory_fusion", "control_plane", what="state", to=to)


def test_who_is_weighed_before_is_weighed_to_the_end(tmp_path: Path) -> None:
    for name, rows, expected in (
        ("whole", [(INJECTED - 1, 30.0), (END - 4, 31.0)], PASS),
        ("early", [(INJECTED - 1, 30.0), (INJECTED + 1, 31.0)], UNSURE),
        ("never", [(INJECTED - 1, 30.0)], UNSURE),
        ("grew", [(INJECTED - 1, 30.0), (INJECTED + 1, 300.0)], FAIL),
    ):
        made = world()
        workers.weighed(made)
        made.draft.signals += [(at_s, "resident_mb", "htm_worker_1", value) for at_s, value in rows]
        found = check("no_resource_exhaustion", made.record(tmp_path / name))
        assert found.verdict is expected, found
        assert expected is not UNSURE or "the memory of htm_worker_1 was not measured to the end" in found.because


def test_a_queue_that_was_not_looked_at_to_the_end_or_never_used_has_not_drained(tmp_path: Path) -> None:
    made = world()
    until("htm_queue_depth", END - 8)(made.draft)
    found = check("queue_drained", made.record(tmp_path / "early"))
    assert found.verdict is UNSURE and "the depth of the queue was last told" in found.because
    made = world()
    made.draft.hold("htm_queue_depth", 0.0)
    made.held |= {"intents": [], "retrospectives": []}
    found = check("queue_drained", made.record(tmp_path / "never"))
    assert found.verdict is UNSURE and found.because == "no work was ever in the queues"


def test_a_worker_that_told_of_its_lag_only_after_the_fault_was_not_heard(tmp_path: Path) -> None:
    """Its silence while the fault was in force is what a saturated process looks like."""
    for name, since_s, expected in (("always", 0.0, PASS), ("late", CPU_END, UNSURE)):
        draft = healthy()
        own = [one for one in draft.signals if one[1:3] == ("loop_lag_ms", "") and one[0] >= since_s]
        draft.signals += [(at_s, "loop_lag_ms", "w1", 3.0) for at_s, *_ in own]
        found = check("generator_healthy", draft.record(tmp_path / name))
        assert (found.verdict, "worker w1's lag was not measured for" in found.because) == (
            expected,
            expected is UNSURE,
        )


def test_users_who_are_left_hanging_to_the_end_are_not_served(tmp_path: Path) -> None:
    """Who never has an answer does not end: silence is no success."""
    draft = healthy()
    assert check("api_responsive", draft.record(tmp_path / "whole")).verdict is PASS
    draft.requests = [row for row in draft.requests if row.at_s < END - 10]
    found = check("api_responsive", draft.record(tmp_path / "silent"))
    assert found.verdict is UNSURE and "legitimate requests ended from 2" in found.because


@pytest.mark.parametrize(("user", "name"), [("legitimate", "latency_p99"), ("htm_flood", "flood_latency_p99")])
def test_who_asked_while_the_fault_was_there_counts_also_when_the_answer_comes_later(
    tmp_path: Path, user: str, name: str
) -> None:
    draft = healthy()
    draft.requests += [RequestRow(CPU_END - 1, user, INTENT, "ok", 200, 99, ((9, 99),))]
    assert (metric(name, draft.record(tmp_path / "whole")) or 0.0) < 2500
    draft.requests += [RequestRow(CPU_END + 8, user, INTENT, "ok", 200, 99, ((20, 90), (9000, 9)))]
    assert metric(name, draft.record(tmp_path / "hung")) == 9000.0
    draft.requests[-1] = RequestRow(CPU_END + 8, user, INTENT, "ok", 200, 99, ((20, 90), (7000, 9)))
    found = metric(name, draft.record(tmp_path / "later"))
    assert found is not None and found < 2500, "it was asked when all was over"


# A witness from before the fault, or from long after it


def engaged_before(draft: Draft) -> None:
    draft.change(Kind.SAFEGUARD_ENGAGED, MONITOR, at_s=INJECTED - 2)


def cut_off_before(draft: Draft) -> None:
    """The actor was cut off once before, and is heard during the fault."""
    draft.change(Kind.PLAYBOOK_STARTED, CUT_OFF, at_s=2.0).change(Kind.PLAYBOOK_FINISHED, CUT_OFF, at_s=2.1)
    draft.signals.append((1.0, "bus_delivered", "rogue_kernel", 12.0))


def too_late(draft: Draft) -> None:
    """Another incident of the same kernel, long after the fault."""
    for kind in (Kind.PLAYBOOK_STARTED, Kind.PLAYBOOK_FINISHED):
        draft.change(kind, "resource_pressure_cpu", at_s=CPU_END + 10)
        draft.change(Kind.FAULT_ENDED, "cpu_spike", at_s=INJECTED + 1)


@pytest.mark.parametrize(
    ("check", "change", "expected", "words"),
    [
        ("load_shed", engaged_before, FAIL, "never engaged for cpu"),
        ("actor_cut_off", cut_off_before, FAIL, "the playbook did not run"),
        (
            "actor_cut_off",
            lambda draft: draft.change(Kind.FAULT_ENDED, "acl_flood", at_s=10.0),
            UNSURE,
            "the fault ended before its silence could show",
        ),
    ],
)
def test_what_was_there_before_shows_nothing(
    tmp_path: Path, check: str, change: Change, expected: Verdict, words: str
) -> None:
    draft = healthy()
    change(draft)
    verdict, because = colours(tmp_path, draft, check)
    assert (verdict, words in because) == (expected, True), because


def test_a_playbook_that_started_long_after_the_fault_is_not_for_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("harness.checks.playbook_ran.DETECTION_GRACE_S", 5.0)
    assert colours(tmp_path / "in_time", healthy(), "playbook_ran")[0] is PASS
    draft = healthy()
    too_late(draft)
    verdict, because = colours(tmp_path / "late", draft, "playbook_ran")
    assert verdict is FAIL and "resource_pressure_cpu was never started for cpu" in because


def test_answers_from_a_store_before_the_fault_show_no_bypass(tmp_path: Path) -> None:
    draft = spans.story("answered_stale")
    spans.silent(draft)
    draft.change(Kind.SAFEGUARD_ENGAGED, spans.MONITOR, at_s=3.0)
    draft.change(Kind.SAFEGUARD_RELEASED, spans.MONITOR, at_s=6.0)
    draft.requests.append(RequestRow(4.0, "legitimate", KNOWLEDGE, "stale", 200, 3, ((3, 3),)))
    verdict, because = colours(tmp_path, draft, "answered_stale")
    assert verdict is FAIL and "never engaged for memory_fusion" in because


def test_each_dependency_that_is_late_has_its_own_stale_answers(tmp_path: Path) -> None:
    draft = spans.story("answered_stale")
    coverage = {**draft.plan.coverage, "cpu_spike": ((spans.MONITOR, spans.BYPASS),)}
    draft.plan = replace(draft.plan, coverage=coverage)
    assert colours(tmp_path / "one", draft, "answered_stale")[0] is FAIL
    for kind, at_s in ((Kind.SAFEGUARD_ENGAGED, 20.0), (Kind.SAFEGUARD_RELEASED, 24.0)):
        draft.add(at_s, kind, spans.MONITOR, "t", subject="cpu", incident_id="cpu")
    verdict, because = colours(tmp_path / "silent", draft, "answered_stale")
    assert verdict is FAIL and "while cpu was late" in because
    spans.stale(draft, 21.0, 22.0)
    assert colours(tmp_path / "both", draft, "answered_stale")[0] is PASS


def test_a_log_that_could_not_be_written_before_the_fault_shows_no_refusal(tmp_path: Path) -> None:
    made = refused.story()
    made.draft.change(Kind.SAFEGUARD_ENGAGED, refused.GUARD, at_s=INJECTED - 1)
    found = check("refused_unrecorded", made.record(tmp_path), playbook=refused.PLAYBOOK)
    assert found.verdict is FAIL and "never engaged" in found.because


def test_what_engages_for_a_later_fault_is_not_the_detection_of_one_before(tmp_path: Path) -> None:
    guard, late_s = "kernel_watchdog", 25.0
    for name, at_s, expected in (("each", drafts.MISSED, PASS), ("second", late_s + 2, FAIL)):
        draft = healthy()
        struck_again(draft, late_s)
        draft.plan = replace(
            draft.plan, coverage={**draft.plan.coverage, "kernel_pause#2": draft.plan.coverage["kernel_pause"]}
        )
        draft.change(Kind.SAFEGUARD_ENGAGED, guard, at_s=at_s)
        draft.change(Kind.SAFEGUARD_RELEASED, guard, at_s=at_s + 1)
        if expected is PASS:
            draft.add(late_s + 2, Kind.SAFEGUARD_ENGAGED, guard, "t", subject="memory_fusion", incident_id="again")
        draft.change(Kind.FAULT_INJECTED, "kernel_pause#2", at_s=late_s)
        found = check("safeguard_engaged", draft.record(tmp_path / name), safeguard=guard)
        assert found.verdict is expected, found
    # two strikes in one go have one answer
    draft.change(Kind.FAULT_INJECTED, "kernel_pause#2", at_s=INJECTED + 3.5)
    draft.change(Kind.SAFEGUARD_ENGAGED, guard, at_s=INJECTED + 4)
    assert check("safeguard_engaged", draft.record(tmp_path / "together"), safeguard=guard).verdict is PASS


# One of several


def struck_again(draft: Draft, at_s: float = 20.0) -> None:
    first = next(one for one in draft.plan.steps if one.step_id == "kernel_pause")
    again = replace(first, step_id="kernel_pause#2")
    draft.plan = replace(draft.plan, steps=(*draft.plan.steps, again))
    draft.add(at_s, Kind.FAULT_INJECTED, again.step_id, "conductor", mechanism="on paper")


def test_a_kernel_that_is_struck_twice_is_restarted_twice(tmp_path: Path) -> None:
    args = {"kernel": "memory_fusion", "within_s": 45.0}
    draft = healthy()
    struck_again(draft)
    found = check("restarted", draft.record(tmp_path / "once"), **args)
    assert found.verdict is FAIL and "no new process" in found.because
    draft.add(22.0, Kind.KERNEL_CHANGED, "memory_fusion", "processes", what="process", old_pid=5151, pid=6161)
    assert check("restarted", draft.record(tmp_path / "twice"), **args).verdict is PASS
    until("route_up", 21.0)(draft)
    found = check("restarted", draft.record(tmp_path / "unasked"), **args)
    assert found.verdict is UNSURE and "was last told" in found.because


def test_a_worker_that_is_hit_twice_is_replaced_twice_and_lives(tmp_path: Path) -> None:
    made = world()
    workers.hit(made)
    hit = {"workers": [workers.WORKERS[0]]}
    made.draft.change(Kind.FAULT_INJECTED, "acl_flood", at_s=20.0, **hit)
    # the later of two injections into a worker must not hide the one before
    made.draft.change(Kind.FAULT_INJECTED, "cpu_spike", **hit)
    found = check("workers_restarted", made.record(tmp_path / "once"))
    assert found.verdict is FAIL and "no new process in time for htm_worker_1" in found.because
    made = world()
    workers.hit(made)
    made.draft.add(16.0, Kind.KERNEL_CHANGED, workers.WORKERS[1], "processes", what="state", to="gone", pid=0)
    found = check("workers_restarted", made.record(tmp_path / "gone"))
    assert found.verdict is FAIL and "at the end htm_worker_2 is gone" in found.because


def test_a_route_that_answers_nobody_is_not_well(tmp_path: Path) -> None:
    """No answer is no failed answer: a share of none says nothing."""
    draft = healthy()
    draft.requests = [row for row in draft.requests if row.name != INTENT or row.at_s < INJECTED]
    verdict, because = colours(tmp_path, draft, "no_cascading_failure")
    assert verdict is UNSURE and f"nobody has had any answer of {INTENT}" in because


def test_a_worker_that_no_fault_hit_and_that_ends_is_dragged_along(tmp_path: Path) -> None:
    def died(draft: Draft) -> Draft:
        draft.signals.append((1.0, "worker_pid", "htm_worker_1", 7.0))
        return draft.add(12.0, Kind.KERNEL_CHANGED, "htm_worker_1", "processes", what="process", old_pid=7, pid=8)

    struck = died(healthy())
    assert colours(tmp_path / "kernel", struck, "no_cascading_failure")[0] is FAIL  # memory_fusion has no workers
    steps = [replace(one, kernels=("scheduler",)) if one.kernels else one for one in struck.plan.steps]
    struck.plan = replace(struck.plan, steps=tuple(steps))
    assert colours(tmp_path / "crew", struck, "no_cascading_failure")[0] is PASS  # scheduler hands out their work
    draft = died(healthy())
    draft.plan = replace(draft.plan, steps=draft.plan.steps[:2], claims=())
    draft.requests = [replace(row, outcome="ok", status=200) for row in draft.requests]
    draft.events = [one for one in draft.events if one.subject != "memory_fusion"]
    found = check("no_cascading_failure", draft.record(tmp_path / "spared"))
    assert found.verdict is FAIL and "workers without a fault changed: htm_worker_1" in found.because
    draft.change(Kind.FAULT_INJECTED, "cpu_spike", workers=["htm_worker_1"])
    assert check("no_cascading_failure", draft.record(tmp_path / "hit")).verdict is PASS


def test_that_nobody_is_answered_after_the_faults_is_not_well(tmp_path: Path) -> None:
    draft = healthy()
    draft.requests = [row for row in draft.requests if row.at_s < CPU_END + 2]
    verdict, because = colours(tmp_path, draft, "no_cascading_failure")
    assert verdict is UNSURE and "nobody has had any answer in the last" in because


@pytest.mark.parametrize(
    "name", ["no_race_conditions", "decisions_consistent", "audit_complete", "valid_processed", "retros_completed"]
)
def test_a_ledger_of_the_users_alone_says_nothing_of_the_attack(tmp_path: Path, name: str) -> None:
    made = world()
    for row in made.sent or ():
        row["user"] = "legitimate"
    found = check(name, made.record(tmp_path))
    assert found.verdict is UNSURE and "the ledger has no request of api_flood, only the users' own" in found.because
    made.draft.plan = replace(made.draft.plan, steps=made.draft.plan.steps[:-1])
    assert check(name, made.record(tmp_path / "no_attack")).verdict is PASS


def test_a_second_entry_of_a_decision_that_says_otherwise_is_a_race(tmp_path: Path) -> None:
    for name, first in (("before", True), ("after", False)):
        made = world()
        wrong = {**made.of("audit", "d1"), "result": "allow"}
        made.held["audit"].insert(0 if first else len(made.held["audit"]), wrong)
        made.rechain()
        assert check("no_race_conditions", made.record(tmp_path / name)).verdict is FAIL


def doubled(made: World) -> None:
    """A row of the ledger stands for another one."""
    assert made.sent is not None
    made.sent = [dict(made.row("run-2")) if one["id"] == "run-3" else one for one in made.sent]


def test_a_request_that_is_counted_twice_does_not_stand_for_one_that_is_missing(tmp_path: Path) -> None:
    made = world()
    assert check("all_requests_processed", made.record(tmp_path / "whole")).verdict is PASS
    doubled(made)
    found = check("all_requests_processed", made.record(tmp_path / "twice"))
    assert found.verdict is UNSURE and "1 requests more than once" in found.because


def test_retrospectives_that_were_never_answered_nor_done_are_not_completed(tmp_path: Path) -> None:
    made = world()
    made.row("run-r1").update(outcome="unanswered", status=0)
    assert check("retros_completed", made.record(tmp_path / "done")).verdict is PASS
    made.lose("retrospectives", "run-r1")
    found = check("retros_completed", made.record(tmp_path / "lost"))
    assert found.verdict is FAIL and "never answered, and are not completed (run-r1)" in found.because


# Nothing was there to judge by


@pytest.mark.parametrize("name", ["model_confidence", "model_label_same"])
def test_a_model_of_which_only_the_name_is_known_is_not_as_sure_as_the_other(tmp_path: Path, name: str) -> None:
    draft = drift.story()
    draft.silence(name)
    found = check("fallback_model_activated", draft.record(tmp_path))
    assert found.verdict is UNSURE and "was not always told" in found.because


def test_the_last_seconds_of_the_faults_are_looked_at_too(tmp_path: Path) -> None:
    draft = healthy().change(Kind.FAULT_ENDED, "cpu_spike", at_s=INJECTED + 12.9)
    draft.requests = [row for row in draft.requests if row.outcome != "failed"]
    assert check("graceful_degradation", draft.record(tmp_path / "well")).verdict is PASS
    last_s = INJECTED + 9.2  # half of a window that ends with them, and less of any that began in whole steps
    draft.requests = [replace(r, outcome="shed", status=503) if r.at_s >= last_s else r for r in draft.requests]
    assert check("graceful_degradation", draft.record(tmp_path / "ill")).verdict is FAIL


@pytest.mark.parametrize(
    ("name", "step"), [("config_restored", "config_corruption"), ("snapshot_regenerated", "snapshot_corruption")]
)
def test_damage_that_the_harness_lost_was_not_left_by_the_target(tmp_path: Path, name: str, step: str) -> None:
    for ended_by, expected in (("plan", FAIL), ("lost", UNSURE), ("halt", UNSURE)):
        draft = files.story()
        draft.change(Kind.FAULT_ENDED, step, ended_by=ended_by)
        assert check(name, draft.record(tmp_path / ended_by)).verdict is expected


def check(name: str, record: Any, **args: Any) -> Finding:
    found: Finding = catalog.checks()[name](claim=name, **args).check(record)
    return found
