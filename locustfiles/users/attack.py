"""An attack of the plan as a Locust user: it sends what an order says, and ends when all of it is settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from gevent.pool import Group
from locust.exception import StopUser

from harness.contracts import Told
from harness.gates import Order
from locustfiles.attacks.payload import Payload, shares
from locustfiles.attacks.settling import Settling
from locustfiles.flood import FloodUser

NS = 1_000_000_000

FEW_EACH = 2  # requests of each connection: fewer make no stretch that could be measured


class AttackUser(FloodUser):
    """Subclasses say what the payloads are. harness.gates.Attacker is told of it by an Attack."""

    abstract = True
    block: ClassVar[int] = 1  # payloads that refer to each other stay in one share
    in_ledger: ClassVar[bool] = True
    repeatable: ClassVar[bool] = True  # each body bears an id of its own: sent twice, it is still one

    def __init__(self, environment: Any, order: Order) -> None:
        super().__init__(environment)
        params = order.params
        self.host = environment.host
        self.order = order
        self.problem = ""
        self.share = sum(map(len, shares(int(params["total_requests"]), order.index, order.of, self.block)))
        self.connections = max(1, len(range(order.index, int(params["concurrency"]), order.of)))
        self.source_addresses = tuple(params["addresses"])
        rate_per_s = float(params.get("requests_per_second") or 0)
        if rate_per_s:
            self.rate_per_s, self.arrivals = rate_per_s / order.of, str(params["arrivals"])
            self.arrivals_seed = f"{order.seed}:{order.step_id}:{order.index}"
        path = str(params["endpoint"])
        self._settling = Settling(
            self.payloads(order),
            path=path,
            host=str(self.host).partition("//")[2],
            user=self.user_name,
            seed=order.seed + order.index,
            now_s=getattr(environment, "clock_s", time.time),
            repeatable=self.repeatable,
            impatient=self.connections if params.get("impatient") else 0,
            deadline_ns=time.perf_counter_ns() + int(float(params["duration_seconds"]) * NS),
        )

    def payloads(self, order: Order) -> Iterator[Payload]:
        raise NotImplementedError(f"{type(self).__name__} has no payloads()")

    def source(self) -> Settling:
        return self._settling

    def run(self) -> None:
        """Once: what fails here is told, and never begun again as Locust would."""
        try:
            self.flood()
        except StopUser as stop:
            error = stop.__cause__
            self.problem = f"the flood broke off: {type(error).__name__}: {error}" if error else ""


class Attack:
    """harness.gates.Attacker: an AttackUser with a greenlet of its own, beside the users that Locust spawns."""

    def __init__(self, user: AttackUser) -> None:
        self.user = user
        self._group = Group()

    def start(self) -> None:
        self.user.start(self._group)

    def stop(self) -> None:
        """What is under way is given up: whether the target holds it is not known."""
        self._group.kill(block=True)
        self.user.source().give_up()

    def told(self) -> Told:
        source = self.user.source()
        problem, engine = self.user.problem, self.user.engine
        if not len(self._group) and not source.settled and not problem:
            problem = "the flood ended before all of it was settled"
        return Told(
            total=self.user.share,
            sent=source.begun,
            answered=source.replied,
            settled=source.done,
            given_up=source.given_up,
            attempts=source.attempts,
            resent=source.resends,
            counted=sum(engine.counts.totals.values()) if engine is not None else 0,
            invalid=source.invalid,
            in_flight=self._in_flight(),
            rate=source.rate,
            unreached=dict(source.unreached),
            problem=problem,
        )

    def _in_flight(self) -> float:
        """How many requests were under way at a time.

        A flood of hardly more requests than connections is over before a mean says anything: its connections count.
        """
        engine, connections = self.user.engine, self.user.connections
        if engine is None:
            return 0.0
        if self.user.share > FEW_EACH * connections:
            return engine.in_flight
        return max(engine.in_flight, float(min(engine.facts["connects"], connections)))

    def take_rows(self) -> list[dict[str, Any]]:
        rows = self.user.source().take_rows()
        return rows if self.user.in_ledger else []


def by(kind: type[AttackUser]) -> Callable[[Any, Order], Attack]:
    """What makes an attack of an order, for harness.gates."""
    return lambda environment, order: Attack(kind(environment, order))
