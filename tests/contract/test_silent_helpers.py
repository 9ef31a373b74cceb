"""A helper that is stopped holds nothing: its fault is lost, though the process lives."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from faults.cpu_spike import CpuSpike
from faults.disk_io_saturation import DiskIoSaturation
from faults.memory_pressure import MemoryPressure
from faults.network_latency import NetworkLatency
from harness.guardian_link import GuardianLink
from harness.model import Hold
from harness.primitives.kill_marked import marked
from harness.process import process_state, send
from tests.contract.lines import linked
from tests.contract.resources import Force, Place, bring
from tests.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.beside]


def stop_and_look(force: Force, link: GuardianLink) -> None:
    """Stops every process of the helper; the first sample that is worth nothing, then the loss, then an end."""
    helpers = marked(link.marker("f"))
    assert helpers
    try:
        for one in helpers:
            send(one, signal.SIGSTOP)
        wait_for(lambda: force.sample().achieved == 0.0, 4.0, "a sample that is worth nothing")
        sample = wait_for(lambda: one if (one := force.sample()).hold is Hold.LOST else None, 5.0, "the loss")
        assert "lives but has not told anything" in sample.because
        assert process_state(helpers[0].pid) == "T", "it was alive all the time"
    finally:
        for one in helpers:
            send(one, signal.SIGCONT)
    force.heal_twice()


@pytest.mark.parametrize(
    "fault",
    [
        CpuSpike(cpu_percent=20, duration_seconds=30),
        MemoryPressure(memory_percent=5, duration_seconds=30),
        DiskIoSaturation(io_ops_per_second=50, duration_seconds=30),
    ],
    ids=["cpu", "memory", "disk"],
)
def test_a_stopped_helper_is_a_lost_fault(fault: Any, link: GuardianLink, tmp_path: Path) -> None:
    force = bring(fault, Place({"root": tmp_path}), link)
    wait_for(lambda: force.sample().achieved, 20.0, "a first measure")
    stop_and_look(force, link)


def test_a_stopped_proxy_is_a_lost_fault(link: GuardianLink, tmp_path: Path) -> None:
    with linked(tmp_path) as target:
        force = bring(NetworkLatency(target="memory", latency_ms=20, duration_seconds=30), target, link)
        client = target.client()

        def measured() -> bool:
            client.call()
            return bool(force.sample().achieved)

        wait_for(measured, 10.0, "a first measure")
        stop_and_look(force, link)
        client.close()
