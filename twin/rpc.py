"""Requests between kernels: JSON with a length before it, many at a time on one connection to where links.py says.

Services never use the bus: a stopped broker must not silence a kernel that has nothing to do with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twin.call_stats import CallStats
from twin.links import AddressBook

Handler = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
LENGTH = struct.Struct("!I")
FRAME_BYTES_MAX = 8 << 20
USUAL_MS_MAX = 100.0


class KernelError(Exception):
    """A kernel refuses: an HTTP status, a word and details, which reach the client as they are."""

    def __init__(self, status: int, error: str, **detail: Any) -> None:
        super().__init__(f"{status} {error} {detail}")
        self.status = status
        self.error = error
        self.detail = detail


class KernelTimeout(Exception):
    """The kernel took the request and has not answered in time."""


class KernelUnavailable(Exception):
    """There is no kernel at the other end."""


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any]:
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > FRAME_BYTES_MAX:
        raise ConnectionError(f"a frame of {length} bytes is too long")
    frame: dict[str, Any] = json.loads(await reader.readexactly(length))
    return frame


def frame_of(content: dict[str, Any]) -> bytes:
    body = json.dumps(content).encode()
    return LENGTH.pack(len(body)) + body


async def serve(path: Path, handle: Handler) -> asyncio.AbstractServer:
    """Answers requests at *path*; each in a task of its own, so a slow one holds up no other."""
    path.unlink(missing_ok=True)
    tasks: set[asyncio.Task[None]] = set()

    async def answer(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        try:
            result: dict[str, Any] = {"result": await handle(request["op"], request["payload"])}
        except KernelError as error:
            result = {"status": error.status, "error": error.error, "detail": error.detail}
        except (KernelTimeout, KernelUnavailable) as error:
            status = 504 if isinstance(error, KernelTimeout) else 503
            word = "kernel_timeout" if status == 504 else "kernel_unavailable"
            result = {"status": status, "error": word, "detail": {"kernel": str(error)}}
        except Exception as error:
            result = {
                "status": 500,
                "error": "internal",
                "detail": {"reason": f"{type(error).__name__}: {error}"},
            }
        with contextlib.suppress(ConnectionError):
            writer.write(frame_of({"id": request["id"], **result}))
            await writer.drain()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                task = asyncio.create_task(answer(await read_frame(reader), writer))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        writer.close()

    return await asyncio.start_unix_server(connected, path)


class _Connection:
    """One connection and the requests that wait for their answers on it."""

    def __init__(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.address = address
        self.writer = writer
        self.waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.numbers = itertools.count(1)
        self.closed = False
        self.retired = False
        self.task = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
            while True:
                frame = await read_frame(reader)
                future = self.waiting.pop(frame["id"], None)  # None: it came after its time-out
                if future is not None and not future.done():
                    future.set_result(frame)
        self.closed = True
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError())
        self.writer.close()

    def retire(self) -> None:
        """No new request will come: it closes when the last that waits has its answer."""
        self.retired = True
        self.rest()

    def rest(self) -> None:
        if self.retired and not self.waiting:
            self.writer.close()


async def dial(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError; also for an address that is none."""
    kind, _, where = address.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(where)
    host, _, port = where.rpartition(":")
    if kind != "tcp" or not port.isdigit():
        raise ConnectionError(f"{address!r} is not an address")
    return await asyncio.open_connection(host, int(port))


class RpcClient:
    """Calls kernels by name, as *caller*. A kernel that was restarted or has moved is found again by itself.

    What became of each call is in *stats*, unless the caller itself gave up.
    """

    def __init__(self, run_dir: Path, caller: str, usual_ms_max: float = USUAL_MS_MAX) -> None:
        self.stats = CallStats(usual_ms_max)
        self._book = AddressBook(run_dir, caller)
        self._connections: dict[str, _Connection] = {}
        self._dialling: dict[str, asyncio.Lock] = {}

    async def call(self, kernel: str, op: str, payload: dict[str, Any], timeout_s: float = 2.0) -> dict[str, Any]:
        """Raises KernelTimeout, KernelUnavailable, or the KernelError that the kernel raised."""
        began_s = time.monotonic()
        try:
            # not wait_for: before Python 3.12 it forgets a cancellation when the call fails at the same moment, and a
            # kernel that calls again and again would never come to its end
            async with asyncio.timeout(timeout_s):
                frame = await self._ask(kernel, op, payload)
        except TimeoutError:
            self._note(kernel, began_s, answered=False)
            raise KernelTimeout(kernel) from None
        except OSError:  # no address, nobody there, or the connection has ended
            self._note(kernel, began_s, answered=False)
            raise KernelUnavailable(kernel) from None
        self._note(kernel, began_s, answered=True)
        if "error" in frame:
            raise KernelError(frame["status"], frame["error"], **frame["detail"])
        result: dict[str, Any] = frame["result"]
        return result

    def _note(self, kernel: str, began_s: float, answered: bool) -> None:
        now_s = time.monotonic()
        self.stats.note(kernel, now_s, now_s - began_s, answered)

    async def _ask(self, kernel: str, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        connection = self._usable(kernel) or await self._connect(kernel)
        number = next(connection.numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        connection.waiting[number] = future
        try:
            connection.writer.write(frame_of({"id": number, "op": op, "payload": payload}))
            await connection.writer.drain()
            return await future
        finally:
            connection.waiting.pop(number, None)
            connection.rest()

    def _usable(self, kernel: str) -> _Connection | None:
        """The open connection to where *kernel* is now."""
        connection = self._connections.get(kernel)
        if connection is None or connection.closed:
            return None
        return connection if connection.address == self._book.address(kernel, time.monotonic()) else None

    async def _connect(self, kernel: str) -> _Connection:
        """A new connection; one that leads elsewhere takes no new requests, and answers those that it has."""
        async with self._dialling.setdefault(kernel, asyncio.Lock()):
            connection = self._usable(kernel)  # another has dialled meanwhile
            if connection is None:
                address = self._book.address(kernel, time.monotonic(), fresh=True)
                connection = _Connection(address, *await dial(address))
                old = self._connections.get(kernel)
                self._connections[kernel] = connection
                if old is not None:
                    old.retire()
            return connection
