"""API flood: a client that sends more requests to a route, and worse ones, than it is good for the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from faults.helpers import request_witness
from harness.contracts import Hands, Target, TargetError, TargetLacks, Witness
from harness.hosts import own_address
from harness.model import Effect, Hold, Magnitude, Sample, Undo

# 127.0.0.10: neither the legitimate users' address nor that of the probes: a limiter punishes neither for it.
FIRST_CLIENT = 10
CLIENTS_MAX = 50
BLOCKS = 256
ARRIVALS = ("closed", "constant", "poisson")


def addresses(clients: int, block: int) -> tuple[str, ...]:
    """The addresses on loopback that so many clients send from."""
    return tuple(f"127.0.{block}.{FIRST_CLIENT + number}" for number in range(clients))


def senders(target: Target, clients: int, block: int) -> tuple[str, ...]:
    """The addresses that the target sees: only in 127/8 has each client one of its own. Raises TargetError."""
    try:
        own = own_address(target.base_url, target.permitted)
    except OSError as error:
        raise TargetError(str(error)) from None
    return addresses(clients, block) if own.startswith("127.") else (own,)


@dataclass(frozen=True, kw_only=True)
class ApiFlood:
    """Sends *total_requests* POST requests to *endpoint* over *concurrency* connections from *clients* addresses.

    A share of *invalid_ratio* of them is invalid, in many ways. Closed loop: each connection sends its next request
    when the last is answered. With *arrivals* constant or poisson they come at *requests_per_second*, answered or not.
    It is over when each request has its last answer (a 429 or 503 is tried again when the target says so), and after
    *duration_seconds* all the same: that is a limit, and no time scale shortens it. *impatient*: each connection is a
    client with one request, that tries again after 25 to 75 ms until it is served, whatever it was told. Two attacks
    at a time need a *client_block* each: it is the third part of their addresses.
    """

    endpoint: str
    total_requests: int
    invalid_ratio: float = 0.0
    concurrency: int = 100
    duration_seconds: float = 90.0
    clients: int = 1
    client_block: int = 0
    arrivals: str = "closed"
    requests_per_second: float = 0.0
    impatient: bool = False
    payload: Mapping[str, Any] = field(default_factory=dict)
    target: str = "api_server"

    duration_field: ClassVar[str] = ""
    min_duration_s: ClassVar[float] = 0.0
    of_generator: ClassVar[bool] = True
    choices: ClassVar[dict[str, tuple[str, ...]]] = {"arrivals": ARRIVALS}

    witness: ClassVar[str] = "the gateway's count of this route, and the kernel's table of connections"

    def __post_init__(self) -> None:
        if not 0 <= self.invalid_ratio <= 1:
            raise ValueError(f"invalid_ratio: from 0 to 1 is expected, not {self.invalid_ratio!r}")
        if not isinstance(self.impatient, bool):
            raise ValueError(f"impatient: true or false is expected, not {self.impatient!r}")
        if self.impatient and self.arrivals != "closed":
            raise ValueError("impatient: goes with a closed loop, in which each connection is a client")
        if self.clients > CLIENTS_MAX:
            raise ValueError(f"clients: at most {CLIENTS_MAX} are expected, not {self.clients!r}")
        if (self.arrivals == "closed") != (self.requests_per_second == 0):
            raise ValueError("arrivals: constant and poisson go with requests_per_second, closed without it")
        if not isinstance(self.payload, Mapping):
            raise ValueError(f"payload: a mapping is expected, not {self.payload!r}")
        if self.client_block not in range(BLOCKS):
            raise ValueError(
                f"client_block: a whole number from 1 to {BLOCKS - 1} is expected, not {self.client_block!r}"
            )
        for name in ("total_requests", "concurrency", "clients"):
            if getattr(self, name) != int(getattr(self, name)):
                raise ValueError(f"{name}: a whole number is expected, not {getattr(self, name)!r}")

    @property
    def subject(self) -> str:
        """A limiter names the client: the first stands for all of them, who do the same."""
        return addresses(1, int(self.client_block))[0]

    def subject_on(self, target: Target) -> str:
        return self.senders_on(target)[0]

    def senders_on(self, target: Target) -> tuple[str, ...]:
        return senders(target, int(self.clients), int(self.client_block))

    @property
    def limit_s(self) -> float:
        return self.duration_seconds

    @property
    def attain_limit_s(self) -> float:
        return self.duration_seconds

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="sent", value=float(self.total_requests), unit="requests", tolerance=0.0)

    @property
    def also_asked(self) -> tuple[Magnitude, ...]:
        """How many requests are under way at a time; in an open loop how many come a second; how many are invalid."""
        rate, share, number = (
            self.requests_per_second,
            100 * self.invalid_ratio,
            min(self.concurrency, self.total_requests),
        )
        found = [Magnitude(name="concurrency", value=float(number), unit="in flight", tolerance=number * 0.05)]
        if rate:
            found = [Magnitude(name="rate", value=rate, unit="requests/s", tolerance=rate * 0.05)]
        if share:
            found.append(Magnitude(name="invalid share", value=share, unit="%", tolerance=min(5.0, share * 0.05)))
        return tuple(found)

    def prepare(self, target: Target) -> Undo:
        """Nothing of it outlives the process that sends it."""
        route = f"POST {self.endpoint}"
        names = [one.name for one in target.routes]
        if route not in names:
            raise TargetLacks(f"the target has no route {route!r}: {', '.join(names)}")
        found = self.senders_on(target)
        if len(found) < self.clients:
            host = urlsplit(target.base_url).hostname
            why = f"{self.clients} clients need addresses of their own, and towards {host} there is only {found[0]}"
            raise TargetLacks(why)
        return Undo()

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        found = list(self.senders_on(target))
        bound = found if found[0].startswith("127.") else []  # else by itself; a worker elsewhere has another one
        hands.open_gate({**asdict(self), "addresses": bound})
        return Effect(facts={"mechanism": "load generator", "from": found})

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return request_witness.start(target, self.endpoint, self.senders_on(target), hands)

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return sample_of(hands)


def sample_of(hands: Hands) -> Sample:
    """How far the load generator is with it. What never left this machine was no attack."""
    told = hands.traffic()
    keys = ("sent", "answered", "settled", "given_up", "attempts", "counted")
    detail: dict[str, Any] = {key: getattr(told, key) for key in keys}
    share = 100 * told.invalid / told.sent if told.sent else 0.0
    also = {"concurrency": told.in_flight, "rate": told.rate, "invalid share": share}
    detail["also"] = {name: round(value, 3) for name, value in also.items()}
    if told.problem:
        return Sample(achieved=None, hold=Hold.LOST, because=told.problem, detail=detail)
    done = 0 < told.total <= told.settled
    if done and not told.sent:
        whys = ", ".join(f"{count} x {why}" for why, count in told.unreached.items()) or "nothing was tried"
        because = f"nothing reached the target: {whys}"
        return Sample(achieved=None, hold=Hold.LOST, because=because, detail=detail)
    because = f"{told.settled - told.given_up} of {told.total} requests have their last answer"
    because += f", {told.given_up} were given up" if told.given_up else ""
    return Sample(achieved=float(told.sent), hold=Hold.DONE if done else Hold.HOLDS, because=because, detail=detail)


FAULT = ApiFlood
