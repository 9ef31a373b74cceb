"""Which alarm a fault explains: by its type and the safeguard, never by a name alone, nor by the alarm's own doing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import catalog
from harness.alarms import FAULTS, NOTHING, WITNESS, alarms
from harness.expect import explained_alarms
from harness.model import Kind, Verdict
from tests.checks.test_bystanders import WATCHDOG, draft, engaged, judged, permitted, signal
from tests.drafts import Draft
from twin.config import SAFEGUARDS

STEP, SUBJECT = "kernel_pause", "memory_fusion"
TYPES = tuple(sorted(catalog.faults()))
TOLD = "processes"
# what names the subject of a fault and is explained by it; besides, disk_full only where the disk is the log's
ABOUT_CALLS = {"dependency_breaker", "dependency_latency_monitor", "error_recognition_system"}
OF_A_KERNEL = {"kernel_pause", "kernel_kill", "heartbeat_block"}
OF_A_LINK = {"network_latency", "network_loss", "network_partition", "connection_reset"}


def of_type(made: Draft, kind: str, **changes: object) -> Draft:
    """The pause of memory_fusion becomes a fault of another type, which no safeguard is expected to detect."""
    steps = tuple(
        replace(one, type=kind, **changes) if one.step_id == STEP else one  # type: ignore[arg-type]
        for one in made.plan.steps
    )
    made.plan = replace(made.plan, steps=steps, coverage={**made.plan.coverage, STEP: ()})
    return made


def cause(made: Draft, folder: Path, safeguard: str, subject: str) -> str:
    found = [one for one in alarms(made.record(folder)) if one.name == f"{safeguard}({subject})"]
    return found[-1].cause


@pytest.mark.parametrize("kind", TYPES)
def test_a_fault_explains_the_safeguards_of_its_type_and_no_other(tmp_path: Path, kind: str) -> None:
    rows = {row["safeguard"]: row for row in explained_alarms().get(kind, ())}
    for number, safeguard in enumerate(SAFEGUARDS):
        row = rows.get(safeguard, {})
        subject = row.get("subject") or SUBJECT
        made = of_type(draft(), kind)
        made.drop(Kind.SAFEGUARD_ENGAGED, WATCHDOG)
        engaged(safeguard, subject)(made)
        made.silence("kernel_heartbeat_age_s")
        explained = cause(made, tmp_path / str(number), safeguard, subject) == FAULTS
        assert explained is (bool(row) and "only" not in row), safeguard


def test_the_table_of_what_is_explained_is_this_one() -> None:
    found = {kind: {row["safeguard"] for row in rows} for kind, rows in explained_alarms().items()}
    assert set(found) <= set(TYPES) and set().union(*found.values()) <= set(SAFEGUARDS)
    assert {kind for kind, names in found.items() if "kernel_watchdog" in names} == OF_A_KERNEL
    assert {kind for kind, names in found.items() if "dependency_breaker" in names} == (
        OF_A_KERNEL | OF_A_LINK | {"disk_full"}
    )
    assert all(found[kind] - {"kernel_watchdog"} == ABOUT_CALLS for kind in OF_A_KERNEL | OF_A_LINK)
    assert {kind for kind, names in found.items() if "log_write_guard" in names} == {"disk_full"}
    assert {kind for kind, names in found.items() if "drift_detector" in names} == {"model_degradation"}


@pytest.mark.parametrize(
    ("safeguard", "subject", "verdict"),
    [
        ("kernel_watchdog", "message_bus", Verdict.FAIL),
        ("drift_detector", "memory_fusion", Verdict.FAIL),
        ("log_integrity_monitor", "memory_fusion", Verdict.FAIL),
        ("model_integrity_check", "rogue_kernel", Verdict.FAIL),
        ("acl_violation_monitor", "message_bus", Verdict.FAIL),
        ("rate_limiter", "rogue_kernel", Verdict.INCONCLUSIVE),  # nobody knows who that is
        ("intent_validator", "rogue_kernel", Verdict.INCONCLUSIVE),
        ("dependency_latency_monitor", "memory_fusion", Verdict.PASS),
        ("dependency_breaker", "memory_fusion", Verdict.PASS),
    ],
)
def test_a_name_alone_excuses_no_alarm(tmp_path: Path, safeguard: str, subject: str, verdict: Verdict) -> None:
    made = draft()
    engaged(safeguard, subject)(made)
    code = {Verdict.FAIL: "false_alarm", Verdict.PASS: "shown", Verdict.INCONCLUSIVE: "alarm_unwitnessed"}[verdict]
    found = judged(made, tmp_path)
    assert (found.verdict, found.code) == (verdict, f"bystanders_unharmed.{code}"), found.because


@pytest.mark.parametrize("step", ["acl_flood", "cpu_spike", "kernel_pause"])
def test_detected_by_nobody_takes_no_explanation_away(tmp_path: Path, step: str) -> None:
    made = draft()
    made.plan = replace(made.plan, coverage={**made.plan.coverage, step: ()}, subjects={})
    made.signals = [row for row in made.signals if row[1] not in ("cpu_percent", "kernel_heartbeat_age_s")]
    found = judged(made, tmp_path)
    assert found.verdict is Verdict.PASS, found.because


def test_a_safeguard_that_only_the_scenario_names_is_explained_by_it(tmp_path: Path) -> None:
    made = draft()
    permitted(blacklisted=9)(made)
    assert cause(made, tmp_path, "acl_violation_monitor", "rogue_kernel") == FAULTS


@pytest.mark.parametrize(
    ("path", "target", "facts", "expected"),
    [
        ("state", "machine", {"holds": ["logs", "state"]}, NOTHING),
        ("state", "machine", {}, NOTHING),
        ("state", "machine", {"holds": ["immutable_log", "state"]}, FAULTS),
        ("audit_disk", "machine", {}, FAULTS),
        ("state", "immutable_log", {}, FAULTS),
        ("/somewhere/log", "machine", {"holds": ["audit_disk"]}, FAULTS),
        ("/somewhere/else", "machine", {"holds": []}, NOTHING),
    ],
)
def test_a_full_disk_explains_the_log_only_where_that_is(
    tmp_path: Path, path: str, target: str, facts: dict[str, object], expected: str
) -> None:
    made = of_type(draft(), "disk_full", subject="disk", target=target, kernels=(), params={"path": path})
    made.change(Kind.FAULT_INJECTED, STEP, **facts)
    engaged("log_write_guard", "immutable_log")(made)
    assert cause(made, tmp_path, "log_write_guard", "immutable_log") == expected


# What an alarm has done itself is no cause of it


def killed(made: Draft, name: str, at_s: float, pid: int = 2) -> None:
    made.add(at_s, Kind.KERNEL_CHANGED, name, TOLD, what="process", old_pid=1, pid=pid)


def restart(made: Draft, name: str, incident: str, at_s: float) -> None:
    about = {"subject": name, "incident_id": incident}
    made.add(at_s, Kind.PLAYBOOK_STARTED, "kernel_restart", "control_plane", **about)
    made.add(at_s + 0.3, Kind.PLAYBOOK_FINISHED, "kernel_restart", "control_plane", **about, outcome="succeeded")


@pytest.mark.parametrize(
    ("safeguard", "name"), [("worker_watchdog", "htm_worker_1"), (WATCHDOG, "sandbox"), ("thread_timeout", "htm_1")]
)
def test_the_kill_of_an_alarm_is_not_its_excuse(tmp_path: Path, safeguard: str, name: str) -> None:
    made = draft()
    signal("kernel_heartbeat_age_s", name, 0.2, 0.0, 36.0)(made)
    engaged(safeguard, name, 25.0, 27.0)(made)
    killed(made, name, 25.4)
    found = judged(made, tmp_path / "kill")
    assert (found.verdict, found.code) == (Verdict.FAIL, "bystanders_unharmed.false_alarm")
    killed(made, name, 24.5)
    assert cause(made, tmp_path / "died", safeguard, name) == WITNESS


def test_the_kill_of_an_earlier_alarm_excuses_no_later_one(tmp_path: Path) -> None:
    made = of_type(draft(), "network_latency")
    signal("kernel_heartbeat_age_s", "sandbox", 0.2, 0.0, 36.0)(made)
    killed(made, "sandbox", 17.0)  # nobody's playbook
    for at_s in (18.0, 21.0):
        engaged(WATCHDOG, "sandbox", at_s, at_s + 1.5, incident_id=f"{at_s}")(made)
        restart(made, "sandbox", f"{at_s}", at_s + 0.01)
        killed(made, "sandbox", at_s + 0.2)
    causes = [one.cause for one in alarms(made.record(tmp_path)) if one.engagement.subject == "sandbox"]
    assert causes == [WITNESS, WITNESS]
    made.events = [e for e in made.events if (e.kind, e.at_s) != (Kind.KERNEL_CHANGED, 17.0)]
    causes = [one.cause for one in alarms(made.record(tmp_path / "alone")) if one.engagement.subject == "sandbox"]
    assert causes == [NOTHING, NOTHING]


@pytest.mark.parametrize("kind", sorted(OF_A_LINK))
def test_a_slow_link_excuses_no_watchdog(tmp_path: Path, kind: str) -> None:
    made = of_type(draft(), kind, kernels=(), target="api_server->memory_fusion")
    made.drop(Kind.SAFEGUARD_ENGAGED, WATCHDOG).drop(Kind.KERNEL_CHANGED, SUBJECT)
    made.signals = [(a, n, s, 0.2 if n == "kernel_heartbeat_age_s" else v) for a, n, s, v in made.signals]
    assert judged(made, tmp_path / "well").verdict is Verdict.PASS
    engaged(WATCHDOG, SUBJECT, 10.0, 11.5)(made)
    killed(made, SUBJECT, 10.5)
    assert judged(made, tmp_path / "killed").code == "bystanders_unharmed.false_alarm"


@pytest.mark.parametrize(
    ("kernel", "at_s", "expected"),
    [("scheduler", 25.0, WITNESS), ("librarian", 25.0, NOTHING), ("scheduler", 60.0, NOTHING)],
)
def test_a_struck_scheduler_may_take_its_workers_along(tmp_path: Path, kernel: str, at_s: float, expected: str) -> None:
    made = of_type(draft(), "kernel_pause", kernels=(kernel,), subject=kernel, target=kernel)
    made.signals += [(at_s + 0.2 * step, "cpu_percent", "", 20.0) for step in range(-30, 10)]
    engaged("worker_watchdog", "htm_worker_1", at_s, at_s + 2.0)(made)
    assert cause(made, tmp_path, "worker_watchdog", "htm_worker_1") == expected
