"""The harness's own ear on the bus, against a broker of a few lines with real keys."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from harness.model import Reading
from harness.observers.bus_listener import BusListener, name_of
from tests.fake_target import FakeView, samples, target
from tests.processes import wait_for


def pair() -> dict[str, str]:
    public, secret = zmq.curve_keypair()
    return {"public_key": public.decode(), "secret_key": secret.decode()}


class TinyBroker(threading.Thread):
    """Welcomes who is not one of *bound* ({key: its name}); delivers what is published or queued by the test.

    heard: all that it was told. *delivers* off: it takes everything and hands nothing on.
    """

    def __init__(
        self, server_key: dict[str, str], endpoint: str = "tcp://127.0.0.1:0", bound: dict[str, str] | None = None
    ) -> None:
        super().__init__(daemon=True)
        self.context = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.LINGER, 0)
        self.router.curve_server = True
        self.router.curve_secretkey = server_key["secret_key"].encode()
        self.router.bind(endpoint)
        self.endpoint = self.router.getsockopt_string(zmq.LAST_ENDPOINT)
        self.heard: list[dict[str, Any]] = []
        self.queue: list[bytes] = []
        self.bound = dict(bound or {})
        self.delivers = True
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        subscribed: set[bytes] = set()
        while not self.over.is_set():
            if self.router.poll(10):
                peer, body = self.router.recv_multipart()
                told = json.loads(body)
                self.heard.append(told)
                if told["op"] == "subscribe":
                    subscribed.add(peer)
                elif told["op"] == "hello":
                    self.router.send_multipart([peer, self.answer(told["actor"])])
                elif told["op"] == "publish" and self.delivers:
                    self.queue.append(json.dumps({"op": "deliver", "message": told["message"]}).encode())
            while subscribed and self.queue:
                body = self.queue.pop(0)
                for peer in subscribed:
                    self.router.send_multipart([peer, body])
        self.router.close()
        self.context.term()

    def answer(self, actor: str) -> bytes:
        """A name that stands in *bound* is another's already."""
        refused = {"op": "refused", "reason": "spoofed_source"}
        return json.dumps(refused if actor in self.bound.values() else {"op": "welcome", "actor": actor}).encode()

    def deliver(self, source: str, count: int) -> None:
        message = {"source": source, "topic": "telemetry.open", "payload": {}}
        self.queue += [json.dumps({"op": "deliver", "message": message}).encode()] * count

    def stop(self) -> None:
        self.over.set()
        self.join(5)
        assert not self.is_alive()


@pytest.fixture
def server_key() -> dict[str, str]:
    return pair()


@pytest.fixture
def broker(server_key: dict[str, str]) -> Iterator[TinyBroker]:
    one = TinyBroker(server_key)
    yield one
    one.stop()


@pytest.fixture
def view(broker: TinyBroker, server_key: dict[str, str], tmp_path: Path) -> FakeView:
    bus = {
        "protocol": "grace-bus/1",
        "endpoint": broker.endpoint,
        "server_public_key": server_key["public_key"],
        "open_topic": "telemetry.open",
        "spare_actors": [pair(), pair()],
    }
    return FakeView(target(tmp_path, bus=bus))


@pytest.fixture
def listener(view: FakeView) -> Iterator[BusListener]:
    one = BusListener(view.target)
    yield one
    one.close()


def heard(listener: BusListener, view: FakeView) -> dict[str, float]:
    readings: list[Reading] = list(listener.observe(view))
    return samples(readings, "bus_delivered")


def test_it_counts_what_comes_by_actor(broker: TinyBroker, listener: BusListener, view: FakeView) -> None:
    assert heard(listener, view) == {}  # nobody was heard: no sample, not a 0
    broker.deliver("a", 3)
    broker.deliver("b", 2)
    wait_for(lambda: heard(listener, view) == {"a": 3.0, "b": 2.0}, 5)
    assert heard(listener, view) == {"a": 3.0, "b": 2.0}  # cumulative, and said again at every look
    broker.deliver("a", 1)
    wait_for(lambda: heard(listener, view) == {"a": 4.0, "b": 2.0}, 5)


def test_it_says_who_it_is_and_listens_to_the_open_topic_only(
    broker: TinyBroker, listener: BusListener, view: FakeView
) -> None:
    wait_for(lambda: (heard(listener, view), len(broker.heard) >= 2)[1], 5)
    hello, subscribe = broker.heard[:2]
    assert hello["op"] == "hello" and hello["actor"].startswith("listener-")
    assert subscribe == {"op": "subscribe", "topics": ["telemetry.open"]}


def spoken(broker: TinyBroker) -> int:
    return sum(one["op"] == "publish" for one in broker.heard)


def canaries(listener: BusListener, view: FakeView) -> float:
    return samples(list(listener.observe(view)), "bus_canary")[""]


