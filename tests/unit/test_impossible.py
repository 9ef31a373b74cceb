"""What can never pass is refused before the start, with its line; what can is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import catalog
from harness.impossible import BY_ROUTES
from harness.metrics import UNITS
from harness.plan import Options, build_plan
from harness.scenario import ScenarioError, load_file
from tests.drafts import PaperTarget

PAUSE = "{type: kernel_pause, target: librarian, params: {pause_seconds: 5}}"
CPU = "{type: cpu_spike, params: {cpu_percent: 90, duration_seconds: 5}}"
TOPIC = "{type: topic_flood, params: {topic: task.x, messages: 10, messages_per_second: 10}}"
FLOOD = "{type: api_flood, params: {endpoint: /api/htm/intents, total_requests: 20%s}}"
ACL = "{type: acl_flood, params: {messages_per_second: 10, duration_seconds: 9, blocked_actor: x}}"


def problems(folder: Path, faults: str, more: str, category: str = "layer1") -> list[str]:
    path = folder / "mine.yaml"
    path.write_text(f"scenario_id: mine\ncategory: {category}\nfaults:\n  - {faults}\n{more}\n")
    try:
        build_plan(load_file(path)[0], PaperTarget(), Options(seed=1), UNITS)
    except ScenarioError as error:
        return error.problems
    return []


VERIFICATIONS = [
    ("invalid_requests_rejected", FLOOD % "", FLOOD % ", invalid_ratio: 0.5", "nothing invalid"),
    ("playbooks_ran_concurrently", PAUSE, f"{PAUSE}\n  - {CPU}", "it takes two"),
    ("each_fault_detected", TOPIC, PAUSE, "no safeguard is known to detect topic_flood"),
    ("alerts_raised", TOPIC, PAUSE, "no safeguard is known to detect topic_flood"),
    ("all_processed", PAUSE, FLOOD % "", "no fault sends requests"),
    ("playbooks_executed_repeatedly", TOPIC, PAUSE, "no playbook answers"),
    ("librarian restarted within 9s", CPU, PAUSE, "aimed at librarian"),
    ("message_bus.acl_violations > 5", PAUSE, ACL, "access rules"),
    ("config_restored", PAUSE, "{type: config_corruption}", "no fault is a config_corruption"),
    ("snapshot_regenerated", PAUSE, "{type: snapshot_corruption}", "no fault is a snapshot_corruption"),
    ("models_restored", PAUSE, "{type: model_corruption}", "no fault is a model_corruption"),
    ("log_restored", PAUSE, "{type: log_corruption}", "no fault is a log_corruption"),
]


@pytest.mark.parametrize(("word", "without", "fitting", "why"), VERIFICATIONS, ids=[row[0] for row in VERIFICATIONS])
def test_a_check_that_nothing_can_show(tmp_path: Path, word: str, without: str, fitting: str, why: str) -> None:
    more = f"verification:\n  - '{word}'"
    (line,) = [one for one in problems(tmp_path, without, more) if "can never pass" in one]
    number = 4 + without.count("\n") + 2
    assert line.startswith(f"{tmp_path / 'mine.yaml'}:{number}: verification: ") and why.split(" ")[0] in line, line
    assert not [one for one in problems(tmp_path, fitting, more) if "can never pass" in one]


@pytest.mark.parametrize(
    ("key", "name"), [("expected_safeguards", "rate_limiter"), ("expected_playbooks", "resource_pressure_cpu")]
)
def test_an_expectation_that_no_fault_can_trigger(tmp_path: Path, key: str, name: str) -> None:
    (line,) = problems(tmp_path, PAUSE, f"{key}: [{name}]")
    assert line.startswith(f"{tmp_path / 'mine.yaml'}:5: {key}: ") and name in line and "kernel_pause" in line


def test_what_the_scenario_itself_calls_a_detection_can_trigger(tmp_path: Path) -> None:
    more = "expected_safeguards: [rate_limiter]\ndetected_by: {kernel_pause: [rate_limiter]}"
    assert problems(tmp_path, PAUSE, more) == []


def test_a_category_that_expects_detection_of_an_uncovered_fault(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, TOPIC, "", "multi_fault")
    assert line.startswith(f"{tmp_path / 'mine.yaml'}:") and "topic_flood" in line and "detected_by" in line
    assert problems(tmp_path, TOPIC, "detected_by: {topic_flood: [rate_limiter]}", "multi_fault") == []


def test_safeguards_all_triggered_needs_some(tmp_path: Path) -> None:
    more = "verification: [stalled_workers_detected]"
    (line,) = problems(tmp_path, PAUSE, more)
    assert "expects no safeguard" in line
    assert problems(tmp_path, PAUSE, f"{more}\nexpected_safeguards: [kernel_watchdog]") == []


@pytest.mark.parametrize("word", ["message_bus.acl_violations == 0", "message_bus.acl_violations < 9"])
def test_a_threshold_that_nothing_need_move(tmp_path: Path, word: str) -> None:
    assert problems(tmp_path, PAUSE, f"verification: ['{word}']") == []


def test_a_fault_that_is_not_drawn_can_trigger(tmp_path: Path) -> None:
    """A pool is judged as a whole: whatever the seed, the same words are refused."""
    path = tmp_path / "mine.yaml"
    pool = f"fault_pool:\n  - {PAUSE}\n  - {{type: config_corruption}}\nexecution: {{random_selection: 1}}\n"
    path.write_text(f"scenario_id: mine\ncategory: layer1\n{pool}verification: [config_restored]\n")
    for seed in range(1, 9):
        build_plan(load_file(path)[0], PaperTarget(), Options(seed=seed), UNITS)


API = "{type: kernel_pause, target: api_server, params: {pause_seconds: 5}}"


def test_a_fault_on_what_every_route_needs_leaves_nobody_to_compare_with(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, API, "")
    assert line.startswith(f"{tmp_path / 'mine.yaml'}:3: faults: 'no cascading failure' can never pass: each of the 4")
    assert "needs api_server" in line and line.endswith("; aim them at kernels that not every route needs")
    assert len(problems(tmp_path, API, "", "layer2")) == 2, "and the API cannot be called responsive"
    assert problems(tmp_path, f"{PAUSE}\n  - {CPU}", "", "layer2") == []
    several = [PAUSE.replace("librarian", one) for one in ("librarian", "governance", "scheduler")]
    assert problems(tmp_path, "\n  - ".join(several), "") == [], "one route is left"
    every = "\n  - ".join([*several, PAUSE.replace("librarian", "meta_loop")])
    assert len([one for one in problems(tmp_path, every, "") if "can never pass" in one]) == 1


def test_a_pool_is_refused_only_when_each_of_its_faults_strikes_every_route(tmp_path: Path) -> None:
    for other, refused in ((PAUSE, False), (API.replace("pause_seconds: 5", "pause_seconds: 6"), True)):
        path = tmp_path / "pool.yaml"
        pool = f"fault_pool:\n  - {API}\n  - {other}\nexecution: {{random_selection: 1}}\n"
        path.write_text(f"scenario_id: mine\ncategory: layer1\n{pool}")
        for seed in range(1, 5):
            told = []
            try:
                build_plan(load_file(path)[0], PaperTarget(), Options(seed=seed), UNITS)
            except ScenarioError as error:
                told = error.problems
            assert bool(told) is refused, told


def test_each_check_that_may_say_never_is_tried_here() -> None:
    saying = {name for name, kind in catalog.checks().items() if hasattr(kind, "never")}
    own = {"safeguard_engaged", "playbook_ran", "all_safeguards_triggered", "metric", "restarted"}
    tried = {"invalid_rejected", "playbooks_concurrent", "each_fault_detected", "alerts_raised", "playbooks_repeat"}
    tried |= {"all_requests_processed", "config_restored", "snapshot_regenerated", "models_restored", "log_restored"}
    assert saying <= own | tried | {"fallback_model_activated", "backlog_worked_off"} | set(BY_ROUTES)
