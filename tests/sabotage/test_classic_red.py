"""The original suite without a safeguard, or with a defect planted: each scenario fails and says for want of what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.scenario import find, shipped_classic
from tests.processes import findings, finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SHORTER = ("--time-scale", "0.1", "--seed", "5")
WATCHDOG, ACL, PRESSURE = "kernel_watchdog", "acl_violation_monitor", "resource_pressure_monitor"
CUT_OFF = ("playbook message_bus_acl_violation_fix runs and succeeds", "acl_violation_fix was never started")
SHED = ("playbook resource_pressure_cpu runs and succeeds", "resource_pressure_cpu was never started")


def not_restarted(kernel: str, within_s: int) -> tuple[str, str]:
    return f"check_restarted: {kernel} within {within_s}s", f"no new process for {kernel}"


# scenario → the safeguards that it asks for → what besides is red without one (a claim, and words of the reason)
OFF: dict[str, dict[str, tuple[str, str]]] = {
    "S01_heartbeat_pause": {WATCHDOG: not_restarted("librarian", 30)},
    "S02_acl_spam": {ACL: CUT_OFF},
    "S03_cpu_spike": {PRESSURE: SHED},
    "S04_kernel_crash": {WATCHDOG: not_restarted("coding_agent", 30)},
    "pause_coding_agent_kernel": {WATCHDOG: not_restarted("coding_agent", 60)},
    "kill_librarian_process": {WATCHDOG: not_restarted("librarian", 60)},
    "acl_violation_spam": {ACL: CUT_OFF},
    "cpu_saturation_burst": {PRESSURE: SHED},
    # the second line of defence restores the model all the same
    "corrupt_model_snapshot": {
        "model_integrity_check": ("safeguard model_integrity_check engages", "model_integrity_check did not engage for")
    },
    "config_drift_injection": {"config_drift_guard": ("check_config: restored", "was not mended by the target")},
    "full_stack_breaker": {PRESSURE: SHED, WATCHDOG: not_restarted("sandbox", 60)},
    "heartbeat_stall_30s": {WATCHDOG: not_restarted("memory_fusion", 60)},
    "immutable_log_corruption": {
        "log_integrity_monitor": ("check_log_integrity: valid", "5 of 5 changed entries were not made what they were")
    },
}
# those that ask for none: the defects that turn their claims red
PLANTED: dict[str, tuple[str, str]] = {
    "intent_lost": ("check_work: processed", "accepted intents are lost"),
    "audit_row_dropped": ("check_audit_trail: complete", "decision"),
}
REFUSED = {"allowed_refused": ("check_acl_violations: == 0", "message_bus.acl_violations is ")}
DEFECTS = {"task_topic_flood": {**PLANTED, **REFUSED}, "memory_leak_simulation": PLANTED}
# At the same time in one wave, as many as may be: one of each fault, and none for whose recovery nobody is left.
TOGETHER = (
    *("S01_heartbeat_pause", "S02_acl_spam", "pause_coding_agent_kernel", "cpu_saturation_burst"),
    *("corrupt_model_snapshot", "config_drift_injection", "immutable_log_corruption", "memory_leak_simulation"),
)


def run(scenario: str, out: Path, *words: str) -> tuple[int, dict[str, str], str]:
    """(exit code, {claim: why} of what failed, what was said)."""
    code, said = finish(locust("--scenario", scenario, *SHORTER, *words, out=out), 280)
    found: list[dict[str, Any]] = findings(run_folder(out))
    return code, {one["claim"]: one["because"] for one in found if one["verdict"] == "FAIL"}, said


@pytest.mark.beside
def test_each_of_the_suite_is_seen_red_for_all_that_it_asks_for() -> None:
    asked = {name: set(find(name)[0].expected_safeguards) for name in shipped_classic()}
    assert {name: set(guards) for name, guards in OFF.items()} == {name: one for name, one in asked.items() if one}
    assert set(DEFECTS) == {name for name, one in asked.items() if not one}
    assert all(len(defects) >= 2 for defects in DEFECTS.values())


def test_without_any_of_them_and_with_defects_each_is_named(tmp_path: Path) -> None:
    guards = {guard for name in TOGETHER for guard in OFF.get(name, {})}
    off, plant = ("--safeguards-off", ",".join(sorted(guards))), ("--plant", ",".join(PLANTED))
    code, red, said = run("+".join(TOGETHER), tmp_path, *off, *plant)
    assert code == 1, said[-6000:]
    for name in TOGETHER:
        for guard, (claim, words) in OFF.get(name, {}).items():
            assert guard in red.get(f"{name}: safeguard {guard} engages", ""), (name, red)
            assert words in red.get(f"{name}: {claim}", ""), (name, red)
        for defect, (claim, words) in DEFECTS.get(name, {}).items():
            assert words in red.get(f"{name}: {claim}", ""), (name, defect, red)


@pytest.mark.alone
@pytest.mark.parametrize(("scenario", "guard"), [(name, guard) for name, guards in OFF.items() for guard in guards])
def test_without_a_safeguard_it_fails_and_names_it(tmp_path: Path, scenario: str, guard: str) -> None:
    code, red, said = run(scenario, tmp_path, "--safeguards-off", guard)
    assert code == 1, said[-6000:]
    claim, words = OFF[scenario][guard]
    assert guard in red[f"safeguard {guard} engages"] and words in red[claim], red
    others = {f"safeguard {one} engages" for one in OFF[scenario] if one != guard}
    assert not others & set(red), "what the others saw is not called into question"


@pytest.mark.alone
@pytest.mark.parametrize(("scenario", "defect"), [(name, one) for name, defects in DEFECTS.items() for one in defects])
def test_a_planted_defect_is_found(tmp_path: Path, scenario: str, defect: str) -> None:
    code, red, said = run(scenario, tmp_path, "--plant", defect)
    assert code == 1, said[-6000:]
    claim, words = DEFECTS[scenario][defect]
    assert words in red.get(claim, ""), red
