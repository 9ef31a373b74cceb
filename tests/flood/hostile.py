"""A server that answers in every shape there is, or not at all, and counts what it did.

`python -m tests.flood.hostile [IDLE_S]` prints its port. For each line on its standard input it prints its counts as
one line of JSON; at the end of its input it ends. The first part of a request's path names the shape, the second is
the id: POST /chunked/17. The shape `any` is another one each time, mostly `plain`.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

BODY = b'{"status":"accepted"}'
BIG = b"x" * 700_001
PAUSE_S = 0.0005
RECEIVE_BUFFER_BYTES = 16_384


def head(status: int, *lines: str, version: str = "1.1", reason: str = " Whatever") -> bytes:
    return "\r\n".join([f"HTTP/{version} {status}{reason}", *lines, "", ""]).encode()


def plain(status: int, *lines: str, body: bytes = BODY, version: str = "1.1", reason: str = " Whatever") -> bytes:
    return head(status, f"Content-Length: {len(body)}", *lines, version=version, reason=reason) + body


CHUNKS = b"5\r\n" + BODY[:5] + b"\r\n10;ext=1\r\n" + BODY[5:21] + b"\r\n0\r\nX-Trailer: 1\r\n\r\n"
CHUNKED = head(200, "Transfer-Encoding: chunked") + CHUNKS


@dataclass(frozen=True)
class Shape:
    """What is sent, and what a right client makes of it. *status* 0: no answer came."""

    sends: tuple[bytes, ...]
    status: int = 200
    body: int = len(BODY)
    then: str = "stay"  # close, reset: at once; late: after a while; silent, drain: when the client has closed
    outcome: str = "ok"
    reads: bool = True  # False: the body is not waited for
    slowly: bool = False  # the body is read in small pieces


def cut(*sends: bytes, then: str = "close") -> Shape:
    return Shape(sends, 0, 0, then, "failed")


def bytewise(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[at : at + 1] for at in range(len(data)))


def halves(data: bytes, at: int) -> tuple[bytes, ...]:
    return data[:at], data[at:]


GOOD = {
    "plain": Shape((plain(200),)),
    "bytewise": Shape(bytewise(plain(200))),
    "late": Shape((b"",) * 300 + (plain(200),)),
    "split_head": Shape(halves(plain(200), 20)),
    "split_line_end": Shape(halves(plain(200), plain(200).index(b"\r\n\r\n") + 3)),
    "split_body": Shape(halves(plain(200), len(plain(200)) - 7)),
    "empty": Shape((plain(200, body=b""),), body=0),
    "big": Shape((plain(200, body=BIG),), body=len(BIG)),
    "lower_case": Shape((plain(200).replace(b"Content-Length:", b"content-length:"),)),
    "no_reason": Shape((plain(200, reason=""),)),
    "spaces": Shape((plain(200).replace(b"Content-Length: 21", b"Content-Length: \t21 \t"),)),
    "created": Shape((plain(201),), 201),
    "no_content": Shape((head(204),), 204, 0),
    "no_content_with_length": Shape((head(204, "Content-Length: 9"),), 204, 0),
    "not_modified": Shape((head(304, "Content-Length: 21"),), 304, 0, outcome="failed"),
    "continue": Shape((head(100), plain(200))),
    "continue_at_once": Shape((head(100) + plain(200),)),
    "early_hints": Shape((head(103, "Link: </x>"), head(103, "Link: </y>"), plain(200))),
    "chunked": Shape((CHUNKED,)),
    "chunked_bytewise": Shape(bytewise(CHUNKED)),
    "chunked_split": Shape(halves(CHUNKED, len(CHUNKED) - 2)),
    "chunked_and_length": Shape((head(200, "Content-Length: 3", "Transfer-Encoding: chunked") + CHUNKS,)),
    "till_closed": Shape((head(200) + BODY,), then="close"),
    "till_closed_split": Shape((head(200), BODY[:3], BODY[3:]), then="close"),
    "old": Shape((head(200, version="1.0") + BODY,), then="close"),
    "old_with_length": Shape((plain(200, version="1.0"),), then="close"),
    "old_kept": Shape((plain(200, "Connection: keep-alive", version="1.0"),)),
    "close_told": Shape((plain(200, "Connection: close"),), then="close"),
    "close_told_not_done": Shape((plain(200, "Connection: foo, Close"),), then="silent"),
    "folded": Shape((plain(200, "X-Long: a", "  b", "\tc"),)),
    "line_feeds": Shape((plain(200).replace(b"\r\n", b"\n"),)),
    "more_than_told": Shape((plain(200) + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",)),
    "chunked_and_more": Shape((CHUNKED + b"HTTP/1.1 200 OK\r\n",)),
    "limited": Shape((plain(429, "Retry-After: 2"),), 429, outcome="limited"),
    "shed": Shape((plain(503, "Retry-After: 1"),), 503, outcome="shed"),
    "unavailable": Shape((plain(503),), 503, outcome="failed"),
    "not_found": Shape((plain(404),), 404, outcome="failed"),
    "broken": Shape((plain(500, "Connection: close"),), 500, outcome="failed", then="close"),
    "refused_early": Shape((plain(413, "Connection: close"),), 413, outcome="failed", then="drain", reads=False),
    "refused_early_kept": Shape((plain(413),), 413, outcome="failed", then="drain", reads=False),
    "read_slowly": Shape((plain(200),), slowly=True),
}
BAD = {
    "closed": cut(),
    "reset": cut(then="reset"),
    "cut_head": cut(plain(200)[:30]),
    "cut_status": cut(b"HTT"),
    "cut_body": cut(plain(200)[:-3]),
    "cut_body_reset": cut(plain(200)[:-3], then="reset"),
    "cut_chunk": cut(CHUNKED[:-9]),
    "cut_last_chunk": cut(CHUNKED[:-2]),
    "cut_after_continue": cut(head(100)),
    "garbage": cut(b"\x00\x01\x02 what?\r\n\r\n"),
    "two_lengths": cut(head(200, "Content-Length: 3", "Content-Length: 21") + BODY),
    "negative_length": cut(head(200, "Content-Length: -1") + BODY),
    "no_number": cut(head(200, "Content-Length: 0x15") + BODY),
    "bad_chunk": cut(head(200, "Transfer-Encoding: chunked") + b"zz\r\nab\r\n0\r\n\r\n"),
    "unknown_coding": cut(head(200, "Transfer-Encoding: gzip, chunked") + CHUNKS),
    "endless_head": cut(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"b" * 80_000),
    "silent": cut(then="silent"),
    "silent_in_body": cut(plain(200)[:-3], then="silent"),
}
SHAPES = {**GOOD, **BAD}
RACING_AFTER = 3  # answers on one connection, of racing_later
RACING = Shape((plain(200),), then="late")  # it has not said that it will close: the next request is on its way
LATE_S = 0.01
REQUEST = re.compile(rb"(?:GET|HEAD|POST) /(\w+)/(\w+) HTTP/1\.1\r\nHost: \S+(?:\r\n|$)")
ANY = [name for name in SHAPES if not name.startswith("silent") and SHAPES[name].reads] + ["plain"] * 100
BULKY = (
    "refused_early",
    "refused_early_kept",
    "read_slowly",
)  # they are asked with a body that no socket takes at once


class Hostile:
    """One thread a connection. A count is made before the last byte is sent, so nobody can see the answer before it."""

    def __init__(self, idle_s: float | None = None) -> None:
        self.idle_s = idle_s  # a connection that is idle for so long is closed without a word
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()  # SHAPE STATUS OUTCOME
        self.random = random.Random(1)
        self.received: Counter[str] = Counter()  # SHAPE
        self.ids: Counter[str] = Counter()
        self.peers: Counter[str] = Counter()  # client address: connections
        self.facts: Counter[str] = Counter()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)

    def accept_all(self) -> None:
        while True:
            try:
                peer, address = self.listener.accept()
            except OSError:
                return
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.add(self.peers, address[0])
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def add(self, counter: Counter[str], key: str, count: int = 1) -> None:
        with self.lock:
            counter[key] += count

    def serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            data = b""
            for number in count():
                peer.settimeout(self.idle_s)
                request = self.request(peer, data)
                if request is None:
                    return
                name, shape, data = request
                if name == "racing_later":
                    shape = RACING if number == RACING_AFTER else GOOD["plain"]
                peer.settimeout(None)
                if not self.answer(peer, name, shape):
                    return

    def request(self, peer: socket.socket, data: bytes) -> tuple[str, Shape, bytes] | None:
        """One request is read; (shape's name, shape, what came after it)."""
        while b"\r\n\r\n" not in data:
            more = peer.recv(65_536)
            if not more:
                return None
            data += more
        lines, _, body = data.partition(b"\r\n\r\n")
        asked = REQUEST.match(lines)
        if asked is None:
            self.add(self.facts, "requests that are none")
            return None
        name, number = asked[1].decode(), asked[2].decode()
        shape = self.shape(name)
        length = next((int(line[15:]) for line in lines.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
        if shape.reads:
            body = bytearray(body)
            while len(body) < length:
                more = peer.recv(8192 if shape.slowly else 65_536)
                if not more:
                    return None
                body += more
            if body[:length].strip(b"y"):
                self.add(self.facts, "bodies that were not what was sent")
        self.add(self.received, name)
        self.add(self.ids, f"{name}/{number}")
        return name, shape, body[length:]

    def shape(self, name: str) -> Shape:
        if name.startswith("racing"):
            return RACING
        if name != "any":
            return SHAPES[name]
        with self.lock:
            return SHAPES[self.random.choice(ANY)]

    def answer(self, peer: socket.socket, name: str, shape: Shape) -> bool:
        """Whether the connection goes on."""
        self.add(self.counts, f"{name} {shape.status} {shape.outcome}")
        self.add(self.facts, "body bytes", shape.body)
        for number, piece in enumerate(shape.sends):
            if number:
                threading.Event().wait(PAUSE_S)
            peer.sendall(piece)
        if shape.then == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif shape.then == "drain":
            peer.shutdown(socket.SHUT_WR)
        elif shape.then == "late":
            threading.Event().wait(LATE_S)
        if shape.then in ("silent", "drain"):
            while peer.recv(65_536):
                pass
        return shape.then == "stay"

    def told(self) -> dict[str, Any]:
        with self.lock:
            twice = [one for one, count in self.ids.items() if count > 1]
            return {
                "counts": dict(self.counts),
                "received": dict(self.received),
                "twice": sorted(twice),
                "peers": dict(self.peers),
                "facts": dict(self.facts),
            }


def main(say: Callable[[str], None] = print) -> None:
    hostile = Hostile(float(sys.argv[1]) if len(sys.argv) > 1 else None)
    threading.Thread(target=hostile.accept_all, daemon=True).start()
    say(str(hostile.listener.getsockname()[1]))
    sys.stdout.flush()
    for _ in sys.stdin:
        say(json.dumps(hostile.told()))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
