"""topic_flood: what the bus itself has answered is what counts, and what it leaves unanswered is dropped."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from faults.topic_flood import TopicFlood
from harness.catalog import CatalogError, build_fault
from harness.contracts import TargetLacks
from harness.guardian_link import GuardianLink
from harness.model import Hold
from harness.target import load_target
from tests.contract.resources import bring
from tests.processes import twin, wait_for

COUNTED = TopicFlood(topic="task.code_refactor", messages_per_second=400, messages=200, actor="mallory")
Answer = Callable[[int, dict[str, Any]], dict[str, Any] | None]


class Broker:
    """A grace-bus/1 broker that says what *answer* says to the n-th message (from 0; the greeting is none)."""

    def __init__(self, answer: Answer, greeting: str = "accepted") -> None:
        self.answer, self.greeting = answer, greeting
        self.heard: list[dict[str, Any]] = []
        self.context = zmq.Context()
        self.public, secret = zmq.curve_keypair()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.curve_server = True
        self.socket.curve_secretkey = secret
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        greeted = False
        while not self.over.is_set():
            while self.socket.poll(20):
                peer, data = self.socket.recv_multipart()
                content = json.loads(data)
                said: dict[str, Any] | None = {"op": "welcome"}
                if content["op"] == "publish":
                    number, message = len(self.heard), content["message"]
                    said = self.answer(number, message) if greeted else {"op": self.greeting, "reason": "no_right"}
                    said = said and {"id": message["id"], **said}
                    self.heard += [message] if greeted else []
                    greeted = True
                if said:
                    self.socket.send_multipart([peer, json.dumps(said).encode()])
        self.socket.close(0)

    @property
    def bus(self) -> dict[str, Any]:
        public, secret = (one.decode() for one in zmq.curve_keypair())
        return {
            "endpoint": f"tcp://127.0.0.1:{self.port}",
            "server_public_key": self.public.decode(),
            "open_topic": "telemetry.open",
            "spare_actors": [{"public_key": public, "secret_key": secret}],
        }

    def close(self) -> None:
        self.over.set()
        self.thread.join(5)
        self.context.destroy(0)  # also when its thread has died with the socket open


@pytest.fixture
def broker() -> Iterator[Callable[..., Broker]]:
    brokers: list[Broker] = []

    def start(answer: Answer = lambda number, message: {"op": "accepted"}, greeting: str = "accepted") -> Broker:
        brokers.append(Broker(answer, greeting))
        return brokers[-1]

    yield start
    for one in brokers:
        one.close()


def test_just_so_many_and_each_is_answered(broker: Callable[..., Broker], link: GuardianLink) -> None:
    one = broker()
    force = bring(COUNTED, one, link)
    sample = wait_for(lambda: s if (s := force.sample()).hold is not Hold.HOLDS else None, 10, "its end")
    assert sample.hold is Hold.DONE and sample.achieved == 200.0 and sample.because.endswith("200 of 200 messages")
    told = {key: sample.detail[key] for key in ("sent", "accepted", "refused", "unanswered", "dropped")}
    assert told == {"sent": 200, "accepted": 200, "refused": 0, "unanswered": 0, "dropped": 0}
    assert len(one.heard) == 200 == len({message["id"] for message in one.heard})
    assert {(message["topic"], message["source"]) for message in one.heard} == {("task.code_refactor", "mallory")}
    force.heal_twice()


def test_a_rate_for_a_time(broker: Callable[..., Broker], link: GuardianLink) -> None:
    fault = TopicFlood(topic="task.code_refactor", messages_per_second=200, duration_seconds=30)
    force = bring(fault, broker(), link)
    sample = force.wait()
    assert sample.achieved == pytest.approx(200, rel=0.15) and sample.hold is Hold.HOLDS
    force.kill_helper()
    force.heal_twice()


def test_what_is_refused_is_told_apart(broker: Callable[..., Broker], link: GuardianLink) -> None:
    def half(number: int, message: dict[str, Any]) -> dict[str, Any]:
        return {"op": "refused", "reason": "blacklisted"} if number % 2 else {"op": "accepted"}

    force = bring(COUNTED, broker(half), link)
    sample = wait_for(lambda: s if (s := force.sample()).hold is not Hold.HOLDS else None, 10, "its end")
    assert (sample.hold, sample.achieved) == (Hold.DONE, 200.0)
    assert (sample.detail["accepted"], sample.detail["refused_by_reason"]) == (100, {"blacklisted": 100})


def test_what_is_left_unanswered_is_dropped_and_no_flood(broker: Callable[..., Broker], link: GuardianLink) -> None:
    force = bring(COUNTED, broker(lambda number, message: {"op": "accepted"} if number % 20 else None), link)
    sample = wait_for(lambda: s if (s := force.sample()).hold is not Hold.HOLDS else None, 15, "its end")
    assert sample.hold is Hold.LOST and "messages were dropped, at most 1 % of 200 may be" in sample.because
    assert sample.detail["unanswered"] == sample.detail["dropped"] > 2
    force.heal_twice()


def test_a_topic_that_is_not_open_is_said(broker: Callable[..., Broker], link: GuardianLink) -> None:
    force = bring(COUNTED, broker(greeting="refused"), link)
    sample = wait_for(lambda: s if (s := force.sample()).hold is Hold.LOST else None, 10, "the loss")
    assert "task.code_refactor is not open to mallory: no_right" in sample.because
    force.heal_twice()


def test_a_count_is_not_scaled_and_ends_in_time() -> None:
    assert COUNTED.duration_field == "" and COUNTED.limit_s == 30.5 == COUNTED.attain_limit_s
    assert COUNTED.asked.floor == 198.0
    timed = replace(COUNTED, messages=0, duration_seconds=20.0)
    assert timed.duration_field == "duration_seconds" and timed.asked.floor == 380.0 and timed.attain_limit_s == 10.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "either messages or duration_seconds"),
        ({"messages": 5, "duration_seconds": 5}, "either messages or duration_seconds"),
        ({"messages": 1.5}, r"messages: a whole number is expected, not 1\.5"),
        ({"mesages": 5}, "no parameter 'mesages'. Did you mean 'messages'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(values: dict[str, object], words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        build_fault("topic_flood", {"topic": "t", "messages_per_second": 10, **values})


def test_a_target_without_a_bus_or_a_key_is_not_applicable(broker: Callable[..., Broker]) -> None:
    class Without:
        bus: Any = None

    with pytest.raises(TargetLacks, match="a message bus is needed"):
        COUNTED.prepare(Without())  # type: ignore[arg-type]
    Without.bus = {**broker().bus, "spare_actors": []}
    with pytest.raises(TargetLacks, match="a spare actor's key is needed"):
        COUNTED.prepare(Without())  # type: ignore[arg-type]


@pytest.mark.slow
def test_on_a_twin(tmp_path: Path, link: GuardianLink) -> None:
    with twin(tmp_path / "twin"):
        target = load_target(tmp_path / "twin" / "target.yaml")
        force = bring(replace(COUNTED, messages=1000, messages_per_second=500), target, link)
        sample = wait_for(lambda: s if (s := force.sample()).hold is not Hold.HOLDS else None, 20, "its end")
        assert sample.hold is Hold.DONE and sample.detail["accepted"] == 1000, sample
        force.heal_twice()
