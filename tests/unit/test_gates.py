"""Attacks are opened and shut at their nodes, in shares that add up, and a node that is lost or silent is told."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from harness.contracts import TargetError, Told
from harness.gates import ANY, ATTACK, Attackers, Order, RunGates
from harness.guardian_link import FaultHands


class Attack:
    """Sends nothing; remembers what it was asked."""

    made: list[Attack] = []

    def __init__(self, environment: Any, order: Order) -> None:
        self.order, self.state = order, "made"
        self.answer = Told(total=10, sent=4, answered=3, settled=2, given_up=1, unreached={"refused": 1})
        Attack.made.append(self)

    def start(self) -> None:
        self.state = "started"

    def stop(self) -> None:
        self.state = "stopped"

    def told(self) -> Told:
        return self.answer

    def take_rows(self) -> list[dict[str, Any]]:
        return [{"id": self.order.index}]


class Broken(Attack):
    def start(self) -> None:
        raise OSError("no route to it")


@pytest.fixture(autouse=True)
def _nothing_made() -> None:
    Attack.made = []


def here() -> Attackers:
    return Attackers(None, {"/x": Attack, "/broken": Broken, ANY: Attack})


def alone() -> RunGates:
    return RunGates(here(), None, distributed=False, seed=7, prefix="p-")


def test_a_gate_opens_at_its_own_route_and_shuts() -> None:
    gates = alone()
    gates.open("f", {"endpoint": "/x"})
    (one,) = Attack.made
    assert (one.order, one.state) == (
        Order(step_id="f", params={"endpoint": "/x"}, seed=7, prefix="p-"),
        "started",
    )
    assert gates.told("f") == Attack.made[0].answer
    gates.shut("f")
    assert one.state == "stopped" and gates.told("f").sent == 4, "what it did stays known"
    assert gates.here.take_rows() == [{"id": 0}]
    gates.shut("f")
    gates.shut("never opened")


def test_what_cannot_be_sent_is_a_problem_of_the_attack() -> None:
    gates = alone()
    gates.open("f", {"endpoint": "/broken"})
    assert "it could not be sent: OSError: no route to it" in gates.told("f").problem


class Runner:
    """A master with so many workers, each of which carries out what it is told at once."""

    def __init__(self, *names: str) -> None:
        self.nodes = {name: here() for name in names}
        self.clients = SimpleNamespace(ready=[], spawning=[], running=[SimpleNamespace(id=name) for name in names])

    def send_message(self, name: str, message: dict[str, Any], client: str) -> None:
        assert name == ATTACK
        self.nodes[client].obey(message)

    def report(self, gates: RunGates, *names: str) -> None:
        for name in names:
            gates.heard(name, self.nodes[name].prefix, self.nodes[name].told())


def distributed(runner: Runner) -> RunGates:
    return RunGates(here(), runner, distributed=True, seed=7, prefix="p-")


def test_workers_get_a_share_each_and_what_they_tell_adds_up() -> None:
    runner = Runner("b", "a")
    gates = distributed(runner)
    gates.open("f", {"endpoint": "/x"})
    assert [(one.order.index, one.order.of) for one in Attack.made] == [(0, 2), (1, 2)]
    assert gates.told("f").total == 0, "nobody has told yet"
    runner.report(gates, "a")
    assert gates.told("f").total == 0, "one has not begun"
    runner.report(gates, "b")
    assert gates.told("f") == Told(total=20, sent=8, answered=6, settled=4, given_up=2, unreached={"refused": 2})


def test_a_worker_that_is_gone_or_silent_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner("a", "b")
    gates = distributed(runner)
    gates.open("f", {"endpoint": "/x"})
    runner.report(gates, "a", "b")
    gates.nodes["b"].heard_s -= 60
    assert gates.told("f").problem == "worker b is silent"
    runner.clients.running = [one for one in runner.clients.running if one.id == "a"]
    assert "worker b was lost" in gates.told("f").problem


def test_shutting_waits_for_no_worker_that_is_gone() -> None:
    runner = Runner("a", "b")
    gates = distributed(runner)
    gates.open("f", {"endpoint": "/x"})
    runner.clients.running = [one for one in runner.clients.running if one.id == "a"]
    runner.nodes["a"].shut("f")
    runner.report(gates, "a")
    gates.shut("f")
    assert {one.state for one in Attack.made} == {"stopped"}


def test_what_a_worker_tells_of_an_earlier_run_is_nothing_to_this_one() -> None:
    runner = Runner("a")
    distributed(runner).open("f", {"endpoint": "/x"})
    later = RunGates(here(), runner, distributed=True, seed=7, prefix="q-")
    runner.report(later, "a")
    assert later.nodes == {}
    later.open("f", {"endpoint": "/x"})
    runner.report(later, "a")
    assert later.told("f").sent == 4


def test_without_a_worker_or_a_generator_nothing_is_sent() -> None:
    with pytest.raises(TargetError, match="no worker"):
        distributed(Runner()).open("f", {})
    link: Any = None
    with pytest.raises(TargetError, match="no load generator"):
        FaultHands(link, "f").open_gate({})
    assert FaultHands(link, "f").traffic().problem


def test_hands_reach_the_gate_of_their_own_step() -> None:
    gates = alone()
    link: Any = None
    hands = FaultHands(link, "f", gates)
    hands.open_gate({"endpoint": "/anything"})
    assert hands.traffic() == gates.told("f") == replace(Attack.made[0].answer)
