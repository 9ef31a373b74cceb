"""The twin's core as processes: its bus on a real socket, its counters over a restart, its start and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
import zmq

from tests.processes import pids_with, twin, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


class Peer:
    """A client of the bus, as anybody can write one from the manifest."""

    def __init__(self, folder: Path, spare: int = 0, actor: str = "outsider") -> None:
        bus = yaml.safe_load((folder / "target.yaml").read_text())["bus"]
        key = bus["spare_actors"][spare]
        self.actor = actor
        self.context = zmq.Context()
        self.socket: zmq.Socket[bytes] = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.curve_serverkey = bus["server_public_key"].encode()
        self.socket.curve_publickey = key["public_key"].encode()
        self.socket.curve_secretkey = key["secret_key"].encode()
        self.socket.connect(bus["endpoint"])

    def send(self, content: dict[str, Any] | bytes) -> None:
        self.socket.send(content if isinstance(content, bytes) else json.dumps(content).encode())

    def hear(self, limit_s: float = 5.0) -> dict[str, Any]:
        assert self.socket.poll(int(limit_s * 1000)), "the bus does not answer"
        content: dict[str, Any] = json.loads(self.socket.recv())
        return content

    def ask(self, content: dict[str, Any]) -> dict[str, Any]:
        self.send(content)
        return self.hear()

    def hello(self) -> dict[str, Any]:
        return self.ask({"op": "hello", "actor": self.actor})

    def message(self, topic: str, source: str = "") -> dict[str, Any]:
        return {"id": uuid.uuid4().hex, "source": source or self.actor, "topic": topic, "payload": {}}

    def publish(self, topic: str, source: str = "") -> str:
        """The bus's word: "accepted", or why not."""
        answer = self.ask({"op": "publish", "message": self.message(topic, source), "ack": True})
        return str(answer.get("reason", answer["op"]))


@contextlib.contextmanager
def peer(folder: Path, spare: int = 0, actor: str = "outsider") -> Iterator[Peer]:
    made = Peer(folder, spare, actor)
    try:
        yield made
    finally:
        made.context.destroy(linger=0)


def get(folder: Path, path: str) -> bytes:
    base_url = yaml.safe_load((folder / "target.yaml").read_text())["base_url"]
    with urlopen(base_url + path, timeout=5) as answer:
        body: bytes = answer.read()
        return body


def violations(folder: Path) -> int | None:
    """The counter as it is scraped; None while the bus does not tell it."""
    for line in get(folder, "/metrics").decode().splitlines():
        if line.startswith("grace_message_bus_acl_violations_total "):
            return int(line.split()[1])
    return None


def pid_of(folder: Path, kernel: str) -> int:
    return int((folder / "run" / f"{kernel}.pid").read_text())


def test_the_bus_refuses_in_words_counts_and_logs(tmp_path: Path) -> None:
    with (
        twin(tmp_path, off="acl_violation_monitor"),
        peer(tmp_path) as outsider,
        peer(tmp_path, 1, "governance") as fake,
    ):
        assert outsider.hello() == {"op": "welcome", "actor": "outsider"}
        assert fake.hello() == {"op": "refused", "reason": "reserved_actor"}
        assert outsider.publish("telemetry.open") == "accepted"
        assert outsider.publish("kernel.memory") == "acl"
        assert outsider.publish("event.incident") == "acl"
        assert outsider.publish("telemetry.open", source="memory_fusion") == "spoofed_source"
        assert fake.publish("telemetry.open") == "unknown_actor"
        assert violations(tmp_path) == 4
        log = tmp_path / "logs" / "acl_refusals.jsonl"
        wait_for(lambda: len(log.read_text().splitlines()) == 4, 2, "a line for each refusal")
        assert {json.loads(line)["actor"] for line in log.read_text().splitlines()} == {"outsider", "unknown"}


def test_a_key_that_the_bus_did_not_make_is_not_admitted(tmp_path: Path) -> None:
    with twin(tmp_path), peer(tmp_path) as known, peer(tmp_path, 1) as stranger:
        public, secret = zmq.curve_keypair()
        endpoint = stranger.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        stranger.socket.disconnect(endpoint)
        stranger.socket.curve_publickey, stranger.socket.curve_secretkey = public, secret
        stranger.socket.connect(endpoint)
        stranger.send({"op": "hello", "actor": "stranger"})
        assert known.hello()["op"] == "welcome"
        assert not stranger.socket.poll(1000)


