"""A proxy on one link: `python -m faults.helpers.link_proxy JSON`. What it does to requests makes the fault.

Requests (what callers send) are delayed, dropped, or answered by a reset of their connection; answers pass as they
are, unless "degrade" says how those of a model are made worse (see degrader.py). On a framed link a request is a
message; else it is what one read gives. With "hole" nothing is passed on at all, and the callee is not even dialled.

What the harness itself sends as a witness (from PROBE_ADDRESS) meets the same faults, and is not counted.

A row every 0.25 s: {at, seen, forwarded, dropped, resets, answered, refused, connections, open}, all since the start;
with traffic in that time also added_ms (mean, from a request's arrival to its hand-over, by this process's clock),
dropped_percent and reset_percent (of all requests so far, once there are enough to tell).

SIGTERM: whoever has led callers here has led them away again. It passes everything on at once and ends as soon as
nothing is under way, or after DRAIN_S. After limit_s it passes everything on at once too, but stays: it must not
end while callers may still be led here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

from faults.helpers.degrader import Degrader
from harness.loopback import PROBE_ADDRESS

ROW_EVERY_S = 0.25
DRAIN_S = 1.5
QUIET_S = 0.3  # callers look for a new address more often than that
CHUNK_BYTES = 65536
MESSAGE_BYTES_MAX = 16 << 20
QUEUE_MESSAGES = 1024
ROUNDS_MIN = 3
LENGTH = struct.Struct("!I")


class Dice:
    """Chooses *percent* of what comes: one at a random place of each round of 100/percent.

    The share of what was chosen is taken when a round is over: in mid-round it says nothing.
    """

    def __init__(self, percent: float, seed: int) -> None:
        self.share = percent / 100
        self.generator = random.Random(seed)
        self.thrown = 0
        self.chosen = 0
        self.rounds = 0
        self.next = self.generator.random()
        self.chosen_percent: float | None = None  # after ROUNDS_MIN rounds

    def throw(self) -> bool:
        if self.share <= 0:
            return False
        self.thrown += 1
        hit = self.thrown * self.share > self.next
        if hit:
            self.chosen += 1
            self.next = self.chosen + self.generator.random() * (self.share < 1)
        rounds = int(self.thrown * self.share + 1e-9)
        if rounds > self.rounds and rounds >= ROUNDS_MIN:
            self.chosen_percent = round(100 * self.chosen / self.thrown, 3)
        self.rounds = rounds
        return hit


@dataclass
class Counts:
    """What became of the requests and connections, since the start."""

    seen: int = 0
    forwarded: int = 0
    dropped: int = 0
    resets: int = 0
    answered: int = 0
    refused: int = 0  # connections that the callee did not take
    connections: int = 0
    open: int = 0


async def messages(reader: asyncio.StreamReader, framing: str) -> AsyncIterator[bytes]:
    """The messages of a stream as they come, until its end."""
    if framing != "u32be":
        while data := await reader.read(CHUNK_BYTES):
            yield data
        return
    while True:
        try:
            head = await reader.readexactly(LENGTH.size)
            (length,) = LENGTH.unpack(head)
            if length > MESSAGE_BYTES_MAX:
                raise ConnectionError(f"a message of {length} bytes is too long")
            yield head + await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return


async def dial(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, where = address.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(where)
    host, _, port = where.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection abruptly: on TCP the other end gets a reset, on a unix socket an end without a word."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass
class Proxy:
    """One link's proxy, as its arguments describe it."""

    listen_port: int
    upstream: str
    limit_s: float
    framing: str = ""
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    drop_percent: float = 0.0
    reset_percent: float = 0.0
    hole: bool = False
    seed: int = 1
    degrade: dict[str, Any] | None = None
    counts: Counts = field(default_factory=Counts)
    added_ms: list[float] = field(default_factory=list)  # since the last row
    moved_s: float = 0.0  # when anything was last passed on

    def __post_init__(self) -> None:
        self.clear = asyncio.Event()  # from now on everything passes
        self.told = asyncio.Event()  # to end
        self.drops = Dice(self.drop_percent, self.seed)
        self.cuts = Dice(self.reset_percent, self.seed + 1)
        self.jitter = random.Random(self.seed + 2)
        self.degrader = Degrader(**self.degrade) if self.degrade else None
        self.writers: set[asyncio.StreamWriter] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts = Counts() if writer.get_extra_info("peername")[0] == PROBE_ADDRESS else self.counts
        counts.connections += 1
        counts.open += 1
        self.writers.add(writer)
        try:
            if self.hole and not self.clear.is_set():
                await self._swallow(reader, counts)
            else:
                await self._pass(reader, writer, counts)
        except (OSError, asyncio.IncompleteReadError):
            reset(writer)
        finally:
            self.writers.discard(writer)
            counts.open -= 1
            writer.close()

    async def _swallow(self, reader: asyncio.StreamReader, counts: Counts) -> None:
        async for _ in messages(reader, self.framing):
            counts.seen += 1
            counts.dropped += 1

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counts: Counts) -> None:
        try:
            far_reader, far_writer = await dial(self.upstream)
        except OSError:
            counts.refused += 1
            raise
        queue: asyncio.Queue[tuple[float, float, bytes]] = asyncio.Queue(QUEUE_MESSAGES)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._take(reader, queue, counts))
                group.create_task(self._hand_over(queue, far_writer, counts))
                group.create_task(self._answer(far_reader, writer, counts))
        except* OSError:
            reset(writer)
        finally:
            reset(far_writer) if writer.transport.is_closing() else far_writer.close()

    async def _take(
        self, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, float, bytes]], counts: Counts
    ) -> None:
        """Decides on each request as it comes."""
        last_s = 0.0
        async for message in messages(reader, self.framing):
            now_s = self.moved_s = time.monotonic()
            counts.seen += 1
            if not self.clear.is_set() and self.cuts.throw():
                counts.resets += 1
                raise ConnectionResetError
            if not self.clear.is_set() and self.drops.throw():
                counts.dropped += 1
                continue
            spread_ms = self.jitter.uniform(-self.jitter_ms, self.jitter_ms)
            last_s = max(last_s, now_s + max(0.0, self.delay_ms + spread_ms) / 1000)  # never past the one before
            await queue.put((now_s, last_s, message))
        await queue.put((0.0, 0.0, b""))

    async def _hand_over(
        self, queue: asyncio.Queue[tuple[float, float, bytes]], far: asyncio.StreamWriter, counts: Counts
    ) -> None:
        while True:
            came_s, due_s, message = await queue.get()
            if not message:
                far.write_eof()
                return
            await self._wait_until(due_s)
            far.write(message)
            await far.drain()
            self.moved_s = time.monotonic()
            if counts is self.counts:
                self.added_ms.append(1000 * (self.moved_s - came_s))
            counts.forwarded += 1

    async def _wait_until(self, due_s: float) -> None:
        """Not after everything is to pass."""
        if not self.clear.is_set() and (rest_s := due_s - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self.clear.wait()

    async def _answer(self, far: asyncio.StreamReader, writer: asyncio.StreamWriter, counts: Counts) -> None:
        async for message in messages(far, self.framing):
            if self.degrader and not self.clear.is_set():
                message = self.degrader.degrade(message, counted=counts is self.counts)
            writer.write(message)
            await writer.drain()
            self.moved_s = time.monotonic()
            counts.answered += 1
        writer.write_eof()

    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"at": time.monotonic(), **asdict(self.counts)}
        if self.added_ms:
            row["added_ms"] = round(sum(self.added_ms) / len(self.added_ms), 3)
            self.added_ms.clear()
        if self.hole and self.counts.seen:
            row["dropped_percent"] = round(100 * self.counts.dropped / self.counts.seen, 3)
        elif self.drops.chosen_percent is not None:
            row["dropped_percent"] = self.drops.chosen_percent
        if self.cuts.chosen_percent is not None:
            row["reset_percent"] = self.cuts.chosen_percent
        return row | (self.degrader.row() if self.degrader else {})

    async def report(self) -> None:
        seen = 0
        while True:
            await asyncio.sleep(ROW_EVERY_S)
            row = self.row()
            if self.counts.seen == seen:  # no traffic: shares of long ago measure nothing now
                row.pop("dropped_percent", None)
                row.pop("reset_percent", None)
            seen = self.counts.seen
            print(json.dumps(row), flush=True)

    def pass_all(self) -> None:
        """Everything passes at once; whoever hangs in a black hole is let go, since what it sent is gone."""
        self.clear.set()
        for writer in list(self.writers) if self.hole else ():
            reset(writer)

    async def drain(self) -> None:
        """Until nothing is under way."""
        self.moved_s = time.monotonic()
        end_s = time.monotonic() + DRAIN_S
        while self.counts.open and time.monotonic() < end_s:
            waiting = self.framing != "" and self.counts.answered < self.counts.forwarded
            if not waiting and time.monotonic() > self.moved_s + QUIET_S:
                break
            await asyncio.sleep(0.01)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.told.set)
        try:
            server = await asyncio.start_server(self.connected, "127.0.0.1", self.listen_port, backlog=512)
        except OSError as error:
            told = f"cannot listen on port {self.listen_port}: {error.strerror}"
            print(json.dumps({"at": time.monotonic(), "error": told}), flush=True)
            sys.exit(told)
        print(json.dumps({"at": time.monotonic(), "listening": self.listen_port}), flush=True)
        reporting = asyncio.create_task(self.report())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.told.wait(), self.limit_s)
        self.pass_all()
        await self.told.wait()
        await self.drain()
        reporting.cancel()
        print(json.dumps(self.row()), flush=True)
        server.close()


async def main() -> None:
    await Proxy(**json.loads(sys.argv[1])).run()


if __name__ == "__main__":
    asyncio.run(main())
