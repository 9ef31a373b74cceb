"""The shortest way from an answer to the next request, for a Template in a closed loop.

What it does not know (an event that is not just readable, an answer in pieces, an unseen head, a short send) it hands
to the exchange, untouched. It leaves nothing unchecked: an answer counts here only when its head is, byte by byte, one
that was parsed and found ok before, and exactly as many bytes came as that head announces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from select import EPOLLIN, EPOLLOUT
from time import perf_counter_ns

from locustfiles.engine.exchange import RECEIVE_BYTES, Exchange
from locustfiles.engine.heads import END
from locustfiles.engine.sources import Template

Events = Iterable[tuple[int, int]]


def handler(exchange: Exchange) -> Callable[[Events], None]:
    """What takes a batch of events of the epoll."""
    source = exchange.source
    return fast(exchange, source) if isinstance(source, Template) and exchange.learns else slow(exchange)


def slow(exchange: Exchange) -> Callable[[Events], None]:
    by_fd, ready = exchange.by_fd, exchange.ready

    def handle(events: Events) -> None:
        for fd, flags in events:
            ready(by_fd[fd], fd, flags)

    return handle


def fast(exchange: Exchange, source: Template) -> Callable[[Events], None]:
    by_fd, known, ids = exchange.by_fd, exchange.counts.known, source.ids
    clock, end, readable, most = perf_counter_ns, END, EPOLLIN | EPOLLOUT, RECEIVE_BYTES
    begin, stop = source.id_at
    request = bytearray(source.encode(b"0" * (stop - begin)))
    size = len(request)

    def handle(events: Events) -> None:
        for fd, flags in events:
            connection = by_fd[fd]
            if flags != readable or not connection.plain or connection.fd != fd:
                exchange.ready(connection, fd, flags)
                continue
            try:
                data = connection.recv(most)
            except OSError:
                exchange.ready(connection, fd, flags)  # it says the same once more, or nothing came
                continue
            seen = known.get(data[: data.find(end) + 4])
            if seen is None or seen[0] != len(data) or exchange.stopping:
                exchange.received(connection, data) if data else exchange.ended(connection, "closed")
                if len(data) == most and connection.fd == fd:
                    exchange.read(connection, False)
                continue
            now_ns = clock()
            seen[1](now_ns - connection.sent_ns)
            token = next(ids, None)
            if token is None:
                exchange.spent(connection)
                continue
            request[begin:stop] = token
            connection.token = token
            connection.sent_ns = now_ns
            try:
                sent = connection.send(request)
            except OSError:
                sent = 0
            if sent != size:
                exchange.transmit_short(connection, sent)

    return handle
