"""The original suite's file shape: read as it is, or refused with its line, the culprit and the nearest word."""

from __future__ import annotations

import contextlib
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import catalog, claims
from harness.classic import CLASSIC, METHODS
from harness.classic_claims import kernel_of
from harness.metrics import UNITS
from harness.plan import lint
from harness.scenario import ALL, FOLDER, ScenarioError, find, load_file, read_file, shipped, shipped_classic
from harness.suite_entries import entries

ONE = """scenarios:
  - id: one
    name: One
    category: kernel
    severity: high
    injection: {method: pause_kernel, params: {kernel: coding_agent, seconds: 30}}
    expected_recovery: {watchdog: kernel_watchdog, playbook: kernel_restart, max_seconds: 90, coding_agent_task: false}
    verification:
      - check_kernel_state: coding_agent == running
      - check_queue_depth: < 100
      - check_model_checksum: valid
  - id: two
    severity: 4
    injection:
      method: multi_fault
      params:
        methods:
          - {method: cpu_stress, params: {percent: 95, duration_seconds: 45}}
          - {method: kill_process, params: {process: sandbox}}
    conflicts_with: one
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "theirs.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_it_is_read_as_an_ordinary_scenario(tmp_path: Path) -> None:
    one, two = load_file(written(tmp_path, ONE))
    assert (one.scenario_id, one.name, one.category, one.severity) == ("one", "One", "layer1", 3)
    assert one.description == "category kernel", "their word is kept for people"
    (pause,) = one.faults
    assert (pause.type, pause.target, dict(pause.params)) == ("kernel_pause", "coding_agent", {"pause_seconds": 30})
    assert pause.where.endswith("theirs.yaml:6: faults[0]")
    assert (one.expected_safeguards, one.expected_playbooks) == (("kernel_watchdog",), ("kernel_restart",))
    assert (one.max_recovery_time, one.conflicts_with) == (90.0, ())
    texts = [text for text, _ in one.verification]
    assert texts[:2] == ["check_kernel_state: coding_agent == running", "check_queue_depth: < 100"]
    assert one.verification[1][1].endswith("theirs.yaml:10")
    assert [fault.type for fault in two.faults] == ["cpu_spike", "kernel_kill"]
    assert (two.severity, two.category, two.conflicts_with) == (4, "layer1", ("one",))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("method: pause_kernel", "method: pause_kernels", ":6: injection.method: no method is called 'pause_kernels'"),
        ("method: pause_kernel", "method: pause_kernels", "Did you mean 'pause_kernel'?"),
        ("seconds: 30}", "secs: 30}", ":6: injection.params: no key is called 'secs'. Did you mean 'seconds'?"),
        ("seconds: 30}", "seconds: 30, duration: 3}", "'duration' says again what stands here already"),
        ("method: cpu_stress", "method: cpu_stres", ":18: injection.params.methods[0].method: no method"),
        ("severity: high", "severity: hihg", ":5: severity: neither 1 to 5 nor one of theirs: 'hihg'. Did you mean"),
        ("severity: 4", "severity: 9", ":13: severity: a whole number from 1 to 5 is expected, not 9"),
        ("watchdog:", "watchdgo:", ":7: expected_recovery: no key is called 'watchdgo'. Did you mean 'watchdog'?"),
        ("max_seconds: 90", "max_seconds: soon", ":7: expected_recovery.max_seconds: a number from 1 to 3600"),
        ("coding_agent_task: false", "coding_agent_task: true", ":7: expected_recovery.coding_agent_task: nothing"),
        (
            "conflicts_with: one",
            "conflicts_with: ones",
            ":20: conflicts_with: no scenario here is called 'ones'.",
        ),
        ("name: One", "nmae: One", ":3: scenario: no key is called 'nmae'. Did you mean 'name'?"),
        ("scenarios:\n", "telemetry: {}\nscenarios:\n", ":1: file: no key is called 'telemetry'. "),
        ("- id: two", "- name: two", ":12: scenario_id is missing"),
        ("check_queue_depth: < 100", "check_queue_depth: [1]", ":10: verification[1].check_queue_depth: a text is"),
    ],
)
def test_what_is_not_known_is_said_with_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in ONE
    with pytest.raises(ScenarioError) as caught:
        load_file(written(tmp_path, ONE.replace(old, new, 1)))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "check", "args"),
    [
        ("check_kernel_state: a == running", "kernel_state", {"kernel": "a", "state": "running"}),
        ("check_kernel_state: all == running", "kernels_survive", {}),
        ("check_heartbeat: a == fresh", "heartbeat_fresh", {"kernel": "a"}),
        ("check_restarted: a within 60s", "restarted", {"kernel": "a", "within_s": 60.0}),
        ("check_queue_depth: < 100", "metric", {"metric": "queue_depth_at_end", "op": "<", "number": 100.0}),
        ("check_acl_violations: >= 200", "metric", {"metric": "message_bus.acl_violations", "op": ">=", "number": 200}),
        ("check_model_checksum: valid", "models_restored", {}),
        ("check_log_integrity: valid", "log_restored", {}),
        ("check_config_value: a.b == true", "config_value", {"key": "a.b", "value": True}),
        ("check_config_value: a.b == 0.85", "config_value", {"key": "a.b", "value": 0.85}),
        ("check_config_value: a.b == 'on'", "config_value", {"key": "a.b", "value": "on"}),
    ],
)
def test_a_verification_is_a_claim_in_its_own_words(text: str, check: str, args: dict[str, object]) -> None:
    claim = claims.parse(text, (), UNITS, ("a",))
    assert (claim.claim, claim.check, dict(claim.args)) == (text, check, args)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "check_kernel_stat: a == running",
            "is called 'check_kernel_stat'. Did you mean 'check_kernel_state'?",
        ),
        ("check_kernel_state: b == running", "no kernel is called 'b'"),
        ("check_kernel_state: a == runing", "no state is called 'runing'. Did you mean 'running'?"),
        ("check_kernel_state: a is running", "'KERNEL == STATE' is expected, not 'a is running'"),
        ("check_restarted: a == running", "'KERNEL within Ns' is expected"),
        ("check_queue_depth: small", "a comparison such as '< 100' is expected, not 'small'"),
        ("check_queue_depth: < 100ms", "is compared in no unit, not in 'ms'"),
        ("check_model_checksum: vaild", "'vaild' is not known. Did you mean 'valid'?"),
        ("check_config_value: a.b", "'SECTION.KEY == VALUE' is expected, not 'a.b'"),
    ],
)
def test_a_verification_that_is_not_known_is_said(text: str, words: str) -> None:
    with pytest.raises(claims.ClaimError) as caught:
        claims.parse(text, (), UNITS, ("a",))
    assert words in str(caught.value)


def test_whom_a_verification_names() -> None:
    assert kernel_of("check_heartbeat: a == fresh") == "a" and kernel_of("check_api: responsive") == ""


def test_what_is_no_mapping_is_said(tmp_path: Path) -> None:
    for text in (
        "scenarios: 3\n",
        "scenarios: [3]\n",
        "scenarios: []\n",
        "scenarios:\n  - id: [x]\n    injection: 3\n",
    ):
        scenarios, problems = read_file(written(tmp_path, text))
        assert problems and all("theirs.yaml:" in one for one in problems), (text, scenarios)


def test_the_shipped_ones_are_suites_of_their_own() -> None:
    ids = {name: [one.scenario_id for one in load_file(FOLDER / "classic" / f"{name}.yaml")] for name in CLASSIC}
    assert len(ids["waves"]) == 4 and len(ids["layer1"]) == 11
    assert set(shipped_classic()) == {*ids["waves"], *ids["layer1"]} and not set(shipped_classic()) & set(shipped())
    for name, mine in ids.items():
        assert set(mine) == {one.scenario_id for one in entries([*CLASSIC]) if one.category == name}
        assert {one.category for one in find(name)} == {name}
    assert {one.scenario_id for one in entries([ALL])} == set(shipped()), "`all` is the enhanced suite"
    (crash,) = find("S04_kernel_crash")
    assert crash.conflicts_with == ("S02_acl_spam",) and crash.severity == 4
    (entry,) = entries(["S04_kernel_crash"])
    assert entry.word == "S04_kernel_crash"


def test_each_method_is_a_fault_with_such_fields() -> None:
    for name, method in METHODS.items():
        kind = catalog.faults().get(method.type)
        assert kind is not None, name
        known = {one.name for one in fields(kind)}
        assert set(method.words.values()) <= known and set(method.meant) <= known, name


def test_nothing_is_wrong_with_the_words_of_the_shipped_ones() -> None:
    assert not [one.lacks for one in entries([*CLASSIC]) if one.lacks]
    (damage,) = find("corrupt_model_snapshot")[0].faults
    assert (damage.type, damage.target) == ("model_corruption", "models"), "the path decides who looks after it"
    assert damage.params["corruption_type"] == "random_bytes" and damage.params["corrupt_bytes"] == 1024


WEIRD: tuple[Any, ...] = (None, 3, -1, 1e9, [], {}, [1], {"a": 1}, "x", "", True, "2026-01-01", {1: 2})


def spoilt(data: Any, chance: random.Random) -> None:
    """One value somewhere in *data* becomes another, or its key does."""
    while isinstance(data, dict | list) and data:
        key = chance.choice(list(data)) if isinstance(data, dict) else chance.randrange(len(data))
        if chance.random() < 0.25 or not isinstance(data[key], dict | list):
            if isinstance(data, dict) and chance.random() < 0.3:
                data[f"{key}s"] = data.pop(key)
            else:
                data[key] = chance.choice(WEIRD)
            return
        data = data[key]


@pytest.mark.parametrize("name", CLASSIC)
def test_whatever_stands_in_a_file_is_read_or_refused_in_words(tmp_path: Path, name: str) -> None:
    shipped_text = (FOLDER / "classic" / f"{name}.yaml").read_text(encoding="utf-8")
    refused = 0
    for seed in range(60):
        data, chance = yaml.safe_load(shipped_text), random.Random(seed)
        for _ in range(chance.randint(1, 3)):
            spoilt(data, chance)
        scenarios, problems = read_file(written(tmp_path, yaml.safe_dump(data)))
        for one in scenarios:
            with contextlib.suppress(ScenarioError):
                lint(one, UNITS)
        assert all("theirs.yaml:" in problem for problem in problems), problems
        refused += bool(problems)
    assert refused > 20
