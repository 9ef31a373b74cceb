"""Answers of rare shape (chunked, ended by closing, interim, folded, lax line ends), read by h11."""

from __future__ import annotations

import h11

from locustfiles.engine.heads import HEAD_BYTES_MAX, retry_after_s

BODY_BYTES_MAX = 4 << 20  # of any answer: a target that never ends one must not fill our memory


class BadAnswer(Exception):
    """Bytes that are no HTTP/1.1 answer, or one that was cut."""


class TooLong(BadAnswer):
    """A body of more than BODY_BYTES_MAX."""


class RareAnswer:
    """One answer, fed piece by piece; afterwards the connection is used again or closed, as *keep_alive* says."""

    def __init__(self, method: bytes) -> None:
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        # h11 must know the method: an answer to HEAD has no body. What was really sent is no matter to it.
        self._parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        self._parser.send(h11.EndOfMessage())
        self.status = 0
        self.keep_alive = False
        self.more = False  # something came after it
        self.retry_after_s: float | None = None
        self.body = b""
        self._parts: list[bytes] = []
        self._left = BODY_BYTES_MAX

    def feed(self, data: bytes) -> bool:
        """Whether the answer is whole; no *data* is the end of the stream. Raises BadAnswer."""
        try:
            self._parser.receive_data(data)
            return self._read()
        except h11.RemoteProtocolError as error:
            raise BadAnswer(str(error)) from error

    def _read(self) -> bool:
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return False
            if isinstance(event, h11.Response):
                self.status = event.status_code
                values = [value for name, value in event.headers if name == b"retry-after"]
                self.retry_after_s = retry_after_s(values[-1])[0] if values else None
            elif isinstance(event, h11.Data):
                self._left -= len(event.data)
                if self._left < 0:
                    raise TooLong(f"more than {BODY_BYTES_MAX} bytes")
                self._parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self.body = b"".join(self._parts)
                rest, closed = self._parser.trailing_data
                self.more = bool(rest)
                self.keep_alive = self._parser.their_state is h11.DONE and not rest and not closed
                return True
            elif isinstance(event, h11.ConnectionClosed):
                raise BadAnswer("closed before the answer")
