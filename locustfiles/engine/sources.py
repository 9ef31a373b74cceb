"""Where requests come from and answers go to; and one request sent over and over, each time with a new id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Protocol, runtime_checkable

MARK = b"{id}"
ID_DIGITS = 12
ID_FORMAT = b"%012d"


@runtime_checkable
class Source(Protocol):
    """All calls come from the engine's greenlet. None may block.

    May also have: `name_of(token) -> str`, when not all requests go by `name`; `safe_to_repeat` (True: what a
    connection that was closed meanwhile left unanswered may be sent again, because of its id or key); `encode(token)`;
    `written(token)`, to be told when all of a request was handed over on an open connection: before, nothing was sent;
    `due_of(token) -> int`, from when on it was to be sent, so that in an open loop a retry is not late before that;
    `busy`, how many of its requests are under way while it has more than is asked for: None when it has not, -1 when
    the engine is to count them;
    `resent(token)`, to be told when it is sent once more on a new connection: the first sending may have been read.
    """

    name: str  # METHOD and route, as it is counted: "POST /api/htm/intents"

    def take(self, now_ns: int) -> tuple[Any, bytes] | tuple[Any, bytes, int] | int | None:
        """(token, whole request); an int: nothing is due before this perf_counter_ns time; None: no more will come,
        but a token that is under way may come back through lost() or answered(), and be due again.

        In a closed loop (token, request, since_ns) says from when its latency counts.
        """

    def answered(self, token: Any, status: int, body: bytes, retry_after_s: float | None, latency_ns: int) -> str:
        """The outcome under which it is counted: ok, limited, shed, rejected or failed."""

    def lost(self, token: Any, why: str) -> None:
        """No answer: refused, reset, closed, cut, timed out, no HTTP, too long, stopped."""

    @property
    def settled(self) -> bool:
        """Nothing more is to be sent, and nothing is under way."""


def encode(
    method: str, path: str, host: str, body: bytes = b"", headers: Mapping[str, str] | None = None, mark: bytes = MARK
) -> bytes:
    """A whole request, with the length that it has when each *mark* of its body has become an id."""
    length = len(body) + body.count(mark) * (ID_DIGITS - len(mark))
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {length}")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line of the request's head holds a line end")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Template:
    """The same request, *total* times or without end; {id} in it is a number of 12 digits that is never given twice.

    An answer is ok with one of *statuses*, the *length* (when given) and a body that *valid* (when given) accepts.
    """

    def __init__(
        self,
        name: str,
        request: bytes,
        *,
        total: int | None = None,
        first: int = 0,
        statuses: tuple[int, ...] = tuple(range(200, 300)),
        length: int | None = None,
        valid: Callable[[int, bytes], bool] | None = None,
        safe_to_repeat: bool | None = None,
    ) -> None:
        self.name = name
        self.statuses = frozenset(statuses)
        self.length = length
        self.valid = valid
        if safe_to_repeat is not None:
            self.safe_to_repeat = safe_to_repeat
        parts = request.split(MARK)
        if len(parts) > 2:
            raise ValueError(f"the request holds {MARK.decode()} {len(parts) - 1} times, once is enough")
        self._before, self._after = parts[0], b"".join(parts[1:])
        numbers = count(first) if total is None else range(first, first + total)
        self.marked = len(parts) == 2
        self.ids: Iterator[bytes] = map(ID_FORMAT.__mod__, numbers) if self.marked else (b"" for _ in numbers)
        self.settled = False

    @property
    def id_at(self) -> tuple[int, int]:
        """Where in encode() the id stands; of no length without a mark."""
        begin = len(self._before)
        return begin, begin + (ID_DIGITS if self.marked else 0)

    def encode(self, token: bytes) -> bytes:
        return self._before + token + self._after

    def take(self, now_ns: int) -> tuple[bytes, bytes] | None:
        token = next(self.ids, None)
        if token is None:
            self.settled = True
            return None
        return token, self.encode(token)

    def judge(self, status: int, length: int, retry_after_s: float | None) -> str:
        """The outcome, as far as it is seen without the body."""
        if status in self.statuses and (self.length is None or self.length == length):
            return "ok"
        if status == 429:
            return "limited"
        return "shed" if status == 503 and retry_after_s is not None else "failed"

    def answered(self, token: bytes, status: int, body: bytes, retry_after_s: float | None, latency_ns: int) -> str:
        outcome = self.judge(status, len(body), retry_after_s)
        if outcome == "ok" and self.valid is not None and not self.valid(status, body):
            return "failed"
        return outcome

    def lost(self, token: bytes, why: str) -> None:
        """It is counted by the engine; another one is sent."""
