"""Attacks as steps of the plan: opened and shut here, sent by this process or, in equal shares, by the workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import gevent

from harness.contracts import TargetError, Told

ATTACK = "grace_attack"  # the message that tells a worker what to do
ANY = "*"  # the attacker for a route that has none of its own
COUNTED = (
    "total",
    "sent",
    "answered",
    "settled",
    "given_up",
    "attempts",
    "resent",
    "counted",
    "invalid",
)  # of Told, adds up
MEASURED = ("in_flight", "rate")
SHUT_LIMIT_S = 5.0
SILENT_S = 10.0  # a worker that sends has so long to tell how far it is


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one process is to send: share *index* of *of* of a step's requests.

    The same *seed* makes the same words; each id begins with *prefix*, so that a target which lives on after a run
    never takes one run's requests for another's.
    """

    step_id: str
    params: Mapping[str, Any]
    seed: int
    prefix: str
    index: int = 0
    of: int = 1


class Attacker(Protocol):
    """Sends what an order says, from start() to stop(). told() counts this process's share only."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """At once; what is under way is given up."""
        ...

    def told(self) -> Told: ...

    def take_rows(self) -> list[dict[str, Any]]:
        """The ledger's rows since the last call: one for each request that is settled."""
        ...


Kinds = Mapping[str, Callable[[Any, Order], Attacker]]  # route → what sends to it


class Attackers:
    """The attacks of this process."""

    def __init__(self, environment: Any, kinds: Kinds) -> None:
        self.environment = environment
        self.kinds = kinds
        self.running: dict[str, Attacker] = {}
        self._shut: dict[str, Told] = {}
        self.prefix = ""  # of the run that these are for
        self._rows: list[dict[str, Any]] = []

    def obey(self, message: Mapping[str, Any]) -> None:
        """{do: open, order} or {do: shut, step_id}. What goes wrong is told as the attack's problem."""
        if message["do"] == "shut":
            self.shut(message["step_id"])
            return
        order = Order(**message["order"])
        if order.prefix != self.prefix:  # a worker lives on from run to run
            self.prefix = order.prefix
            self._shut.clear()
        endpoint = str(order.params.get("endpoint", ""))
        try:
            kind = self.kinds.get(endpoint) or self.kinds[ANY]
            attacker = kind(self.environment, order)
            attacker.start()
            self.running[order.step_id] = attacker
        except (Exception, SystemExit) as error:
            self._shut[order.step_id] = Told(problem=f"it could not be sent: {type(error).__name__}: {error}")

    def shut(self, step_id: str) -> None:
        attacker = self.running.pop(step_id, None)
        if attacker is not None:
            attacker.stop()
            self._rows += attacker.take_rows()
            self._shut[step_id] = attacker.told()

    def shut_all(self) -> None:
        for step_id in list(self.running):
            self.shut(step_id)

    def told(self) -> dict[str, dict[str, Any]]:
        """By step: what Told says, and whether it is `shut`."""
        open_now = {step_id: {**asdict(one.told()), "shut": False} for step_id, one in self.running.items()}
        return {**{step_id: {**asdict(one), "shut": True} for step_id, one in self._shut.items()}, **open_now}

    def take_rows(self) -> list[dict[str, Any]]:
        rows, self._rows = self._rows, []
        for attacker in self.running.values():
            rows += attacker.take_rows()
        return rows


@dataclass
class _Node:
    """A process that sends, as the one that judges knows it."""

    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    heard_s: float = 0.0


class RunGates:
    """contracts.Gates for one run: by *here* alone, or by the workers that *runner* has when a gate is opened."""

    def __init__(self, here: Attackers, runner: Any, distributed: bool, seed: int, prefix: str) -> None:
        self.here = here
        self.runner = runner
        self.distributed = distributed
        self.seed = seed
        self.prefix = prefix
        self.nodes: dict[str, _Node] = {}
        self.opened: dict[str, list[str]] = {}  # step id → the workers that send it

    def open(self, step_id: str, params: Mapping[str, Any]) -> None:
        names = sorted(self._workers()) if self.distributed else [""]
        if not names:
            raise TargetError("no worker is there to send it")
        self.opened[step_id] = names
        for index, name in enumerate(names):
            order = Order(
                step_id=step_id, params=params, seed=self.seed, prefix=self.prefix, index=index, of=len(names)
            )
            self._node(name).heard_s = time.monotonic()
            self._say(name, {"do": "open", "order": asdict(order)})

    def _workers(self) -> list[str]:
        return [one.id for state in ("ready", "spawning", "running") for one in getattr(self.runner.clients, state)]

    def _node(self, name: str) -> _Node:
        return self.nodes.setdefault(name, _Node())

    def _say(self, name: str, message: dict[str, Any]) -> None:
        if name:
            self.runner.send_message(ATTACK, message, name)
        else:
            self.here.obey(message)

    def heard(self, name: str, prefix: str, told: Mapping[str, Mapping[str, Any]]) -> None:
        """Worker *name* tells how far its attacks are; what it tells of an earlier run is nothing to this one."""
        if prefix != self.prefix:
            return
        node = self._node(name)
        node.heard_s = time.monotonic()
        node.told.update({step_id: dict(one) for step_id, one in told.items()})

    def _told_by(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        return self._node(name).told if name else self.here.told()

    def told(self, step_id: str) -> Told:
        """All shares together. A worker that is silent or gone is a problem: what it has sent is not known."""
        names = self.opened.get(step_id, [])
        found = [self._told_by(name).get(step_id, {}) for name in names]
        problems = [str(one["problem"]) for one in found if one.get("problem")]
        problems += [f"worker {name} is silent" for name in names if name and self._silent(name)]
        here = set(self._workers()) if self.distributed else {""}
        problems += [f"worker {name} was lost" for name in names if name not in here]
        if not all(found):
            return Told(problem="; ".join(problems))  # not all have begun
        sums: dict[str, Any] = {key: sum(int(one.get(key, 0)) for one in found) for key in COUNTED}
        sums |= {key: sum(float(one.get(key, 0.0)) for one in found) for key in MEASURED}
        unreached: Counter[str] = Counter()
        for one in found:
            unreached.update(one["unreached"])
        return Told(**sums, unreached=dict(unreached), problem="; ".join(problems))

    def _silent(self, name: str) -> bool:
        return time.monotonic() - self._node(name).heard_s > SILENT_S

    def shut(self, step_id: str) -> None:
        names = self.opened.get(step_id, [])
        for name in names:
            self._say(name, {"do": "shut", "step_id": step_id})
        with gevent.Timeout(SHUT_LIMIT_S, False):
            while not all(self._told_by(name).get(step_id, {}).get("shut") for name in names if name in self._left()):
                gevent.sleep(0.05)

    def _left(self) -> set[str]:
        return set(self._workers()) if self.distributed else {""}