def test_it_hears_itself_for_as_long_as_the_bus_delivers(
    broker: TinyBroker, listener: BusListener, view: FakeView
) -> None:
    assert canaries(listener, view) == 0.0  # deaf is a sample, not a gap
    wait_for(lambda: canaries(listener, view) >= 2, 5)
    assert heard(listener, view) == {}  # itself is none of those who are listened to
    broker.delivers = False
    before, silent = spoken(broker), canaries(listener, view)
    wait_for(lambda: (canaries(listener, view), spoken(broker) >= before + 3)[1], 10, "it goes on speaking")
    assert canaries(listener, view) <= silent + 1  # one may have been under way
    silent = canaries(listener, view)
    broker.deliver("a", 1)
    wait_for(lambda: heard(listener, view) == {"a": 1.0}, 5)
    assert canaries(listener, view) == silent


def test_it_says_nothing_before_it_is_welcome_and_takes_a_key_that_is_free(
    server_key: dict[str, str], view: FakeView, tmp_path: Path
) -> None:
    """What it published under a name that is not its own would be counted as an attack."""
    bus = view.target.bus or {}
    taken = name_of(bus["spare_actors"][-1])
    broker = TinyBroker(server_key, bound={"another's": taken})
    ear = BusListener(target(tmp_path, bus={**bus, "endpoint": broker.endpoint}))
    try:
        wait_for(lambda: canaries(ear, view) >= 1, 10)
        spoke = {one["message"]["source"] for one in broker.heard if one["op"] == "publish"}
        assert spoke == {name_of(bus["spare_actors"][-2])} and taken not in spoke
    finally:
        ear.close()
        broker.stop()


def test_another_run_with_the_same_key_is_not_taken_for_itself(
    broker: TinyBroker, listener: BusListener, view: FakeView
) -> None:
    other = BusListener(view.target)
    try:
        wait_for(lambda: canaries(other, view) >= 3, 10)
        assert canaries(listener, view) <= 1.0
        assert other.actor == listener.actor
    finally:
        other.close()


def test_a_broker_that_is_replaced_is_joined_again(
    broker: TinyBroker, listener: BusListener, view: FakeView, server_key: dict[str, str]
) -> None:
    broker.deliver("a", 1)
    wait_for(lambda: heard(listener, view) == {"a": 1.0}, 5)
    broker.stop()
    assert heard(listener, view) == {"a": 1.0}  # nobody there: no crash
    new = TinyBroker(server_key, broker.endpoint)
    try:
        new.deliver("a", 2)
        wait_for(lambda: heard(listener, view) == {"a": 3.0}, 10, "the new broker's messages")
    finally:
        new.stop()


def test_with_a_wrong_server_key_nothing_is_heard(broker: TinyBroker, view: FakeView, tmp_path: Path) -> None:
    bus = {**(view.target.bus or {}), "server_public_key": pair()["public_key"]}
    deaf = BusListener(target(tmp_path, bus=bus))
    ear = BusListener(view.target)
    try:
        broker.deliver("a", 1)
        wait_for(lambda: (heard(deaf, view), heard(ear, view))[1] == {"a": 1.0}, 5)
        assert heard(deaf, view) == {}
    finally:
        deaf.close()
        ear.close()


def test_a_bus_without_a_key_for_the_listener_is_told_as_missing(tmp_path: Path) -> None:
    bus = {"endpoint": "tcp://127.0.0.1:9", "server_public_key": "k", "open_topic": "t", "spare_actors": []}
    assert BusListener.missing(target(tmp_path, bus=bus)) == "bus.spare_actors"
    assert BusListener.missing(target(tmp_path, bus=None)) == "bus"


def beat(broker: TinyBroker, kernel: str, source: str) -> None:
    message = {"source": source, "topic": f"telemetry.kernel.{kernel}", "payload": {"number": 1}}
    broker.queue.append(json.dumps({"op": "deliver", "message": message}).encode())


def test_it_counts_the_heartbeats_of_each_kernel(broker: TinyBroker, view: FakeView) -> None:
    view.target.bus["heartbeat_topic"] = "telemetry.kernel"  # type: ignore[index]
    listener = BusListener(view.target)
    beats: list[tuple[str, float | None]] = []

    def seen() -> list[tuple[str, float | None]]:
        beats.extend((one.subject, one.value) for one in listener.observe(view) if one.name == "bus_heartbeats")
        return beats

    try:
        assert seen() == []
        beat(broker, "governance", "governance_engine")
        wait_for(lambda: ("governance", 1.0) in seen(), 5)
        beat(broker, "governance", "stranger")  # nobody else can stand in for it
        beat(broker, "sandbox", "sandbox")
        beat(broker, "governance", "governance_engine")
        wait_for(lambda: ("governance", 2.0) in seen() and ("sandbox", 1.0) in beats, 5)
        assert sorted(beats) == [("governance", 1.0), ("governance", 2.0), ("sandbox", 1.0)], (
            "one sample for each that came"
        )
        assert heard(listener, view) == {}, "a heartbeat is no message of an actor on the open topic"
        topics = [one["topics"] for one in broker.heard if one["op"] == "subscribe"]
        assert topics[0] == ["telemetry.open", "telemetry.kernel."]
    finally:
        listener.close()
