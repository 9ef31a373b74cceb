"""The exchange by hand, where what matters is what has come by the time that it is looked at."""

from __future__ import annotations

import socket
from time import perf_counter_ns

import pytest
from gevent.monkey import get_original

from locustfiles.engine.exchange import Exchange
from locustfiles.engine.rare import BODY_BYTES_MAX
from tests.flood.hostile import head, plain
from tests.flood.shapes import ShapeSource

SECOND_NS = 1_000_000_000


class ByHand:
    """One connection, and its other end in the test's hand; nothing happens but at look()."""

    def __init__(self, source: ShapeSource) -> None:
        self.epoll = get_original("select", "epoll")()
        self.listener = get_original("socket", "socket")()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.exchange = Exchange(
            self.listener.getsockname(),
            source,
            self.epoll,
            connections=1,
            connect_ns=SECOND_NS,
            answer_ns=SECOND_NS,
        )
        self.exchange.start(perf_counter_ns())
        self.exchange.feed(perf_counter_ns())

    def look(self) -> list[int]:
        """Handles what has come; the flags of its events."""
        events = self.epoll.poll(5)
        for fd, flags in events:
            self.exchange.ready(self.exchange.by_fd[fd], fd, flags)
        return [flags for _, flags in events]

    def accept(self) -> socket.socket:
        self.look()
        peer: socket.socket = self.listener.accept()[0]
        return peer

    def totals(self) -> dict[tuple[str, str, int], int]:
        self.exchange.counts.flush()
        return dict(self.exchange.counts.totals)

    def close(self) -> None:
        self.exchange.abandon()
        self.listener.close()
        self.epoll.close()


def test_an_answer_that_comes_with_the_end_of_its_connection_costs_no_request() -> None:
    """The next request goes to a new connection at once: it must not be sent at all where nobody reads."""
    hand = ByHand(ShapeSource(["plain"], 2))
    for _ in range(2):
        peer = hand.accept()
        assert peer.recv(9999).startswith(b"POST /plain/")
        peer.sendall(plain(200))
        peer.close()
        hand.look()
    assert hand.totals() == {("POST /plain", "ok", 200): 2}
    assert hand.exchange.retried == 0 and hand.exchange.connects == 2
    hand.close()


def test_words_that_nobody_asked_for_end_an_idle_connection() -> None:
    source = ShapeSource(["plain"], 1)
    hand = ByHand(source)
    peer = hand.accept()
    peer.recv(9999)
    peer.sendall(plain(200))
    hand.look()
    peer.sendall(plain(408))
    hand.look()
    assert hand.exchange.unsolicited == 1 and len(hand.exchange.graves) == 1
    assert hand.totals() == {("POST /plain", "ok", 200): 1} and hand.exchange.outstanding == 0
    hand.close()


def test_an_event_of_a_closed_connection_is_not_taken_for_one_of_its_successor() -> None:
    hand = ByHand(ShapeSource(["plain"], 2))
    peer = hand.accept()
    fd = hand.exchange.all[0].fd
    peer.recv(9999)
    peer.sendall(plain(200, "Connection: close"))
    hand.look()
    successor = hand.exchange.all[0]
    assert successor.fd != fd and len(hand.exchange.graves) == 1
    hand.exchange.ready(hand.exchange.by_fd[fd], fd, 1 | 4 | 16 | 8192)
    assert successor.state != 0 and successor.fd in hand.exchange.by_fd and hand.exchange.connects == 2
    hand.close()


@pytest.mark.parametrize("answered", [True, False])
def test_a_request_that_cannot_be_sent_may_have_been_answered_before(answered: bool) -> None:
    """A target that reads no further, answers and closes: sending fails, but the answer is there."""
    source = ShapeSource(["refused_early"], 1)
    hand = ByHand(source)
    peer = hand.accept()
    peer.recv(100)
    if answered:
        peer.sendall(plain(413))
    peer.shutdown(socket.SHUT_RDWR)
    connection = hand.exchange.all[0]
    assert connection.unsent is not None
    hand.exchange.broken_pipe(connection)
    key = ("POST /refused_early", "failed", 413 if answered else 0)
    assert hand.totals() == {key: 1}
    hand.close()


