"""A link to hurt: a server, a client that finds it by an address file, and a target whose manifest tells of both."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.contracts import Link

LENGTH = struct.Struct("!I")


class _Echo(socketserver.StreamRequestHandler):
    """Answers each message (its length before it) with the same."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while head := self.rfile.read(LENGTH.size):
                body = self.rfile.read(LENGTH.unpack(head)[0])
                self.server.heard.append(body)  # type: ignore[attr-defined]
                self.wfile.write(head + body)


class _Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True


class Client:
    """Calls over one connection, as long as the address file names where that leads."""

    def __init__(self, address_file: Path, *fallback: Path) -> None:
        self.files = (address_file, *fallback)
        self.address = ""
        self.socket: socket.socket | None = None

    def call(self, body: bytes = b"hello", timeout_s: float = 2.0) -> float:
        """How long the answer took, in ms. Raises OSError (TimeoutError: no answer), and dials anew next time."""
        began_s = time.monotonic()
        address = next(file for file in self.files if file.exists()).read_text().strip()
        try:
            if self.socket is None or address != self.address:
                self.close()
                self.socket, self.address = _dial(address), address
            self.socket.settimeout(timeout_s)
            self.socket.sendall(LENGTH.pack(len(body)) + body)
            if self._read(LENGTH.unpack(self._read(LENGTH.size))[0]) != body:
                raise AssertionError("an answer to another question")
        except OSError:
            self.close()
            raise
        return 1000 * (time.monotonic() - began_s)

    def outcome(self, timeout_s: float = 0.2) -> str:
        """ "ok", or the name of the error."""
        try:
            self.call(timeout_s=timeout_s)
        except OSError as error:
            return type(error).__name__
        return "ok"

    def _read(self, count: int) -> bytes:
        data = b""
        assert self.socket
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFOnLink("the other end has hung up")
            data += part
        return data

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class EOFOnLink(ConnectionError):
    """The connection has ended in order, without an answer."""


def _dial(address: str) -> socket.socket:
    kind, _, where = address.partition(":")
    one = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
    host, _, port = where.rpartition(":")
    one.connect(where if kind == "unix" else (host, int(port)))
    return one


@dataclass
class LinkTarget:
    """contracts.Target, as far as a network fault asks."""

    links: dict[str, Link]
    address_file: Path
    own_file: Path  # of the one caller, at first not there
    heard: list[bytes]

    def client(self) -> Client:
        return Client(self.address_file)

    def own_client(self) -> Client:
        return Client(self.own_file, self.address_file)


@contextlib.contextmanager
def linked(folder: Path, kind: str = "unix", framing: str = "u32be") -> Iterator[LinkTarget]:
    """A callee `memory` behind a unix or a TCP socket, called by `reader` among others."""
    if kind == "unix":
        server: socketserver.BaseServer = _Unix(str(folder / "memory.sock"), _Echo)
        address = f"unix:{folder / 'memory.sock'}"
    else:
        server = _Tcp(("127.0.0.1", 0), _Echo)
        address = f"tcp:127.0.0.1:{server.server_address[1]}"  # type: ignore[index]
    server.heard = heard = []  # type: ignore[attr-defined,var-annotated]
    common, own = folder / "memory.addr", folder / "reader" / "memory.addr"
    own.parent.mkdir()
    common.write_text(f"{address}\n")
    common.chmod(0o640)
    about = {"callee": "memory", "framing": framing}
    links = {
        "memory": Link(name="memory", address_file=common, callers=("reader", "writer"), **about),  # type: ignore[arg-type]
        "reader->memory": Link(name="reader->memory", address_file=own, callers=("reader",), **about),  # type: ignore[arg-type]
    }
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield LinkTarget(links, common, own, heard)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
