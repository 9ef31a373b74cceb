"""The safeguards at work: an actor that insists is cut off and released, pressure sheds work that may wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import zmq

from tests.processes import twin, wait_for
from tests.twin.test_twin import manifest, pid_of, told

pytestmark = pytest.mark.slow
INTENT = {"goal": "g", "expected_outcome": "o", "created_by": "c", "sla_ms": 1000}


class Actor:
    """A client of the bus with one of the spare keys."""

    def __init__(self, bus: dict[str, Any], spare: int, name: str) -> None:
        self.name, self.context = name, zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.curve_serverkey = bus["server_public_key"].encode()
        self.socket.curve_publickey = bus["spare_actors"][spare]["public_key"].encode()
        self.socket.curve_secretkey = bus["spare_actors"][spare]["secret_key"].encode()
        self.socket.connect(bus["endpoint"])
        assert self.say({"op": "hello", "actor": name})["op"] == "welcome"

    def say(self, content: dict[str, Any]) -> dict[str, Any]:
        self.socket.send(json.dumps(content).encode())
        return self.hear(5000) or {"op": "silence"}

    def hear(self, within_ms: int) -> dict[str, Any] | None:
        if not self.socket.poll(within_ms):
            return None
        content: dict[str, Any] = json.loads(self.socket.recv())
        return content

    def publish(self, topic: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        message = {"id": "m", "source": self.name, "topic": topic, "payload": payload or {}}
        return self.say({"op": "publish", "message": message, "ack": True})

    def close(self) -> None:
        self.socket.close()
        self.context.term()


def engaged(folder: Path, safeguard: str) -> list[dict[str, Any]]:
    rows = told(folder, "safeguards")["safeguards"]
    found: list[dict[str, Any]] = next(one for one in rows if one["name"] == safeguard)["engaged"]
    return found


def test_an_actor_that_insists_is_cut_off_and_released_when_it_stops(tmp_path: Path) -> None:
    name = "acl_violation_monitor"
    with twin(tmp_path, off="resource_pressure_monitor"):
        bus = manifest(tmp_path)["bus"]
        actor, friend = Actor(bus, 0, "visitor"), Actor(bus, 1, "friend")
        assert friend.say({"op": "subscribe", "topics": ["telemetry.open"]})["op"] == "subscribed"
        assert actor.publish("telemetry.open")["op"] == "accepted"
        heard = friend.hear(2000)
        assert heard and heard["message"]["source"] == "visitor"
        for _ in range(40):
            assert actor.publish("kernel.memory")["reason"] in ("acl", "blacklisted")
        began = time.time()
        wait_for(lambda: [one["subject"] for one in engaged(tmp_path, name)] == ["visitor"], 1.0, "the engagement")
        wait_for(
            lambda: actor.publish("telemetry.open").get("reason") == "blacklisted", 2.0, "the cut on an open topic"
        )
        last = time.time()
        assert friend.publish("telemetry.open")["op"] in ("accepted", "deliver"), "nobody else is cut off"
        wait_for(lambda: not engaged(tmp_path, name), 20.0, "the release")
        assert actor.publish("telemetry.open")["op"] == "accepted"
        events = told(tmp_path, "events?since=0")["events"]
        mine = {e["topic"]: e["payload"] for e in events if e["payload"].get("subject") == "visitor"}
        assert mine["event.incident"]["trigger_id"] == name and "violations" in mine["event.incident"]["reason"]
        assert began - 1.5 < mine["event.incident"]["timestamp"] < began + 1.0
        assert mine["playbook.finished"]["outcome"] == "succeeded"
        assert mine["event.incident.closed"]["incident_id"] == mine["event.incident"]["incident_id"]
        assert mine["event.incident.closed"]["timestamp"] - last >= 14.0
        assert sum(e["topic"] == "event.incident" for e in events) == 1, "one incident, however many attempts"
        actor.close()
        friend.close()


def test_a_monitor_that_is_off_does_nothing(tmp_path: Path) -> None:
    with twin(tmp_path, off="acl_violation_monitor,resource_pressure_monitor"):
        actor = Actor(manifest(tmp_path)["bus"], 0, "visitor")
        deadline, refused = time.monotonic() + 2.0, 0
        while time.monotonic() < deadline:  # the monitor, when it is on, cuts off within a second
            assert actor.publish("kernel.memory")["reason"] == "acl"
            refused += 1
        assert refused > 40
        assert f"acl_violations_total {refused}" in scrape(tmp_path)
        assert actor.publish("telemetry.open")["op"] == "accepted"
        assert told(tmp_path, "events?since=0")["events"] == []
        row = told(tmp_path, "safeguards")["safeguards"][0]
        assert (row["name"], row["enabled"], row["engaged_total"]) == ("acl_violation_monitor", False, 0)
        actor.close()


@pytest.mark.beside
def test_an_incident_outlives_the_monitor_and_is_still_released(tmp_path: Path) -> None:
    name = "acl_violation_monitor"
    with twin(tmp_path, off="resource_pressure_monitor"):
        actor = Actor(manifest(tmp_path)["bus"], 0, "visitor")
        for _ in range(40):
            actor.publish("kernel.memory")
        wait_for(lambda: engaged(tmp_path, name), 2.0)
        wait_for(lambda: actor.publish("telemetry.open").get("reason") == "blacklisted", 2.0)
        old = pid_of(tmp_path, "trigger_mesh")
        os.kill(old, 9)
        wait_for(lambda: pid_of(tmp_path, "trigger_mesh") != old, 10)
        wait_for(lambda: not engaged(tmp_path, name), 25.0, "the release by the new process")
        assert actor.publish("telemetry.open")["op"] == "accepted"
        mine = [
            e["topic"] for e in told(tmp_path, "events?since=0")["events"] if e["payload"].get("subject") == "visitor"
        ]
        assert mine.count("event.incident") == 1 and mine.count("event.incident.closed") == 1
        actor.close()


def scrape(folder: Path) -> str:
    with urlopen(f"{manifest(folder)['base_url']}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def submit(folder: Path, priority: int, number: Iterator[int]) -> tuple[int, str]:
    """(status, Retry-After) of an intent."""
    body = json.dumps({**INTENT, "intent_id": f"i{next(number)}", "priority": priority}).encode()
    try:
        with urlopen(Request(f"{manifest(folder)['base_url']}/api/htm/intents", body), timeout=5) as answer:
            return answer.status, ""
    except HTTPError as error:
        return error.code, error.headers.get("Retry-After", "")


def test_cpu_pressure_sheds_what_may_wait_until_it_is_over(tmp_path: Path) -> None:
    name, number = "resource_pressure_monitor", iter(range(10_000))
    with twin(tmp_path):
        wait_for(lambda: not engaged(tmp_path, name), 60.0, "a calm machine")
        burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
        try:
            wait_for(lambda: [one["subject"] for one in engaged(tmp_path, name)] == ["cpu"], 10.0, "the engagement")
            wait_for(lambda: submit(tmp_path, 1, number) == (503, "2"), 5.0, "the shedding")
            assert submit(tmp_path, 5, number)[0] == 200, "what is urgent is still taken"
            assert "grace_load_shedding 1" in scrape(tmp_path)
        finally:
            for burner in burners:
                burner.kill()
                burner.wait()
        wait_for(lambda: not engaged(tmp_path, name), 60.0, "the release")
        assert submit(tmp_path, 1, number)[0] == 200
        events = [e for e in told(tmp_path, "events?since=0")["events"] if e["payload"].get("subject") == "cpu"]
        last = [e for e in events if e["topic"] == "playbook.finished"][-1]["payload"]
        assert (last["playbook"], last["outcome"]) == ("resource_pressure_cpu", "succeeded")
        assert last["details"]["shedding"] == ["cpu"]
