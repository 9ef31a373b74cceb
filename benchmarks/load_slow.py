"""A server that answers each POST after so many milliseconds: `python -m benchmarks.load_slow PORT DELAY_MS`.

GET /count tells at once how many it has taken, in the words of nginx's stub_status; GET /repeated how many of the POSTs
had a body that had come before.
"""

from __future__ import annotations

import asyncio
import sys

import httptools

from benchmarks.load_server import ANSWER

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
COUNT = "Active connections: 0\nserver accepts handled requests\n {accepts} {accepts} {requests}\n"


def answer(text: str, kind: str = "application/json") -> bytes:
    return (HEAD.format(kind=kind, length=len(text)) + text).encode()


class Counts:
    def __init__(self) -> None:
        self.accepts = 0
        self.requests = 0
        self.bodies: set[bytes] = set()
        self.repeated = 0


class Connection(asyncio.Protocol):
    """One client's keep-alive connection."""

    def __init__(self, counts: Counts, delay_s: float) -> None:
        self.counts, self.delay_s = counts, delay_s
        self.parser = httptools.HttpRequestParser(self)
        self.fixed = answer(ANSWER)
        self.url = self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.counts.accepts += 1

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        counts = self.counts
        counts.requests += 1
        if self.url == b"/count":
            text = COUNT.format(accepts=counts.accepts, requests=counts.requests)
            self.transport.write(answer(text, "text/plain"))
        elif self.url == b"/repeated":
            self.transport.write(answer(str(counts.repeated), "text/plain"))
        else:
            counts.repeated += self.body in counts.bodies
            counts.bodies.add(self.body)
            asyncio.get_running_loop().call_later(self.delay_s, self.reply)

    def reply(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.fixed)


async def serve(port: int, delay_s: float) -> None:
    counts = Counts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(counts, delay_s), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
