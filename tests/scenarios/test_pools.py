"""A pool is drawn by the seed, spacing and total_duration mean what they say, an injection is one fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faults.cpu_spike import CpuSpike
from harness.cli import main
from harness.draw import can_overlap, cut_s, draw, draws
from harness.metrics import UNITS
from harness.model import Plan
from harness.plan import Options, build_plan, describe, lint, plan_from_json, plan_to_json
from harness.scenario import Execution, FaultEntry, ScenarioError, load_file, read_file
from tests.records import paper_target

KERNELS = ("librarian", "memory_fusion", "governance", "scheduler")
POOL = """scenario_id: MF03
category: multi_fault
severity: 4
fault_pool:
  - {type: acl_flood, target: message_bus, params: {messages_per_second: 500, duration_seconds: 40, blocked_actor: x}}
  - {type: cpu_spike, params: {cpu_percent: 90, duration_seconds: 40}}
  - {type: cpu_pressure, params: {cpu_percent: 60, duration_seconds: 100}}
""" + "".join(f"  - {{type: kernel_pause, target: {name}, params: {{pause_seconds: 20}}}}\n" for name in KERNELS)
EXECUTION = "execution: {random_selection: 5, shuffle_order: true, spacing_seconds: 30, total_duration: 180}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def planned(folder: Path, text: str, seed: int = 1, **options: Any) -> Plan:
    (scenario,) = load_file(written(folder, text))
    return build_plan(scenario, paper_target(folder), Options(seed=seed, **options), UNITS)[0]


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        planned(folder, text)
    return "\n".join(one.removeprefix(f"{folder}/") for one in caught.value.problems)


def shape(plan: Plan) -> list[tuple[str, str, float]]:
    return [(step.step_id, step.target, step.at_s) for step in plan.steps]


def test_five_are_drawn_shuffled_and_thirty_seconds_apart(tmp_path: Path) -> None:
    plan = planned(tmp_path, POOL + EXECUTION)
    assert [step.at_s for step in plan.steps] == [0, 30, 60, 90, 120]
    assert len({step.where for step in plan.steps}) == 5, "no entry twice"
    assert plan_from_json(plan_to_json(plan)) == plan
    assert "drawn from a pool of 7: " + ", ".join(step.step_id for step in plan.steps) in describe(plan)


@pytest.mark.parametrize("seed", [1, 2, 7, 2**31 - 1])
def test_the_same_seed_gives_the_same_plan(tmp_path: Path, seed: int) -> None:
    assert planned(tmp_path, POOL + EXECUTION, seed) == planned(tmp_path, POOL + EXECUTION, seed)


def test_ten_other_seeds_give_other_plans_and_every_entry_its_turn(tmp_path: Path) -> None:
    plans = [planned(tmp_path, POOL + EXECUTION, seed) for seed in range(11)]
    assert len({str(shape(plan)) for plan in plans}) == 11
    assert len({step.where for plan in plans for step in plan.steps}) == 7
    assert len({plan.steps[0].where for plan in plans}) > 3, "the order is drawn too"


def test_the_draw_does_not_change_with_the_version_of_python(tmp_path: Path) -> None:
    (scenario,) = load_file(written(tmp_path, POOL + EXECUTION))
    assert [scenario.pool.index(one) for one in draw(scenario, 7)] == [6, 3, 1, 0, 5]


def test_a_scenario_draws_again_only_when_playbooks_must_run_side_by_side(tmp_path: Path) -> None:
    """A pause is over long before its time: without another fault first, nothing answers at the same time."""
    pool = POOL + "execution: {random_selection: 2, shuffle_order: true, spacing_seconds: 30}\n"
    wanted = pool + "verification: [playbooks_ran_concurrently]\n"
    again = {seed: planned(tmp_path, wanted, seed) for seed in range(12)}
    (scenario,) = load_file(written(tmp_path, wanted))
    times = set()
    for seed, plan in again.items():
        first, second = (step.type for step in plan.steps)
        assert first != "kernel_pause" and {first, second} != {"cpu_spike", "cpu_pressure"}, (seed, first, second)
        number = next(n for n, one in enumerate(draws(scenario, seed)) if shape_of(one) == shape(plan))
        assert (f"drawn again {number} times" in describe(plan)) is (number > 0)
        times.add(number)
        assert plan_to_json(planned(tmp_path, wanted, seed)) == plan_to_json(plan), "byte for byte"
        scaled = planned(tmp_path, wanted, seed, time_scale=0.1)
        assert [step.where for step in scaled.steps] == [step.where for step in plan.steps], "whatever the time scale"
    assert 0 in times and max(times) > 1
    once = [planned(tmp_path, pool, seed) for seed in range(12)]
    assert any(plan.steps[0].type == "kernel_pause" for plan in once), "nobody asked for it"
    assert not any("drawn again" in describe(plan) for plan in once)


def shape_of(entries: tuple[FaultEntry, ...]) -> list[tuple[str, str, float]]:
    """What shape() says of these faults in a plan that draws two, 30 s apart."""
    ids = [entry.type for entry in entries]
    ids = [f"{one}#{ids[:at].count(one) + 1}" if one in ids[:at] else one for at, one in enumerate(ids)]
    targets = [entry.target or "machine" for entry in entries]
    return [(ids[at], targets[at], 30.0 * at) for at in range(len(ids))]


def test_a_pool_whose_playbooks_never_meet_is_refused(tmp_path: Path) -> None:
    pauses = POOL.splitlines()[:4] + POOL.splitlines()[7:]
    text = "\n".join(pauses) + "\nexecution: {random_selection: 2, spacing_seconds: 30}\n"
    said = refusal(tmp_path, text + "verification: [playbooks_concurrent]\n")
    assert said.endswith("verification: playbooks_concurrent: no draw has two playbooks that can overlap")


@pytest.mark.parametrize(
    ("faults", "overlap"),
    [
        ([("a", 45), ("b", 45)], True),
        ([("a", 45), ("b", 0)], True),  # it begins while the first is in force
        ([("a", 0), ("b", 45)], False),
        ([("a", 45), ("", 45), ("b", 45)], False),  # nothing answers the one between
        ([("a", 65), ("", 45), ("b", 45)], True),
        ([("a", 45), ("a", 45)], False),  # one answer to both
        ([("a", 34), ("b", 45)], False),  # over before the second is seen
        ([("a", 35), ("b", 45)], True),
        ([("a", 45)], False),
    ],
)
def test_what_can_be_answered_at_the_same_time(faults: list[tuple[str, float]], overlap: bool) -> None:
    assert can_overlap(Execution(spacing_seconds=30), faults) is overlap
    assert can_overlap(Execution(all_simultaneous=True), [("a", 9.0), ("b", 9.0)])


def test_without_shuffle_order_the_drawn_stay_in_their_order(tmp_path: Path) -> None:
    text = POOL + EXECUTION.replace("shuffle_order: true", "shuffle_order: false")
    for seed in range(10):
        (scenario,) = load_file(written(tmp_path, text))
        places = [scenario.pool.index(one) for one in draw(scenario, seed)]
        assert places == sorted(places) and len(places) == 5


def test_without_random_selection_all_are_taken_and_at_once(tmp_path: Path) -> None:
    assert [step.at_s for step in planned(tmp_path, POOL).steps] == [0.0] * 7


def test_spacing_and_total_duration_scale(tmp_path: Path) -> None:
    plan = planned(tmp_path, POOL + EXECUTION, time_scale=0.5)
    assert [step.at_s for step in plan.steps] == [0, 15, 30, 45, 60]
    assert all(step.at_s + step.duration_s <= 90 for step in plan.steps)


def test_what_would_last_past_total_duration_is_cut_and_said(tmp_path: Path) -> None:
    text = POOL + "execution: {spacing_seconds: 10, total_duration: 70}\n"
    plan = planned(tmp_path, text)
    assert [(step.at_s, step.duration_s) for step in plan.steps] == [
        *((0, 40), (10, 40), (20, 50), (30, 20), (40, 20), (50, 20), (60, 10)),
    ]
    cut = plan.steps[2]
    assert cut.asked_duration_s == 100 and cut.params["duration_seconds"] == 50
    said = describe(plan)
    assert "cpu_pressure is cut from 100 s to 50 s: total_duration is over at +70 s" in said
    assert "kernel_pause#4 is cut from 20 s to 10 s" in said and "acl_flood is cut" not in said


def test_nothing_is_cut_below_five_seconds(tmp_path: Path) -> None:
    plan = planned(tmp_path, POOL + "execution: {spacing_seconds: 10, total_duration: 70}\n", time_scale=0.1)
    assert [step.duration_s for step in plan.steps] == [5, 5, 5, 5, 5, 5, 5]
    assert "kernel_pause#4 lasts until +11 s, past total_duration at +7 s: at least 5 s" in describe(plan)


@pytest.mark.parametrize(
    ("at_s", "duration_s", "floor_s", "left_s"),
    [(0, 60, 5, 60), (0, 61, 5, 60), (50, 30, 5, 10), (58, 30, 5, 5), (58, 3, 5, 3), (70, 30, 8, 8), (58, 1, 5, 1)],
)
def test_where_a_fault_is_cut(at_s: float, duration_s: float, floor_s: float, left_s: float) -> None:
    got_s, said = cut_s(Execution(total_duration=60), at_s, duration_s, floor_s, 1.0)
    assert got_s == left_s and bool(said) is (at_s + duration_s > 60)
    assert cut_s(Execution(), at_s, duration_s, floor_s, 1.0) == (duration_s, "")


WRONG = [
    ("execution: {random_selection: 8}", "execution.random_selection: a whole number from 1 to 7 is expected, not 8"),
    ("execution: {random_selection: 0}", "a whole number from 1 to 7 is expected, not 0"),
    ("execution: {random_selection: 2.0}", "a whole number from 1 to 7 is expected, not 2.0"),
    ("execution: {spacing_seconds: -1}", "spacing_seconds: a number from 0 to 86400 is expected, not -1"),
    ("execution: {spacing_seconds: .nan}", "spacing_seconds: a number from 0 to 86400 is expected, not .nan"),
    ("execution: {total_duration: .inf}", "total_duration: a number from 0 to 86400 is expected, not .inf"),
    ("execution: {monitor_interval_seconds: 0.1}", "monitor_interval_seconds: a number from 0.5"),
    ("execution: {shuffle_order: maybe}", "shuffle_order: true or false is expected, not 'maybe'"),
    ("execution: {shufle_order: true}", "no key is called 'shufle_order'. Did you mean 'shuffle_order'?"),
    ("execution: {all_simultaneous: true, spacing_seconds: 5}", "all_simultaneous says that there is none"),
    ("execution: {spacing_seconds: 30, total_duration: 180}", "total_duration 180 has no room for 7 faults 30 s apart"),
    ("execution: {total_duration: 0}", "total_duration 0 has no room for 7 faults"),
    ("max_failover_time: 30", "max_failover_time: no check judges a failover yet"),
    ("stop_when: [cpu_percnt > 5]", "Did you mean 'cpu_percent'?"),
    ("unsafe: {fault_s_mx: 5}", "unsafe: no key is called 'fault_s_mx'. Did you mean 'fault_s_max'?"),
    ("unsafe: {fault_s_max: much}", "unsafe.fault_s_max: a number from 0"),
    ("unsafe: {faults_at_once_max: 3}", "faults at once, at most 3 are allowed"),
    ("detected_by: {cpu_spik: [kernel_watchdog]}", "the scenario has no fault 'cpu_spik'"),
]


@pytest.mark.parametrize(("added", "words"), WRONG, ids=[row[0] for row in WRONG])
def test_what_execution_cannot_be(tmp_path: Path, added: str, words: str) -> None:
    assert words in refusal(tmp_path, POOL + added + "\n")


def test_random_selection_needs_a_pool(tmp_path: Path) -> None:
    faults = "scenario_id: X\nfaults: [{type: cpu_spike, params: {cpu_percent: 5, duration_seconds: 9}}]\n"
    said = refusal(tmp_path, faults + "execution: {random_selection: 1}\n")
    assert said == "mine.yaml:3: execution.random_selection: it draws from fault_pool, and there is none"


def test_a_wrong_entry_is_told_whatever_is_drawn(tmp_path: Path) -> None:
    text = POOL.replace("target: scheduler", "target: schedular").replace("cpu_percent: 60", "cpu_percent: 600")
    for seed in range(5):
        with pytest.raises(ScenarioError) as caught:
            planned(tmp_path, text + "execution: {random_selection: 1}\n", seed)
        assert "Did you mean 'scheduler'?" in str(caught.value) and "not 600" in str(caught.value)
        assert len(caught.value.problems) == 2


def test_a_bare_name_has_the_injectors_defaults_or_says_what_is_missing(tmp_path: Path, monkeypatch: Any) -> None:
    text = "scenario_id: X\nfault_pool:\n  - network_loss\n  - kernel_kill\n  - cpu_spke\n"
    said = refusal(tmp_path, text)
    assert "mine.yaml:3: fault_pool[0]: network_loss needs target, " in said
    assert "mine.yaml:4: fault_pool[1]: kernel_kill.target: either target, a kernel, or targets" in said
    assert "mine.yaml:5: fault_pool[2]: no fault is called 'cpu_spke'. Did you mean 'cpu_spike'?" in said
    monkeypatch.setattr(CpuSpike, "defaults", {"cpu_percent": 80.0, "duration_seconds": 30.0})
    (step,) = planned(tmp_path, "scenario_id: X\nfault_pool: [cpu_spike]\n").steps
    assert (step.asked.value, step.duration_s) == (80.0, 30.0)
    with pytest.raises(ScenarioError, match="cpu_spike needs duration_seconds"):
        planned(tmp_path, "scenario_id: X\nfault_pool: [{type: cpu_spike}]\n")


def test_what_was_not_drawn_is_not_expected(tmp_path: Path) -> None:
    text = POOL + "execution: {random_selection: 1}\n"
    text += "expected_safeguards: [kernel_watchdog, resource_pressure_monitor, acl_violation_monitor]\n"
    text += "expected_playbooks: [kernel_restart]\ndetected_by: {kernel_pause: [kernel_watchdog]}\n"
    text += "expected_behavior: [it holds]\n"
    owners = {"kernel_pause": "kernel_watchdog", "acl_flood": "acl_violation_monitor"}
    seen = set()
    for seed in range(12):
        plan = planned(tmp_path, text, seed)
        kind = plan.steps[0].type
        seen.add(kind)
        assert plan.expected_safeguards == (owners.get(kind, "resource_pressure_monitor"),)
        assert plan.expected_playbooks == (("kernel_restart",) if kind == "kernel_pause" else ())
        assert [c.args["safeguard"] for c in plan.claims if c.check == "safeguard_engaged"] == [
            *plan.expected_safeguards
        ]
        assert "not expected, as their faults were not drawn: " in describe(plan)
    assert {"kernel_pause", "acl_flood"} < seen


def test_what_covers_nothing_in_the_pool_is_refused(tmp_path: Path) -> None:
    text = POOL.replace("  - {type: acl_flood", "  #- {type: acl_flood") + "execution: {random_selection: 1}\n"
    with pytest.raises(ScenarioError, match="acl_violation_monitor"):
        planned(tmp_path, text + "expected_safeguards: [acl_violation_monitor]\n")


INJECTION = """scenario_id: X
injection:
  type: kernel_pause
  target: librarian
  mechanism: sigstop
  params:
    pause_seconds: 20