def test_the_monitor_cuts_an_actor_off_both_ways_and_a_restart_of_the_bus_forgets_nothing(tmp_path: Path) -> None:
    with twin(tmp_path), peer(tmp_path) as outsider:
        outsider.hello()
        assert outsider.ask({"op": "subscribe", "topics": ["telemetry.heard"]}) == {"op": "subscribed"}
        with peer(tmp_path, 1, "witness") as witness:
            witness.hello()
            assert witness.publish("telemetry.heard") == "accepted"
            assert outsider.hear()["op"] == "deliver", "it hears before"
        for _ in range(6):
            assert outsider.publish("system.control") in ("acl", "blacklisted")
        wait_for(lambda: outsider.publish("telemetry.nobody") == "blacklisted", 5, "the cut-off")
        before = wait_for(lambda: violations(tmp_path), 5)
        with peer(tmp_path, 1, "witness") as witness:
            witness.hello()
            assert witness.publish("telemetry.heard") == "accepted"
            assert not outsider.socket.poll(300), "nothing is delivered to an actor that is cut off"
        old = pid_of(tmp_path, "message_bus")
        os.kill(old, signal.SIGTERM)
        wait_for(lambda: pid_of(tmp_path, "message_bus") != old, 10, "a new broker")
        assert wait_for(lambda: violations(tmp_path), 10, "its counter") >= before
        with peer(tmp_path, 0) as again:
            assert again.hello() == {"op": "welcome", "actor": "outsider"}
            assert again.publish("telemetry.open") == "blacklisted"
        with peer(tmp_path, 0, "another") as renamed:
            assert renamed.hello() == {"op": "refused", "reason": "spoofed_source"}


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_it_takes_fifteen_hundred_refusals_a_second_and_stays_in_one_piece(tmp_path: Path) -> None:
    rate, seconds = 1500, 4
    with twin(tmp_path), peer(tmp_path) as outsider:
        outsider.hello()
        pid = pid_of(tmp_path, "message_bus")
        before_s, start_s = cpu_s(pid), time.monotonic()
        sent = answered = 0
        while sent < rate * seconds:
            due = min(rate * seconds, int((time.monotonic() - start_s) * rate))
            for _ in range(due - sent):
                outsider.send({"op": "publish", "message": outsider.message("kernel.memory")})
            sent = due
            while outsider.socket.poll(1):
                outsider.socket.recv()
                answered += 1
        took_s = time.monotonic() - start_s
        while answered < sent:
            outsider.hear()
            answered += 1
        share = (cpu_s(pid) - before_s) / took_s
        print(f"message_bus: {100 * share:.0f} % of a core at {sent / took_s:.0f} refusals/s")
        assert violations(tmp_path) == sent
        assert pid_of(tmp_path, "message_bus") == pid
        assert share < 0.5


def test_a_folder_in_use_is_refused_and_the_twin_in_it_lives_on(tmp_path: Path) -> None:
    with twin(tmp_path) as process:
        command = [sys.executable, "-m", "twin", "--dir", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 2
        assert str(process.pid) in done.stderr and done.stderr.count("\n") == 1
        assert json.loads(get(tmp_path, "/health"))["status"] == "ok"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_even_with_a_stopped_kernel(tmp_path: Path, how: signal.Signals) -> None:
    with twin(tmp_path) as process:
        os.kill(pid_of(tmp_path, "librarian"), signal.SIGSTOP)
        start_s = time.monotonic()
        process.send_signal(how)
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - start_s < 4
        wait_for(lambda: not pids_with(str(tmp_path)), 2.0, "an end without orphans")


def test_it_is_ready_in_time(tmp_path: Path) -> None:
    start_s = time.monotonic()
    with twin(tmp_path):
        took_s = time.monotonic() - start_s
        print(f"ready after {took_s:.2f} s")
        assert took_s < 3
        assert (tmp_path / "target.yaml").stat().st_mode & 0o077 == 0
        assert (tmp_path / "run" / "keys.json").stat().st_mode & 0o077 == 0


def test_events_are_numbered_from_one_and_survive_the_twin(tmp_path: Path) -> None:
    def events(since: int) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(get(tmp_path, f"/api/control-plane/events?since={since}"))
        return told

    with twin(tmp_path):
        old = pid_of(tmp_path, "sandbox")
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: "event.incident.closed" in {one["topic"] for one in events(0)["events"]}, 10)
        told = events(0)
        assert [one["seq"] for one in told["events"]] == list(range(1, told["next"] + 1))
        assert events(told["next"])["events"] == [] and events(told["next"])["next"] == told["next"]
        topics = [one["topic"] for one in told["events"]]
        order = [
            "event.incident",
            "playbook.started",
            "kernel.restart.initiated",
            "kernel.restart.success",
            "playbook.finished",
            "event.incident.closed",
        ]
        assert [topic for topic in topics if topic in order] == order
        incident = told["events"][0]["payload"]
        assert (incident["subject"], incident["reason"], incident["playbook"]) == (
            "sandbox",
            "process gone",
            "kernel_restart",
        )
        success = next(one["payload"] for one in told["events"] if one["topic"] == "kernel.restart.success")
        assert (success["old_pid"], success["new_pid"]) == (old, pid_of(tmp_path, "sandbox"))
    with twin(tmp_path):
        assert events(0)["events"][: len(told["events"])] == told["events"]
