"""The witness of a request flood: the gateway's own count of the route, and the kernel's table of connections."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from socket import inet_ntoa
from urllib.parse import urlsplit

from faults.helpers.witness import Counted, Total, requests_counter
from harness.contracts import Hands, Target
from harness.model import Effect

TABLE = Path("/proc/net/tcp")
ESTABLISHED = "01"
BY_GATEWAY = "the gateway's own count of this route"
BY_GENERATOR = "the engine's count of ended requests, which the source does not make"
LOOKS_MIN = 3  # so often it must have seen none, while requests were sent, before none is what there is
BY_KERNEL = "connections in the kernel's table"


def start(target: Target, endpoint: str, senders: Sequence[str], hands: Hands) -> Total:
    """Counts from now on. A target that counts no requests leaves the load generator's other count."""
    parts = urlsplit(target.base_url)
    connections = Connections(senders, parts.port or 80)
    port_names = {"concurrency": BY_KERNEL}

    def retries() -> float:
        told = hands.traffic()
        if 0 < told.sent < told.total:
            connections.look()
        return float(max(0, told.attempts - told.sent))

    def also() -> Mapping[str, float]:
        return {"concurrency": float(connections.most)} if connections.most or connections.blank else {}

    count: Callable[[Effect], Counted | None]
    again: Callable[[], None]
    try:
        route = f"POST {endpoint}"
        polled = requests_counter(target, route)
        count, again, name = polled, polled.look, BY_GATEWAY
    except LookupError:
        name, again, route = BY_GENERATOR, lambda: None, ""

        def count(_: Effect) -> Counted:
            return time.monotonic(), float(hands.traffic().counted)

    made = Total(count, less=retries, more=also, also_names=port_names, again=again)
    made.name, made.route = name, route
    return made


class Connections:
    """How many connections from *senders* to *port* are established; *most*: at one look so far."""

    def __init__(self, senders: Sequence[str], port: int, table: Path = TABLE) -> None:
        self.senders, self.port, self.table = frozenset(senders), f"{port:04X}", table
        self.most = self.looks = 0
        # a load generator elsewhere sends from its own machine, and the table of this one has nothing of it
        self.here = all(one.startswith("127.") for one in self.senders)

    @property
    def blank(self) -> bool:
        """Whether it looked often enough, where all of them would be seen, to say that there was none."""
        return self.here and self.looks >= LOOKS_MIN and not self.most

    def look(self) -> int:
        try:
            rows = self.table.read_text().splitlines()[1:]
        except OSError:
            return 0
        self.looks += 1
        cells = (row.split()[1:4] for row in rows)
        now = {  # a table that changes while it is read may show a row twice
            local
            for local, remote, state in cells
            if state == ESTABLISHED and remote.endswith(f":{self.port}") and _address(local) in self.senders
        }
        self.most = max(self.most, len(now))
        return len(now)


def _address(text: str) -> str:
    """An address as the kernel writes it, in its own byte order."""
    packed = bytes.fromhex(text.partition(":")[0])
    return inet_ntoa(packed[::-1] if sys.byteorder == "little" else packed)