def test_a_request_is_written_when_all_of_it_was_handed_over_and_not_before() -> None:
    source = ShapeSource(["plain", "refused_early"], 2)
    source.left.sort(reverse=True)  # the plain one first
    written: list[str] = []
    source.written = lambda token: written.append(token[0])  # type: ignore[attr-defined]
    hand = ByHand(source)
    assert written == [], "no connection, nothing sent"
    peer = hand.accept()
    assert written == ["plain"]
    peer.recv(9999)
    peer.sendall(plain(200))
    hand.look()
    assert hand.exchange.all[0].unsent is not None and written == ["plain"], "some of it waits still"
    peer.close()
    hand.close()


def test_what_meets_a_closed_port_is_never_written() -> None:
    source = ShapeSource(["plain"], 1)
    source.written = lambda token: pytest.fail("nothing was sent")  # type: ignore[attr-defined]
    hand = ByHand.__new__(ByHand)
    hand.epoll = get_original("select", "epoll")()
    hand.listener = get_original("socket", "socket")()
    hand.listener.bind(("127.0.0.1", 0))  # and does not listen
    hand.exchange = Exchange(
        hand.listener.getsockname(), source, hand.epoll, connections=1, connect_ns=SECOND_NS, answer_ns=SECOND_NS
    )
    hand.exchange.start(perf_counter_ns())
    hand.exchange.feed(perf_counter_ns())
    hand.look()
    assert source.lost_why == {("plain", "refused"): 1}
    hand.close()


def test_a_source_is_told_when_a_request_is_sent_once_more_after_a_close_race() -> None:
    source = ShapeSource(["plain"], 2)
    source.safe_to_repeat = True  # type: ignore[attr-defined]
    again: list[int] = []
    source.resent = lambda token: again.append(token[1])  # type: ignore[attr-defined]
    hand = ByHand(source)
    peer = hand.accept()
    peer.recv(9999)
    peer.sendall(plain(200))
    hand.look()
    second = hand.exchange.all[0].token
    peer.recv(9999)  # it may be carried out
    peer.close()
    hand.look()
    assert hand.exchange.retried == 1 and again == [second[1]]
    peer = hand.accept()
    peer.recv(9999)
    peer.sendall(plain(200))
    hand.look()
    assert hand.totals() == {("POST /plain", "ok", 200): 2}
    hand.close()


CHUNK = b"%x\r\n" % 8000 + b"x" * 8000 + b"\r\n"


@pytest.mark.parametrize("shape", ["announced", "till closed", "chunked", "one chunk"])
def test_a_body_beyond_every_measure_fails_and_is_not_kept(shape: str) -> None:
    """A target that never ends its answer must not fill the generator's memory."""
    source = ShapeSource(["plain"], 1)
    hand = ByHand(source)
    peer = hand.accept()
    peer.recv(9999)
    heads = {
        "announced": head(200, f"Content-Length: {BODY_BYTES_MAX + 1}"),
        "till closed": head(200),
        "chunked": head(200, "Transfer-Encoding: chunked"),
        "one chunk": head(200, "Transfer-Encoding: chunked") + b"%x\r\n" % (1 << 40),
    }
    peer.sendall(heads[shape])
    hand.look()
    for _ in range(BODY_BYTES_MAX // 8000 + 1):
        if not hand.exchange.outstanding:
            break
        peer.sendall(CHUNK if shape == "chunked" else b"x" * 8000)
        hand.look()
    assert source.lost_why == {("plain", "too long"): 1}
    assert hand.totals() == {("POST /plain", "failed", 0): 1} and hand.exchange.all[0].rare is None
    hand.close()


def test_a_body_of_the_greatest_measure_is_taken() -> None:
    source = ShapeSource(["plain"], 1)
    hand = ByHand(source)
    peer = hand.accept()
    peer.recv(9999)
    peer.sendall(head(200, f"Content-Length: {BODY_BYTES_MAX}"))
    left = BODY_BYTES_MAX
    while left:
        peer.sendall(b"x" * min(left, 65_536))
        left -= min(left, 65_536)
        hand.look()
    assert source.answers == {("plain", 200, BODY_BYTES_MAX): 1}
    hand.close()