execution: {all_simultaneous: true, monitor_interval_seconds: 10}
"""


def test_an_injection_of_a_known_type_is_one_fault(tmp_path: Path) -> None:
    plan = planned(tmp_path, INJECTION)
    (step,) = plan.steps
    assert (step.type, step.target, step.duration_s) == ("kernel_pause", "librarian", 20)
    assert step.params["mechanism"] == "sigstop" and step.where.endswith("mine.yaml:3: injection")
    assert "sampled every 0.5 s (asked 10 s)" in describe(plan)
    inside = INJECTION.replace("  target: librarian\n", "").replace("params:\n", "params:\n    target: librarian\n")
    assert shape(planned(tmp_path, inside)) == shape(plan)


def test_several_kernels_and_none_that_is_not_there(tmp_path: Path) -> None:
    text = "scenario_id: X\ninjection: {type: kernel_kill, params: {targets: [self_healing, coding_agent]}}\n"
    assert planned(tmp_path, text).steps[0].params["targets"] == ["self_healing", "coding_agent"]
    assert "has no kernel 'codin_agent'. Did you mean 'coding_agent'?" in refusal(
        tmp_path, text.replace("coding_agent", "codin_agent")
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("type: kernel_pause", "type: kernel_pauze", "no fault is called 'kernel_pauze'. Did you mean 'kernel_pause'?"),
        ("mechanism", "mechanizm", "kernel_pause has no parameter 'mechanizm'. Did you mean 'mechanism'?"),
        ("target: librarian", "target: librarien", "has no kernel 'librarien'. Did you mean 'librarian'?"),
        ("type: kernel_pause", "type: kernel_kill", "kernel_kill has no parameter"),
    ],
)
def test_an_injection_that_no_injector_knows(tmp_path: Path, old: str, new: str, words: str) -> None:
    said = refusal(tmp_path, INJECTION.replace(old, new))
    assert said.startswith("mine.yaml:3: injection: ") and words in said


@pytest.mark.parametrize("targets", ["5", "{a: b}", "[[a]]", "librarian", "[]"])
def test_values_that_no_injector_can_take(tmp_path: Path, targets: str) -> None:
    text = f"scenario_id: X\ninjection: {{type: kernel_kill, params: {{targets: {targets}}}}}\n"
    assert refusal(tmp_path, text).startswith("mine.yaml:2: injection: kernel_kill")


def test_stop_conditions_and_lifted_limits_reach_the_plan(tmp_path: Path) -> None:
    text = INJECTION.replace("pause_seconds: 20", "pause_seconds: 1000")
    assert "1000 s, at most 900 s" in refusal(tmp_path, text)
    plan = planned(tmp_path, text + "unsafe: {fault_s_max: 1200}\nstop_when: [failure_percent > 50 for 5s]\n")
    assert plan.unsafe == {"fault_s_max": 1200} and plan.stop_when == ("failure_percent > 50 for 5s",)
    assert plan_from_json(plan_to_json(plan)) == plan


def test_lint_says_all_of_a_file_at_once(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    text = """- scenario_id: A
  severity: 9
  telemetry: {every: 5}
  fault_pool: [cpu_spke, {type: cpu_spike, params: {cpu_percent: 500, duration_seconds: 5}}]
  verification: [cpu_usage_pek >= 5]
- scenario_id: B
  injection: {type: api_flod, endpoint: /x}
  execution: {random_selection: 1}
  max_failover_time: 30
"""
    path = written(tmp_path, text)
    monkeypatch.setattr("sys.argv", ["grace-chaos", "lint", str(path)])
    assert main() == 2
    said = capsys.readouterr()
    *rows, by_whom = said.err.splitlines()
    assert "the embedded Grace" in by_whom
    assert said.out == "" and sorted(int(row.split(":")[1]) for row in rows) == [2, 3, 4, 4, 5, 7, 8, 9], rows
    path.write_text(POOL + EXECUTION)
    assert main() == 0 and "MF03: nothing is wrong" in capsys.readouterr().out


def test_lint_takes_a_pool_apart_without_a_target(tmp_path: Path) -> None:
    scenarios, problems = read_file(written(tmp_path, POOL.replace("pause_seconds: 20", "pause_second: 20")))
    assert problems == []
    with pytest.raises(ScenarioError) as caught:
        lint(scenarios[0], UNITS)
    assert len(caught.value.problems) == 4
