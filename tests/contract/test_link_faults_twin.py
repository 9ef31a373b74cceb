"""Network faults between the kernels of an embedded Grace, as its clients feel them."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.network_latency import NetworkLatency
from faults.network_partition import NetworkPartition
from harness.contracts import Target, TargetError
from harness.guardian_link import GuardianLink
from harness.loopback import Client
from harness.target import load_target
from tests.processes import twin, wait_for

pytestmark = pytest.mark.slow

KNOWLEDGE, CATALOG, CHECK = "/api/knowledge?q=grace&limit=3", "/api/knowledge/catalog", "/api/governance/check"
BODY = {"actor": "probe", "action": "read", "resource": "status", "payload": {}}


def took_ms(client: Client, path: str) -> float:
    began_s = time.monotonic()
    status, _, _ = client.send("POST" if path == CHECK else "GET", path, BODY if path == CHECK else None)
    assert status == 200, f"{path} answers {status}"
    return 1000 * (time.monotonic() - began_s)


def median_ms(client: Client, path: str) -> float:
    return statistics.median(took_ms(client, path) for _ in range(9))


def pid_of(target: Target) -> int:
    try:
        return target.process("memory_fusion").pid
    except TargetError:
        return 0  # between two lives


class Stream:
    """Asks for knowledge without a pause, until it is stopped; every answer's status."""

    def __init__(self, target: Target) -> None:
        self.client, self.statuses, self.stop = Client(target.base_url, timeout_s=5), [], threading.Event()  # type: ignore[var-annotated]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.stop.is_set():
            self.statuses.append(self.client.send("GET", KNOWLEDGE)[0])

    def end(self) -> set[int]:
        self.stop.set()
        self.thread.join(10)
        self.client.close()
        return set(self.statuses)


@contextmanager
def live(fault: Any, target: Target, folder: Path) -> Iterator[Any]:
    """The fault in force, for as long as the test takes; its sample as a function. Healed at the end, and verified."""
    (folder / "run").mkdir()
    over = threading.Event()

    def lives() -> None:
        while not over.wait(2.0):
            guardian.lease()

    living = threading.Thread(target=lives)
    guardian = GuardianLink(folder / "run", f"{os.getpid()}-{folder.name}")
    try:
        undo = guardian.arm("f", fault.prepare(target), 60)
        effect = fault.inject(target, undo, guardian.hands("f"))
        guardian.active("f")
        living.start()
        yield lambda: fault.sample(target, undo, effect, guardian.hands("f"))
        over.set()
        assert all(result["verified"] for result in guardian.heal("f"))
    finally:
        over.set()
        if living.ident is not None:
            living.join(5)
        guardian.close()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    (tmp_path / "twin").mkdir()
    with twin(tmp_path / "twin"):
        yield load_target(tmp_path / "twin" / "target.yaml")


def test_late_knowledge_and_nothing_else(target: Target, tmp_path: Path) -> None:
    client = Client(target.base_url, timeout_s=5)
    before = {path: median_ms(client, path) for path in (KNOWLEDGE, CATALOG, CHECK)}
    address = target.links["memory_fusion"].address_file.read_bytes()
    fault = NetworkLatency(target="memory_fusion", latency_ms=200, duration_seconds=10)
    with live(fault, target, tmp_path) as sample:
        wait_for(lambda: took_ms(client, KNOWLEDGE) > 190, 3, "a late answer")
        during = {path: median_ms(client, path) for path in (KNOWLEDGE, CATALOG, CHECK)}
        assert 190 <= wait_for(lambda: sample().achieved, 3) <= 300
        assert 195 <= during[KNOWLEDGE] - before[KNOWLEDGE] <= 300, (before, during)
        assert during[CATALOG] < before[CATALOG] + 60 and during[CHECK] < before[CHECK] + 60, (before, during)
        old = target.process("memory_fusion").pid
        os.kill(old, signal.SIGSTOP)
        wait_for(lambda: pid_of(target) not in (0, old), 10, "the watchdog's restart")
        wait_for(lambda: client.send("GET", KNOWLEDGE)[0] == 200, 10, "an answer of the successor")
        assert took_ms(client, KNOWLEDGE) > 195, "the successor is asked over the same line"
    wait_for(lambda: took_ms(client, KNOWLEDGE) < 100, 3, "a quick answer")
    assert median_ms(client, KNOWLEDGE) < before[KNOWLEDGE] + 60
    assert target.links["memory_fusion"].address_file.read_bytes() == address
    client.close()


def test_neither_its_beginning_nor_its_end_costs_a_request(target: Target, tmp_path: Path) -> None:
    streams = [Stream(target) for _ in range(6)]

    def count() -> int:
        return sum(len(stream.statuses) for stream in streams)

    wait_for(lambda: count() > 100, 10, "a hundred answers")
    with live(NetworkLatency(target="memory_fusion", latency_ms=30, duration_seconds=10), target, tmp_path) as sample:
        wait_for(lambda: sample().achieved, 5, "a measure")
        now = count()
        wait_for(lambda: count() > now + 100, 10, "a hundred late answers")
    now = count()
    wait_for(lambda: count() > now + 100, 10, "another hundred")
    assert [stream.end() for stream in streams] == [{200}] * 6


def test_a_partition_of_one_line_is_a_time_out_and_heals(target: Target, tmp_path: Path) -> None:
    client = Client(target.base_url, timeout_s=5)
    with live(NetworkPartition(target="api_server->memory_fusion", duration_seconds=10), target, tmp_path) as sample:
        wait_for(lambda: client.send("GET", KNOWLEDGE)[0] == 504, 10, "a time-out")
        assert wait_for(lambda: client.send("GET", KNOWLEDGE)[0] and sample().achieved, 10) == 100.0
        assert took_ms(client, CATALOG) < 100 and took_ms(client, CHECK) < 100
    wait_for(lambda: client.send("GET", KNOWLEDGE)[0] == 200, 3, "an answer")
    assert not target.links["api_server->memory_fusion"].address_file.exists()
    client.close()
