"""Each network fault on the way to memory_fusion is seen by the embedded Grace, gone round, and over when healed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from faults.connection_reset import ConnectionReset
from faults.network_latency import NetworkLatency
from faults.network_loss import NetworkLoss
from faults.network_partition import NetworkPartition
from harness.contracts import Fault, Target, TargetError
from harness.target import load_target
from tests.contract.test_link_faults_twin import live
from tests.processes import twin, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

NAME, WAY = "dependency_latency_monitor", "memory_fusion"
KNOWLEDGE = "/api/knowledge?q=grace&limit=3"
FAULTS: list[Callable[[], Fault]] = [
    lambda: NetworkLatency(target=WAY, latency_ms=400, duration_seconds=30),
    lambda: NetworkLoss(target=WAY, loss_percent=25, duration_seconds=30),
    lambda: NetworkPartition(target=WAY, duration_seconds=30),
    lambda: ConnectionReset(target=WAY, duration_seconds=30),
]


def ask(target: Target, path: str, *headers: tuple[str, str]) -> tuple[int, dict[str, Any], str]:
    """(status, content, warning); a client that takes what is stored, unless its headers say otherwise."""
    try:
        with urlopen(Request(target.base_url + path, headers=dict(headers)), timeout=5) as answer:
            return answer.status, json.load(answer), answer.headers.get("Warning", "")
    except HTTPError as error:
        return error.code, json.load(error), ""
    except OSError:
        return 0, {}, ""


def open_incidents(target: Target) -> list[dict[str, Any]]:
    rows = ask(target, "/api/control-plane/safeguards")[1].get("safeguards", [])
    return next((row["engaged"] for row in rows if row["name"] == NAME), [])


def told(target: Target, since: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(target, f"/api/control-plane/events?since={since}")[1]["events"]
    return found


def pid_of(target: Target, kernel: str) -> int:
    try:
        return target.process(kernel).pid
    except TargetError:
        return 0


class Readers:
    """People who ask for knowledge twice a second each, and what they are answered: a status, or "stale"."""

    def __init__(self, target: Target, count: int = 6) -> None:
        self.target, self.stop, self.answers = target, threading.Event(), Counter[str]()
        self.threads = [threading.Thread(target=self.read) for _ in range(count)]

    def read(self) -> None:
        while not self.stop.wait(0.5):
            status, content, _ = ask(self.target, KNOWLEDGE)
            self.answers["stale" if content.get("stale") else str(status)] += 1

    def only(self, kind: str) -> bool:
        """Whether the next dozen answers are all of this kind."""
        self.answers.clear()
        wait_for(lambda: sum(self.answers.values()) >= 12, 15, "a dozen answers")
        return set(self.answers) == {kind}

    def __enter__(self) -> Readers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(10)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("twin")
    with twin(folder, off="resource_pressure_monitor"):
        yield load_target(folder / "target.yaml")


@pytest.mark.parametrize("make", FAULTS, ids=["latency", "loss", "partition", "reset"])
def test_it_is_seen_gone_round_and_over(target: Target, tmp_path: Path, make: Callable[[], Fault]) -> None:
    before = told(target)
    seq = before[-1]["seq"] if before else 0
    with Readers(target) as readers:
        assert readers.only("200") and open_incidents(target) == []
        with live(make(), target, tmp_path):
            wait_for(lambda: open_incidents(target), 15, "the engagement")
            (incident,) = open_incidents(target)
            assert incident["subject"] == WAY
            wait_for(lambda: readers.only("stale"), 15, "stored answers for all")
            status, content, warning = ask(target, KNOWLEDGE)
            assert (status, content["stale"], warning) == (200, True, '110 - "Response is Stale"')
            assert content["results"] and content["age_s"] >= 0
            fresh = ask(target, KNOWLEDGE, ("Cache-Control", "no-cache"))
            assert not fresh[1].get("stale"), "who asks for no stored answer gets none"
        wait_for(lambda: not open_incidents(target), 15, "the release")
        wait_for(lambda: readers.only("200"), 10, "fresh answers for all")
    events = [one for one in told(target, seq) if one["payload"].get("subject") == WAY]
    events = [one for one in events if one["topic"] not in ("security.alert", "event.error.learned")]
    events = [one for one in events if one["payload"].get("trigger_id", NAME) == NAME]  # others see the same, too
    topics = [one["topic"] for one in events]
    assert topics == ["event.incident", "playbook.started", "playbook.finished", "event.incident.closed"]
    assert events[0]["payload"]["playbook"] == "dependency_bypass" and "api_server" in events[0]["payload"]["details"]
    assert next(one for one in events if one["topic"] == "playbook.finished")["payload"]["outcome"] == "succeeded"


def test_it_outlives_the_gateway_and_the_monitor(target: Target, tmp_path: Path) -> None:
    with Readers(target) as readers, live(FAULTS[0](), target, tmp_path):
        wait_for(lambda: readers.only("stale"), 15, "stored answers for all")
        for kernel in ("api_server", "health_monitor"):
            old = pid_of(target, kernel)
            os.kill(old, signal.SIGKILL)
            wait_for(lambda kernel=kernel, old=old: pid_of(target, kernel) not in (0, old), 10, "a new process")
            wait_for(lambda: readers.only("stale"), 15, "stored answers again")
        (incident,) = open_incidents(target)
        assert incident["subject"] == WAY
    with Readers(target) as readers:
        wait_for(lambda: not open_incidents(target), 15, "the release")
        wait_for(lambda: readers.only("200"), 10, "fresh answers for all")


def test_switched_off_it_sees_nothing_and_readers_wait(tmp_path: Path) -> None:
    (tmp_path / "twin").mkdir()
    with twin(tmp_path / "twin", off=f"resource_pressure_monitor,dependency_breaker,error_recognition_system,{NAME}"):
        target = load_target(tmp_path / "twin" / "target.yaml")
        with Readers(target) as readers, live(FAULTS[2](), target, tmp_path):
            wait_for(lambda: readers.only("504"), 15, "time-outs for all")
            assert readers.only("504") and told(target) == []
            began_s = time.monotonic()
            answer = ask(target, KNOWLEDGE)
            assert answer[0] == 504 and time.monotonic() - began_s > 1.5, answer
