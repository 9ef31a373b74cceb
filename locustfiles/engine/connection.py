"""One client connection: its socket, what was sent on it and what has come back so far."""

from __future__ import annotations

import contextlib
import errno
from _socket import socket as Socket
from collections.abc import Callable
from socket import AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_TCP, SOCK_NONBLOCK, SOCK_STREAM, TCP_NODELAY
from typing import Any

from locustfiles.engine.heads import Head
from locustfiles.engine.rare import RareAnswer

SHUT, CONNECTING, IDLE, BUSY, DOWN = range(5)  # DOWN: it waits before it connects again
IP_BIND_ADDRESS_NO_PORT = 24  # else each bound address uses up a port for itself
NOTHING: Any = object()  # in place of a token: no request is under way

ERRORS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timed out",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EADDRNOTAVAIL: "no free port",
    errno.EMFILE: "too many open files",
}


def word_for(code: int | None) -> str:
    return ERRORS.get(code or 0, errno.errorcode.get(code or 0, "failed").lower())


class Connection:
    """State that the exchange moves; the methods only open, forget and close."""

    __slots__ = (
        "answer_ns", "closing", "failures", "fd", "head", "head_key", "late_ns", "method", "missing", "partial",
        "parts", "place", "plain", "rare", "recv", "request", "send", "sent_ns", "sock", "source_address",
        "state", "token", "unsent", "until_ns", "used",
    )  # fmt: skip

    def __init__(self, source_address: str, answer_ns: int) -> None:
        self.source_address = source_address
        self.answer_ns = answer_ns
        self.state = SHUT
        self.place = 0
        self.failures = 0  # in a row: sockets on which nothing was ever answered
        self.until_ns = 0
        self.sock: Socket | None = None
        self.fd = -1
        self.recv: Callable[[int], bytes]
        self.send: Callable[[Any], int]
        self.token: Any = NOTHING
        self.request: bytes | None = None  # None: the source encodes the token once more when it is needed
        self.method = b""
        self.sent_ns = 0
        self.late_ns = 0  # how much later it was sent than intended
        self.used = 0  # answers that came on this socket
        self.closing = False  # the other side has said that it will read no more
        self.plain = False  # in mid-flight, reused, all sent and nothing received: the fast path may read it
        self.unsent: memoryview | None = None
        self.forget()

    @property
    def deadline_ns(self) -> int:
        if self.state == BUSY:
            return self.sent_ns + self.answer_ns
        return self.until_ns if self.state in (CONNECTING, DOWN) else 0

    def forget(self) -> None:
        """Nothing of an answer has come."""
        self.partial = b""
        self.head: Head | None = None
        self.head_key = b""
        self.parts: list[bytes] = []
        self.missing = 0
        self.rare: RareAnswer | None = None

    def open(self, address: tuple[str, int]) -> int:
        """Begins to connect; the error number of a failure that is already known, else 0."""
        family = AF_INET6 if ":" in address[0] else AF_INET
        try:
            sock = self.sock = Socket(family, SOCK_STREAM | SOCK_NONBLOCK)
            self.fd = sock.fileno()
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            if self.source_address:
                sock.setsockopt(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((self.source_address, 0))
            code = sock.connect_ex(address)
        except OSError as error:
            return error.errno or errno.EIO
        self.recv, self.send = sock.recv, sock.send
        self.used = 0
        self.closing = False
        return 0 if code == errno.EINPROGRESS else code

    def shut(self) -> Socket | None:
        """Gives up the socket, which the caller closes when no event of it can be under way any more."""
        sock, self.sock, self.fd = self.sock, None, -1
        self.state = SHUT
        self.plain = False
        self.unsent = None
        self.forget()
        return sock


def close_all(socks: list[Socket]) -> None:
    for sock in socks:
        with contextlib.suppress(OSError):
            sock.close()
    socks.clear()
