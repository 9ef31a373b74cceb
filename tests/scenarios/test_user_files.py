"""Somebody's own scenario file runs unchanged, or each wrong word is named with its line and the nearest known one."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import catalog
from harness.catalog import NOT_YET
from harness.contracts import Target
from harness.metrics import UNITS
from harness.plan import Options, build_plan, describe
from harness.proofread import paper, proofread
from harness.scenario import load_file, shipped
from harness.suite import RunRefused, enhanced_chaos_runner

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def grace() -> Iterator[Target]:
    with paper(None) as target:
        yield target


# What scenarios for Grace are made of, with the params that they use.
FAULTS = [
    "{type: acl_flood, target: message_bus, params: {messages_per_second: 1000, duration_seconds: 60,"
    " blocked_actor: rogue_kernel}}",
    "{type: cpu_spike, target: system, params: {cpu_percent: 90, duration_seconds: 60}}",
    "{type: cpu_pressure, params: {cpu_percent: 75, duration_seconds: 120}}",
    "{type: memory_pressure, params: {memory_percent: 85, duration_seconds: 60}}",
    "{type: disk_io_saturation, params: {io_ops_per_second: 5000, duration_seconds: 60}}",
    "{type: kernel_pause, target: memory_fusion, params: {pause_seconds: 45}}",
    "{type: model_corruption, params: {corrupt_files: [classifier_model.pkl, trust_scorer.pkl],"
    " corruption_type: truncate}}",
    "{type: snapshot_corruption, params: {corrupt_keys: [memory_index, governance_rules]}}",
    "{type: network_latency, target: memory_fusion, params: {latency_ms: 400, duration_seconds: 60}}",
    "{type: api_spam, params: {endpoint: /api/chat, requests: 1000}}",
]
INJECTIONS = [
    "{type: api_flood, endpoint: /api/htm/intents, total_requests: 10000, invalid_ratio: 0.5, concurrency: 100,"
    " duration_seconds: 90}",
    "{type: api_flood, endpoint: /api/governance/check, params: {total_requests: 1000, concurrency: 50,"
    " payload: {actor: chaos_tester, action: critical_operation, resource: production_database}}}",
    "{type: api_spam, endpoint: /api/meta_loop/retrospective, count: 100, component: htm}",
    "{type: code_patch, target: htm, patch: infinite_loop, location: 'twin.htm_worker:execute'}",
    "{type: model_degradation, model_id: upstream_model, degradation_type: random_outputs, confidence_drop: 0.4,"
    " duration_seconds: 180}",
    "{type: kernel_kill, targets: [self_healing, coding_agent], kill_method: SIGKILL}",
]
LATER = [
    "{type: external_attack, attack_type: malicious_client, endpoints: [/api/chat], requests_per_second: 100,"
    " duration_seconds: 120, malformations: [invalid_json, xss_payload]}",
    "{type: instance_kill, target_instance: grace_instance_1, kill_method: SIGKILL,"
    " expected_failover_to: grace_instance_2}",
    "{type: byzantine_injection, target_kernel: governance, behaviors: [conflicting_decisions], duration_seconds: 180}",
    "{type: data_poisoning, target: knowledge, injection_rate: 10_per_minute, poison_type: adversarial,"
    " duration_seconds: 300, subtlety: high}",
    "{type: dependency_deadlock, chain: [{kernel: governance, waits_for: memory_fusion}], timeout_disabled: true}",
]


def kind_of(text: str) -> str:
    return text.partition("type: ")[2].partition(",")[0]


def said(folder: Path, text: str, target: Target) -> list[str]:
    path = folder / "mine.yaml"
    path.write_text(text)
    return [one.removeprefix(f"{folder}/") for one in proofread(path, target)[1]]


@pytest.mark.parametrize("fault", FAULTS, ids=kind_of)
def test_a_fault_with_the_params_in_use_is_read_as_it_stands(fault: str, tmp_path: Path, grace: Target) -> None:
    text = f"scenario_id: X\nfaults:\n- {fault}\n"
    assert said(tmp_path, text, grace) == []
    plan, _ = build_plan(load_file(tmp_path / "mine.yaml")[0], grace, Options(seed=1), UNITS)
    assert [step.type for step in plan.steps] == [kind_of(fault)] and not plan.not_applicable


@pytest.mark.parametrize("injection", INJECTIONS, ids=kind_of)
def test_an_injection_with_the_params_in_use_is_read_as_it_stands(
    injection: str, tmp_path: Path, grace: Target
) -> None:
    text = f"scenario_id: X\ncategory: layer2\ninjection: {injection}\n"
    assert said(tmp_path, text, grace) == []
    plan, _ = build_plan(load_file(tmp_path / "mine.yaml")[0], grace, Options(seed=1), UNITS)
    assert [step.type for step in plan.steps] == [kind_of(injection)] and not plan.not_applicable


@pytest.mark.parametrize("injection", LATER, ids=kind_of)
def test_what_is_not_here_yet_is_no_slip_of_the_pen(injection: str, tmp_path: Path, grace: Target) -> None:
    kind = kind_of(injection)
    if kind in catalog.faults():  # it has come: then it is read like the others
        assert said(tmp_path, f"scenario_id: X\ncategory: external\ninjection: {injection}\n", grace) == []
        return
    (one,) = said(tmp_path, f"scenario_id: X\ncategory: external\ninjection: {injection}\n", grace)
    assert one.startswith(f"mine.yaml:3: injection: '{kind}' is known, but this version has no injector for it. Known:")
    assert kind in NOT_YET and "Did you mean" not in one


def test_what_ships_is_right_and_together_in_one_file_as_well(tmp_path: Path, grace: Target) -> None:
    for path in shipped().values():
        assert proofread(path, grace)[1] == [], path
    both = ["- " + path.read_text().replace("\n", "\n  ").rstrip() + "\n" for path in list(shipped().values())[:2]]
    assert said(tmp_path, "".join(both), grace) == []


GOOD = """scenario_id: X
category: multi_fault
prerequisites: [librarian]
expected_safeguards: [kernel_watchdog]
expected_playbooks: [kernel_restart]
detected_by: {kernel_pause: [kernel_watchdog]}
execution: {spacing_seconds: 5}
faults:
- {type: kernel_pause, target: librarian, params: {pause_seconds: 20}}
- {type: network_latency, target: memory_fusion, params: {latency_ms: 100, duration_seconds: 20}}
- {type: worker_dropout, target: htm}
- {type: kernel_kill, params: {targets: [sandbox]}}
- {type: api_spam, params: {endpoint: /api/chat, requests: 10}}
- {type: model_corruption, target: models, params: {corrupt_files: [trust_scorer.pkl]}}
verification: [librarian restarted within 60s, latency_p99 < 5000ms, all_safeguards_triggered]
"""
WRONG = [
    ("scenario_id: X", "scenario_id: X\nverificaton: []", 2, "'verificaton'", "verification"),
    ("multi_fault", "multi_falt", 2, "'multi_falt'", "multi_fault"),
    ("[librarian]", "[librarien]", 3, "'librarien'", "librarian"),
    ("safeguards: [kernel_watchdog]", "safeguards: [kernel_wachdog]", 4, "'kernel_wachdog'", "kernel_watchdog"),
    ("[kernel_restart]", "[kernel_restat]", 5, "'kernel_restat'", "kernel_restart"),
    ("{kernel_pause: [", "{kernel_pose: [", 6, "'kernel_pose'", "kernel_pause"),
    ("pause: [kernel_watchdog]", "pause: [kernel_wachdog]", 6, "'kernel_wachdog'", "kernel_watchdog"),
    ("spacing_seconds: 5", "spacing: 5", 7, "'spacing'", "spacing_seconds"),
    ("type: kernel_pause", "type: kernel_pase", 9, "'kernel_pase'", "kernel_pause"),
    ("target: librarian", "target: libraran", 9, "'libraran'", "librarian"),
    ("pause_seconds: 20", "pause_second: 20", 9, "'pause_second'", "pause_seconds"),
    ("target: memory_fusion", "target: memory_fuson", 10, "'memory_fuson'", "memory_fusion"),
    ("target: htm", "target: htmm", 11, "'htmm'", "htm"),
    ("[sandbox]", "[sandbx]", 12, "'sandbx'", "sandbox"),
    ("target: models", "target: model", 14, "'model'", "models"),
    ("librarian restarted", "libraran restarted", 15, "'libraran'", "librarian"),
    ("latency_p99 <", "latency_p9 <", 15, "'latency_p9'", "latency_p9"),
    (
        "all_safeguards_triggered",
        "all_safeguard_triggered",
        15,
        "'all_safeguard_triggered'",
        "all_safeguards_triggered",
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "culprit", "near"), WRONG, ids=[row[3] + row[0] for row in WRONG])
def test_a_wrong_word_is_named_with_its_line_and_the_nearest(
    old: str, new: str, line: int, culprit: str, near: str, tmp_path: Path, grace: Target
) -> None:
    assert said(tmp_path, GOOD, grace) == []
    found = said(tmp_path, GOOD.replace(old, new, 1), grace)
    wanted = [one for one in found if one.startswith(f"mine.yaml:{line}: ") and culprit in one]
    assert wanted and any(f"Did you mean '{near}" in one for one in wanted), found
    assert all("Known: " in one for one in wanted), "the choices"


def test_an_unknown_route_is_named(tmp_path: Path, grace: Target) -> None:
    (one,) = said(tmp_path, GOOD.replace("/api/chat", "/api/chatt"), grace)
    assert one.startswith("mine.yaml:13: faults[4]: api_spam: the target has no route 'POST /api/chatt'")


@pytest.mark.parametrize("aim", ["librarian", "machine", "system"])
def test_a_shortage_that_is_aimed_at_one_kernel_says_that_it_is_for_all(
    aim: str, tmp_path: Path, grace: Target
) -> None:
    path = tmp_path / "mine.yaml"
    spike = f"{{type: cpu_spike, target: {aim}, params: {{cpu_percent: 50, duration_seconds: 20}}}}"
    path.write_text(f"scenario_id: X\nfaults: [{spike}]\n")
    plan, _ = build_plan(load_file(path)[0], grace, Options(seed=1), UNITS)
    told = "  cpu_spike is not for librarian alone: it makes the whole machine short" in describe(plan)
    assert told == (aim == "librarian")


@pytest.mark.parametrize("key", ["telemetry", "diagnostics", "load_profile", "partition", "owner", "notes"])
def test_a_key_that_nothing_reads_is_refused_with_its_line_and_no_guess(
    key: str, tmp_path: Path, grace: Target
) -> None:
    """It may be what makes the scenario mean something: it is never dropped, and never taken for another."""
    (one,) = said(tmp_path, f"{GOOD}{key}: {{a: 1}}\n", grace)
    assert one.startswith(f"mine.yaml:16: scenario: no key is called '{key}'. Known: ")
    (one,) = said(tmp_path, GOOD.replace("pause_seconds: 20", f"pause_seconds: 20, {key}: 1"), grace)
    assert one.startswith(f"mine.yaml:9: faults[0]: kernel_pause has no parameter '{key}'. Known: ")
    (one,) = said(tmp_path, GOOD.replace("spacing_seconds: 5", f"spacing_seconds: 5, {key}: 1"), grace)
    assert one.startswith(f"mine.yaml:7: execution: no key is called '{key}'. Known: ")


@pytest.mark.parametrize(("written", "read"), [("010", "8"), ("1:30", "90"), ("-0_7", "-7"), ("1:30.5", "90.5")])
def test_a_number_in_disguise_is_refused(written: str, read: str, tmp_path: Path, grace: Target) -> None:
    found = said(tmp_path, GOOD.replace("pause_seconds: 20", f"pause_seconds: {written}"), grace)
    assert any(f"'{written}' is read as {read}: write that, or put it in quotes" in one for one in found), found


def test_a_culprit_of_any_length_is_shown_short(tmp_path: Path, grace: Target) -> None:
    found = said(tmp_path, GOOD.replace("type: kernel_pause", f"type: {'x' * 5000}"), grace)
    found += said(tmp_path, GOOD.replace("pause_seconds: 20", f"pause_seconds: {'9' * 4000}"), grace)
    assert len(found) >= 2 and all(len(one) < 1000 for one in found)


BITS = (
    "~",
    "[]",
    "{}",
    "-1",
    ".nan",
    "true",
    "[a, b]",
    "{a: 1}",
    "!!x 1",
    "*a",
    "\t",
    ": ",
    '"',
    "9" * 20,
    "\x00",
    "0x10",
)


def test_whatever_becomes_of_a_shipped_file_it_is_read_or_refused_in_lines(tmp_path: Path, grace: Target) -> None:
    generator = random.Random(5)
    texts = [path.read_text() for path in shipped().values()]
    for _ in range(400):
        lines = generator.choice(texts).split("\n")
        for _ in range(generator.randint(1, 3)):
            at = generator.randrange(len(lines))
            key, bit = lines[at].partition(":")[0], generator.choice(BITS)
            lines[at] = generator.choice([f"{key}: {bit}", lines[at] + bit, bit + lines[at], generator.choice(lines)])
        for one in said(tmp_path, "\n".join(lines), grace):
            assert one.startswith("mine.yaml:") and "\n" not in one, one


# Every way in


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)


WAYS = {
    "lint": ("harness.cli", "lint", "{file}"),
    "lint one": ("harness.cli", "lint", "{file}#X"),
    "plan": ("harness.cli", "plan", "{file}", "--target", "{target}"),
    "run": ("harness.cli", "run", "{file}", "--out", "{out}"),
    "run several": ("harness.cli", "run", "MF01_triple_threat", "{file}", "--out", "{out}"),
    "locust": ("locust", "-f", "locustfiles/grace.py", "--headless", "--scenario", "{file}", "--out", "{out}"),
    "locust one": ("locust", "-f", "locustfiles/grace.py", "--headless", "--scenario", "{file}#X", "--out", "{out}"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_in_refuses_a_named_file_alike(way: str, tmp_path: Path, grace: Target) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("type: kernel_pause", "type: kernel_pase").replace("latency_p99", "latency_p9"))
    places = {"file": str(path), "out": str(tmp_path / "out"), "target": str(grace.paths["root"] / "target.yaml")}
    done = run(*(word.format(**places) for word in WAYS[way]))
    assert done.returncode == 2, done.stderr
    assert f"{path}:9: faults[0]: no fault is called 'kernel_pase'. Did you mean 'kernel_pause'?" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()


def test_from_python_it_is_refused_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("all_safeguards_triggered", "all_is_well"))
    with pytest.raises(RunRefused, match="no check is called 'all_is_well'"):
        asyncio.run(enhanced_chaos_runner.run_full_suite(scenarios=[str(path)], out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_lint_says_whose_words_it_means(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("[kernel_restart]", "[my_playbook]"))
    done = run("harness.cli", "lint", str(path))
    assert done.returncode == 2 and done.stderr.endswith("--target FILE judges by those of another system\n")
    path.write_text(GOOD)
    done = run("harness.cli", "lint", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}: X: nothing is wrong\n", "")
