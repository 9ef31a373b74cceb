"""A record says what the folder says: detections, pairs of events, windows, peaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.checks.metric import Metric
from harness.metrics import METRICS
from harness.model import Kind, Verdict
from harness.plan import plan_from_json
from harness.record import Record, Series
from harness.traffic import RequestRow
from tests.drafts import CPU_END, END, INJECTED, INTENT, RECOVERED, healthy


def test_detection_is_told_from_injection_and_from_attainment(tmp_path: Path) -> None:
    record = healthy().record(tmp_path)
    flood, spike = record.detection("acl_flood"), record.detection("cpu_spike")
    assert flood is not None and spike is not None
    assert flood.safeguard == "acl_violation_monitor"
    assert flood.after_injected_s == pytest.approx(0.05)
    assert flood.after_attained_s == 0.0, "detected before it had reached its magnitude"
    assert spike.after_attained_s == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("at_s", "subject"),
    [(INJECTED - 0.5, "cpu"), (CPU_END + 30.5, "cpu"), (12.0, "memory")],
    ids=["before it was injected", "too late", "about something else"],
)
def test_what_is_no_detection(tmp_path: Path, at_s: float, subject: str) -> None:
    draft = healthy().change(Kind.SAFEGUARD_ENGAGED, "resource_pressure_monitor", at_s=at_s, subject=subject)
    assert draft.record(tmp_path).detection("cpu_spike") is None


def test_a_safeguard_that_does_not_cover_a_fault_did_not_detect_it(tmp_path: Path) -> None:
    draft = healthy().drop(Kind.SAFEGUARD_ENGAGED, "resource_pressure_monitor")
    draft.add(10.0, Kind.SAFEGUARD_ENGAGED, "kernel_watchdog", "control_plane", subject="cpu", incident_id="other")
    assert draft.record(tmp_path).detection("cpu_spike") is None


def test_a_release_belongs_to_the_engagement_of_its_incident(tmp_path: Path) -> None:
    draft = healthy()
    draft.add(13.0, Kind.SAFEGUARD_ENGAGED, "kernel_watchdog", "control_plane", subject="librarian", incident_id="two")
    first, second = (one for one in draft.record(tmp_path).engagements if one.safeguard == "kernel_watchdog")
    assert first.subject == "memory_fusion" and first.released is not None
    assert second.subject == "librarian" and second.released is None


def test_recovery_counts_from_the_end_of_the_last_fault(tmp_path: Path) -> None:
    assert healthy().record(tmp_path / "a").recovery_s == pytest.approx(RECOVERED - CPU_END)
    unended = healthy().drop(Kind.FAULT_ENDED, "cpu_spike").record(tmp_path / "b")
    assert unended.last_fault_end_s is None and unended.recovery_s is None


def test_violations_count_from_the_end_of_the_baseline(tmp_path: Path) -> None:
    found = METRICS["message_bus.acl_violations"](healthy().record(tmp_path / "a"))
    assert found is not None and found[0] == pytest.approx(7100, abs=1), "the 3 of before the run are not counted"
    old = healthy().hold("message_bus.acl_violations", 9000.0).record(tmp_path / "b")
    assert METRICS["message_bus.acl_violations"](old) == (0.0, found[1])


@pytest.mark.parametrize("name", ["latency_p50", "latency_p95", "latency_p99", "flood_latency_p99"])
def test_a_percentile_of_a_few_requests_is_not_known(tmp_path: Path, name: str) -> None:
    for folder, count, known in (("a", 19, False), ("b", 20, True)):
        draft = healthy()
        user = "htm_flood" if name.startswith("flood") else "legitimate"
        draft.requests = [RequestRow(12.0, user, INTENT, "ok", 200, count, ((5, count),))]
        draft.requests.append(RequestRow(12.0, user, INTENT, "limited", 429, 50, ((1, 50),)))
        record = draft.record(tmp_path / folder)
        assert (METRICS[name](record) is not None) is known
        told = Metric(claim="it is fast", metric=name, op="<", number=9.0).check(record)
        words = f"{name} is 5" if known else f"{name} was not measured on at least 20 requests"
        assert told.verdict is (Verdict.PASS if known else Verdict.INCONCLUSIVE) and told.because == words


@pytest.mark.parametrize("name", sorted(METRICS))
def test_what_was_not_measured_is_unknown_and_not_zero(tmp_path: Path, name: str) -> None:
    draft = healthy()
    draft.requests.append(RequestRow(12.0, "htm_flood", INTENT, "ok", 200, 30, ((5, 30),)))
    draft.signals += [(END - 2, "htm_queue_depth", "", 3.0)]
    assert METRICS[name](draft.record(tmp_path / "a")) is not None
    draft.signals, draft.requests = [], []
    assert METRICS[name](draft.record(tmp_path / "b")) is None


def test_the_floods_figures_are_of_the_attack_alone_and_a_right_refusal_is_none_of_its_failures(tmp_path: Path) -> None:
    draft = healthy()
    draft.requests += [
        RequestRow(12.0, "htm_flood", INTENT, "ok", 200, 90, ((40, 90),)),
        RequestRow(12.1, "htm_flood", INTENT, "rejected", 422, 8, ((70, 8),)),
        RequestRow(12.2, "htm_flood", INTENT, "limited", 429, 100, ((9000, 100),)),
        RequestRow(12.3, "htm_flood", INTENT, "failed", 500, 2, ((800, 2),)),
    ]
    record = draft.record(tmp_path)
    slowest = METRICS["flood_latency_p99"](record)
    assert slowest is not None and slowest[0] == 800.0 and len(slowest[1]) == 1
    failed = METRICS["flood_failure_percent"](record)
    assert failed is not None and failed == (1.0, slowest[1])
    assert METRICS["latency_p99"](record)[0] < 2100  # type: ignore[index]


def test_a_peak_before_the_faults_is_not_theirs(tmp_path: Path) -> None:
    draft = healthy().hold("cpu_percent", 30.0)
    draft.signals = [(a, n, s, 99.0 if n == "cpu_percent" and a < 7 else v) for a, n, s, v in draft.signals]
    assert METRICS["cpu_usage_peak"](draft.record(tmp_path))[0] == 30.0  # type: ignore[index]


def test_a_fault_that_fell_short_says_what_kept_it(tmp_path: Path) -> None:
    told = "its time is up; at most 70 % was reached; the floor of free memory is kept"
    draft = healthy().change(Kind.FAULT_ENDED, "cpu_spike", because=told)
    assert draft.record(tmp_path / "a").fault("cpu_spike").shortfall == "", "it was attained all the same"
    draft.drop(Kind.FAULT_ATTAINED, "cpu_spike")
    short = draft.record(tmp_path / "b").fault("cpu_spike").shortfall
    assert short == "it never reached 85 %; at most 70 % was reached; the floor of free memory is kept"
    draft.change(Kind.FAULT_ENDED, "cpu_spike", because="its time is up")
    assert draft.record(tmp_path / "c").fault("cpu_spike").shortfall == "it never reached 85 %"


def test_memory_is_short_where_the_target_has_less_of_it(tmp_path: Path) -> None:
    draft = healthy()
    assert METRICS["memory_usage_peak"](draft.record(tmp_path / "a"))[0] == 41.0  # type: ignore[index]
    draft.signals += [(a, n, "target", 88.0) for a, n, s, _ in draft.signals if n == "memory_percent"]
    draft.signals += [(a, n, "stranger", 99.0) for a, n, s, _ in draft.signals if n == "memory_percent"]
    assert METRICS["memory_usage_peak"](draft.record(tmp_path / "b"))[0] == 88.0  # type: ignore[index]


def test_a_peak_is_a_mean_and_not_one_sample() -> None:
    rows = tuple((half / 2, 100.0 if half == 10 else 0.0, half) for half in range(21))
    best = Series(rows).highest_mean(2.0)
    assert best is not None and best[0] == pytest.approx(20.0)
    assert Series(rows[:3]).highest_mean(2.0) is None, "one second is no window of two"


@pytest.mark.parametrize("text", ["", "nope", "[]", "{}", '{"steps": 5}'])
def test_what_is_not_a_plan_is_said_in_words(text: str) -> None:
    with pytest.raises(ValueError):
        plan_from_json(text)


def test_a_folder_that_is_not_a_run_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Record.load(tmp_path)
