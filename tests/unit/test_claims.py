"""A verification has one of three forms, and every word of it is known; all else is refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from harness import catalog
from harness.claims import ALIASES, ClaimError, parse

CHECKS, KERNELS = ["all_faults_injected"], ["librarian"]
METRICS = {"latency_p99": "ms", "cpu_usage_peak": "%", "bus.refusals": ""}


@pytest.mark.parametrize(
    ("text", "check", "args"),
    [
        ("all_faults_injected", "all_faults_injected", {}),
        ("librarian restarted within 60s", "restarted", {"kernel": "librarian", "within_s": 60.0}),
        ("librarian restarted within 2.5 s", "restarted", {"kernel": "librarian", "within_s": 2.5}),
        ("cpu_usage_peak >= 85", "metric", {"metric": "cpu_usage_peak", "op": ">=", "number": 85.0}),
        ("cpu_usage_peak>85%", "metric", {"metric": "cpu_usage_peak", "op": ">", "number": 85.0}),
        ("latency_p99 < 5000ms", "metric", {"metric": "latency_p99", "op": "<", "number": 5000.0}),
        ("latency_p99 <= 1.5 s", "metric", {"metric": "latency_p99", "op": "<=", "number": 1500.0}),
        ("latency_p99 == 7", "metric", {"metric": "latency_p99", "op": "==", "number": 7.0}),
    ],
)
def test_the_three_forms(text: str, check: str, args: dict[str, Any]) -> None:
    claim = parse(text, CHECKS, METRICS, KERNELS)
    assert (claim.claim, claim.check, dict(claim.args)) == (text, check, args)


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_a_name_of_old_means_a_check_that_is_there(name: str) -> None:
    claim = parse(name, catalog.plain_checks(), METRICS, KERNELS)
    assert (claim.claim, claim.check) == (name, ALIASES[name]), "it is told in the scenario's own word"
    with pytest.raises(ClaimError, match=f"no check is called '{name}'"):
        parse(name, CHECKS, METRICS, KERNELS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all_fault_injected", "no check is called 'all_fault_injected'. Did you mean 'all_faults_injected'?"),
        (
            "librarien restarted within 9s",
            "no kernel is called 'librarien'. Did you mean 'librarian'?",
        ),
        ("latency_p9 < 5ms", "no metric is called 'latency_p9'. Did you mean 'latency_p99'?"),
        ("latency_p99 < 5 days", "'days'"),
        ("librarian restarted within soon", "has none of the three forms"),
        ("cpu_usage_peak => 85", "has none of the three forms"),
        ("cpu_usage_peak >= -5", "has none of the three forms"),
        ("cpu_usage_peak >= 85 or True", "has none of the three forms"),
        ("__import__('os').getpid() > 1", "has none of the three forms"),
        ("", "has none of the three forms"),
    ],
)
def test_all_else_is_refused_with_the_nearest_word(text: str, message: str) -> None:
    with pytest.raises(ClaimError) as caught:
        parse(text, CHECKS, METRICS, KERNELS)
    assert message in str(caught.value)
