"""What happens on the connections: connect, send, receive, answered, lost, sent again, connected again."""

from __future__ import annotations

import random
from _socket import socket as Socket
from collections import deque
from collections.abc import Callable, Sequence
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from socket import SO_ERROR, SOL_SOCKET
from time import perf_counter_ns
from typing import Any

from locustfiles.engine.arrivals import Arrivals
from locustfiles.engine.connection import (
    BUSY,
    CONNECTING,
    DOWN,
    IDLE,
    NOTHING,
    SHUT,
    Connection,
    word_for,
)
from locustfiles.engine.counts import FAILED, Counts
from locustfiles.engine.heads import END, HEAD_BYTES_MAX, RARE, RARE_HEAD, Head, Heads
from locustfiles.engine.histogram import Histogram
from locustfiles.engine.rare import BODY_BYTES_MAX, BadAnswer, RareAnswer, TooLong
from locustfiles.engine.sources import Source, Template
from locustfiles.engine.wheel import Wheel

# Writable is asked for all along: with an edge it costs nothing but a bit in each event.
EVENTS = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
OVER = EPOLLRDHUP | EPOLLHUP | EPOLLERR
RECEIVE_BYTES = 16_384
FED_AT_ONCE = 64  # requests or connections, then the loop looks at its time
BACKOFF_FIRST_NS = 50_000_000
BACKOFF_MAX_NS = 2_000_000_000
SAFE_METHODS = (b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE")  # RFC 9110, 9.2.2


class Exchange:
    """Moves the connections. Knows no greenlet: the loop hands it events, due times and the end."""

    def __init__(
        self,
        address: tuple[str, int],
        source: Source,
        epoll: Any,
        *,
        connections: int,
        source_addresses: Sequence[str] = (),
        arrivals: Arrivals | None = None,
        connect_ns: int,
        answer_ns: int,
        backoff_max_ns: int = BACKOFF_MAX_NS,
    ) -> None:
        self.address, self.source, self.epoll, self.arrivals = address, source, epoll, arrivals
        self.connect_ns, self.backoff_max_ns = connect_ns, backoff_max_ns
        self.counts = Counts()
        self.lag = Histogram()  # of sends behind their intended times, in an open loop
        self.heads = Heads()
        self.wheel = Wheel(perf_counter_ns())
        addresses = source_addresses or ("",)
        self.all = [Connection(addresses[n % len(addresses)], answer_ns) for n in range(connections)]
        self.by_fd: dict[int, Connection] = {}
        self.idle: deque[Connection] = deque()  # connected; may hold some that are no longer idle
        self.shut: deque[Connection] = deque()
        self.unmade: deque[Connection] = deque()
        self.graves: list[Socket] = []  # closed after the batch: until then no event can mean another connection
        self.outstanding = 0
        self.stopping = False
        self.due_ns = 0  # before this time the source need not be asked
        self.intended_ns = 0
        self.dry_until_ns: int | None = None  # the source had nothing before this time; 0: before an answer came
        self.retried = self.unsolicited = self.connects = self.short_sends = self.abandoned = 0
        self.learns = isinstance(source, Template) and source.valid is None and arrivals is None
        self._safe = bool(getattr(source, "safe_to_repeat", False))
        self._never_safe = getattr(source, "safe_to_repeat", None) is False
        self._due_of: Callable[[Any], int] | None = getattr(source, "due_of", None)
        self._resent: Callable[[Any], None] | None = getattr(source, "resent", None)
        self._written: Callable[[Any], None] | None = getattr(source, "written", None)
        self._name_of: Callable[[Any], str] | None = getattr(source, "name_of", None)
        self._backoff = random.Random(0)

    def watch_timer(self, fd: int) -> None:
        """Events of *fd* only wake the loop."""
        self.by_fd[fd] = Connection("", 0)

    def start(self, now_ns: int) -> None:
        """Connections are made beforehand, by feed(): no request's latency holds that time, if they are in time."""
        self.intended_ns = now_ns if self.arrivals is None else self.arrivals.next_ns(now_ns)
        self.unmade.extend(self.all)

    # Requests

    def take(self, now_ns: int) -> tuple[Any, bytes, int] | None:
        """(token, request, when it was meant to be sent)."""
        if self.stopping:
            return None
        if self.arrivals is not None:
            if self.dry_until_ns is not None:  # nobody was to come at the arrivals that have passed meanwhile
                self.intended_ns = self.arrivals.from_ns(self.intended_ns, min(now_ns, self.dry_until_ns or now_ns))
                self.dry_until_ns = None
            if self.intended_ns > now_ns:
                self.due_ns = self.intended_ns
                return None
        took = self.source.take(now_ns)
        if took is None or isinstance(took, int):
            self.due_ns = self.dry_until_ns = took or 0
            return None
        self.outstanding += 1
        if self.arrivals is None:
            return took[0], took[1], took[2] if len(took) > 2 else now_ns
        intended_ns = self.intended_ns
        self.due_ns = self.intended_ns = self.arrivals.next_ns(intended_ns)
        if self._due_of is not None:  # it may have become due behind arrivals that found no free connection
            intended_ns = max(intended_ns, min(self._due_of(took[0]), now_ns))
        self.lag.add((now_ns - intended_ns) // 1000)
        return took[0], took[1], intended_ns

    @property
    def waiting(self) -> bool:
        """Whether a connection has nothing to do."""
        return bool(self.idle or self.shut or self.unmade) and not self.stopping

    def feed(self, now_ns: int) -> bool:
        """Gives what is due to connections that have nothing to do; True when there was more than enough for now."""
        left = FED_AT_ONCE
        while self.unmade and left:
            self.connect(self.unmade.popleft(), now_ns)
            left -= 1
        self.due_ns = 0
        for waiting, state in ((self.idle, IDLE), (self.shut, SHUT)):
            while waiting and left and self.due_ns <= now_ns:
                connection = waiting.popleft()
                if connection.state == state and not self.give(connection, now_ns):
                    return bool(self.unmade)
                left -= 1
        return not left

    def give(self, connection: Connection, now_ns: int) -> bool:
        """The next request to a connection that is free; without one it waits."""
        took = self.take(now_ns)
        if took is None:
            connection.plain = False
            connection.state = SHUT if connection.sock is None else IDLE
            (self.shut if connection.sock is None else self.idle).append(connection)
            return False
        connection.token, connection.request, since_ns = took
        connection.method = connection.request[: connection.request.find(b" ", 0, 16)]
        connection.sent_ns, connection.late_ns = now_ns, now_ns - since_ns
        if connection.sock is None:
            self.connect(connection, now_ns)
        else:
            self.transmit(connection)
        return True

    def transmit(self, connection: Connection) -> None:
        request = connection.request
        assert request is not None
        connection.state = BUSY
        self.wheel.put(connection)
        try:
            sent = connection.send(request)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.broken_pipe(connection)
            return
        if sent < len(request):
            self.short_sends += 1
            connection.unsent = memoryview(request)[sent:]
        elif self._written is not None:
            self._written(connection.token)
        connection.plain = bool(connection.used) and connection.unsent is None

    def transmit_rest(self, connection: Connection) -> None:
        while connection.unsent is not None:
            try:
                sent = connection.send(connection.unsent)
            except BlockingIOError:
                return
            except OSError:
                self.broken_pipe(connection)
                return
            connection.unsent = connection.unsent[sent:] if sent < len(connection.unsent) else None
            if connection.unsent is None and self._written is not None:
                self._written(connection.token)

    def transmit_short(self, connection: Connection, sent: int) -> None:
        """The fast path could not send all of the request of the connection's token; nothing, perhaps for an error."""
        request = self.encoded_anew(connection)
        self.short_sends += 1
        connection.unsent = memoryview(request)[sent:]
        connection.plain = False
        self.transmit_rest(connection)

    def encoded_anew(self, connection: Connection) -> bytes:
        """The request under way. The fast path keeps only its token, and leaves an older request in its place."""
        if isinstance(self.source, Template):
            connection.request = self.source.encode(connection.token)
        assert connection.request is not None
        return connection.request

    def spent(self, connection: Connection) -> None:
        """The fast path has counted an answer, and there is no further request."""
        connection.token = NOTHING
        self.outstanding -= 1
        self.give(connection, perf_counter_ns())

    def broken_pipe(self, connection: Connection) -> None:
        """The other side reads no more, but it may have answered before that."""
        connection.plain = False
        connection.closing = True
        self.read(connection, True)

    # Sockets

    def connect(self, connection: Connection, now_ns: int) -> None:
        connection.state = CONNECTING
        connection.until_ns = now_ns + self.connect_ns
        self.connects += 1
        code = connection.open(self.address)
        if code:
            self.unreachable(connection, word_for(code))
            return
        self.by_fd[connection.fd] = connection
        self.wheel.put(connection)
        self.epoll.register(connection.fd, EVENTS)

    def ready(self, connection: Connection, fd: int, flags: int) -> None:
        """An event of the descriptor *fd*, by which *connection* went when it was last opened."""
        if connection.fd != fd:
            return
        assert connection.sock is not None
        if connection.state == CONNECTING:
            code = connection.sock.getsockopt(SOL_SOCKET, SO_ERROR)
            if code:
                self.unreachable(connection, word_for(code))
            elif flags & EPOLLOUT:
                self.connected(connection)
        elif connection.unsent is not None and flags & EPOLLOUT:
            self.transmit_rest(connection)
        if connection.fd == fd and connection.state != CONNECTING and flags & ~EPOLLOUT:
            self.read(connection, bool(flags & OVER))

    def connected(self, connection: Connection) -> None:
        connection.state = IDLE
        if connection.token is NOTHING:
            self.give(connection, perf_counter_ns())
        else:
            self.transmit(connection)

    def unreachable(self, connection: Connection, why: str) -> None:
        """No connection came about. A request that was due is lost with it, also when it had none yet."""
        now_ns = perf_counter_ns()
        if connection.token is NOTHING:
            took = self.take(now_ns)
            if took is not None:
                connection.token, connection.request, since_ns = took
                connection.sent_ns, connection.late_ns = now_ns, now_ns - since_ns
        if connection.token is not NOTHING:
            self.lost(connection, why)
        self.renew(connection)

    def renew(self, connection: Connection) -> None:
        """The socket is of no more use. One on which nothing was ever answered is not followed by another at once."""
        used = connection.used
        self.bury(connection)
        if self.stopping:
            self.shut.append(connection)
        elif used:
            connection.failures = 0
            self.give(connection, perf_counter_ns())
        else:
            wait_ns = min(BACKOFF_FIRST_NS << min(connection.failures, 10), self.backoff_max_ns)
            connection.failures += 1
            connection.state = DOWN
            connection.until_ns = perf_counter_ns() + int(wait_ns * self._backoff.uniform(0.5, 1.0))
            self.wheel.put(connection)

    def bury(self, connection: Connection) -> None:
        sock = connection.shut()
        connection.used = 0
        if sock is not None:
            self.graves.append(sock)

    def expire(self, now_ns: int) -> None:
        """What waited too long, and what has waited long enough."""
        for connection in self.wheel.due(now_ns):
            assert isinstance(connection, Connection)
            if connection.state == CONNECTING:
                self.unreachable(connection, "connect timed out")
            elif connection.state == BUSY:
                self.lost(connection, "timed out")
                self.renew(connection)
            elif connection.state == DOWN:
                self.give(connection, now_ns)

    # Answers

    def read(self, connection: Connection, over: bool) -> None:
        """All that has come; *over*: the other side has closed, so that no further event will tell of it."""
        fd = connection.fd
        connection.closing = connection.closing or over
        while connection.fd == fd:
            try:
                data = connection.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self.ended(connection, word_for(error.errno))
                return
            if not data:
                self.ended(connection, "closed")
                return
            self.received(connection, data)
            if len(data) < RECEIVE_BYTES and not over:
                return

    def received(self, connection: Connection, data: bytes) -> None:
        connection.plain = False
        if connection.state != BUSY:
            self.unsolicited += 1
            self.renew(connection)
        elif connection.rare is not None:
            self.feed_rare(connection, data)
        elif connection.head is not None:
            self.body(connection, data)
        else:
            self.begin(connection, connection.partial + data if connection.partial else data)

    def begin(self, connection: Connection, data: bytes) -> None:
        cut = data.find(END) + 4
        if cut < 4:
            if b"\n\n" in data or b"\n\r\n" in data or len(data) > HEAD_BYTES_MAX:
                self.begin_rare(connection, data)
            else:
                connection.partial = data
            return
        key = data[:cut]
        head = self.heads.read(key, connection.method == b"HEAD") if cut <= HEAD_BYTES_MAX else RARE_HEAD
        if head.length == RARE:
            self.begin_rare(connection, data)
            return
        if head.length > BODY_BYTES_MAX:
            self.lost(connection, "too long")
            self.renew(connection)
            return
        connection.head, connection.head_key, connection.missing = head, key, head.length
        connection.partial = b""
        self.body(connection, data[cut:])

    def body(self, connection: Connection, data: bytes) -> None:
        head = connection.head
        assert head is not None
        connection.missing -= len(data)
        if connection.missing > 0:
            connection.parts.append(data)
            return
        if connection.missing < 0:  # more than it has announced: what that is nobody knows
            self.unsolicited += 1
            connection.closing = True
            data = data[: connection.missing]
        whole = b"".join((*connection.parts, data)) if connection.parts else data
        key = connection.head_key
        outcome = self.finish(connection, head, whole)
        if self.learns and outcome == "ok" and head.keep_alive:
            name = self.source.name
            self.counts.learn(key, len(key) + head.length, (name, outcome, head.status), head.length)

    def begin_rare(self, connection: Connection, data: bytes) -> None:
        connection.partial = b""
        connection.rare = RareAnswer(connection.method or b"GET")
        self.feed_rare(connection, data)

    def feed_rare(self, connection: Connection, data: bytes) -> None:
        rare = connection.rare
        assert rare is not None
        try:
            whole = rare.feed(data)
        except BadAnswer as error:
            self.lost(connection, "too long" if isinstance(error, TooLong) else "no HTTP" if data else "cut")
            self.renew(connection)
            return
        if whole:
            self.unsolicited += rare.more
            self.finish(connection, Head(rare.status, 0, rare.keep_alive, rare.retry_after_s), rare.body)

    def finish(self, connection: Connection, head: Head, body: bytes) -> str:
        """A whole answer."""
        now_ns = perf_counter_ns()
        latency_ns = now_ns - connection.sent_ns + connection.late_ns
        token, connection.token = connection.token, NOTHING
        connection.forget()
        connection.used += 1
        connection.failures = 0
        self.outstanding -= 1
        outcome = self.source.answered(token, head.status, body, head.retry_after_s, latency_ns)
        name = self._name_of(token) if self._name_of else self.source.name
        self.counts.add(name, outcome, head.status, latency_ns, len(body))
        if not head.keep_alive or connection.closing or connection.unsent is not None:
            self.renew(connection)
        else:
            self.give(connection, now_ns)
        return outcome

    # Ends

    def ended(self, connection: Connection, why: str) -> None:
        """The other side has closed or reset the connection."""
        if connection.state != BUSY:  # it is opened again when it is needed
            self.bury(connection)
            self.shut.append(connection)
            return
        if connection.rare is not None and why == "closed":
            self.feed_rare(connection, b"")
            return
        begun = bool(connection.partial or connection.head or connection.rare)
        if not begun and connection.used and self.may_repeat(connection):  # on a new connection it is no race
            self.retried += 1
            if self._resent is not None:
                self._resent(connection.token)
            self.encoded_anew(connection)
            self.bury(connection)
            self.connect(connection, perf_counter_ns())
            return
        self.lost(connection, "cut" if begun and why == "closed" else why)
        self.renew(connection)

    def may_repeat(self, connection: Connection) -> bool:
        """It was sent on a connection that the target had perhaps closed already: it may never have been read."""
        return self._safe or (connection.method in SAFE_METHODS and not self._never_safe)

    def lost(self, connection: Connection, why: str) -> None:
        latency_ns = perf_counter_ns() - connection.sent_ns + connection.late_ns
        token, connection.token = connection.token, NOTHING
        self.outstanding -= 1
        self.source.lost(token, why)
        name = self._name_of(token) if self._name_of else self.source.name
        self.counts.add(name, FAILED, 0, latency_ns, 0, why)

    def abandon(self) -> None:
        """The end has come: what is under way gets no answer any more. It is told to the source, and not counted."""
        self.stopping = True
        for connection in self.all:
            if connection.token is not NOTHING:
                token, connection.token = connection.token, NOTHING
                self.outstanding -= 1
                self.abandoned += 1
                self.source.lost(token, "stopped")
            self.bury(connection)
