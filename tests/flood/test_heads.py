"""What is read from a response head, and what is left to the parser of rare shapes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.engine import heads
from locustfiles.engine.heads import KEPT_MAX, RARE, Head, Heads, parse, retry_after_s
from locustfiles.engine.rare import BadAnswer, RareAnswer
from tests.flood.hostile import BAD, GOOD


def head(*lines: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    return "\r\n".join([f"HTTP/{version} {status}", *lines, "", ""]).encode("latin-1")


PLAIN = [
    (head("Content-Length: 5"), Head(200, 5, True, None)),
    (head("CONTENT-LENGTH:5"), Head(200, 5, True, None)),
    (head("Content-Length:   5\t"), Head(200, 5, True, None)),
    (head("Server: caf\xe9", "Content-Length: 5"), Head(200, 5, True, None)),
    (head("X-Content-Length: 7", "Content-Length: 5"), Head(200, 5, True, None)),
    (head("Content-Length: 5", status="200"), Head(200, 5, True, None)),
    (head("Content-Length: 5", status="299 "), Head(299, 5, True, None)),
    (head("Content-Length: 5", "Connection: close"), Head(200, 5, False, None)),
    (head("Content-Length: 5", "Connection: x, Close"), Head(200, 5, False, None)),
    (head("Content-Length: 5", "Connection: keep-alive"), Head(200, 5, True, None)),
    (head("Content-Length: 5", version="1.0"), Head(200, 5, False, None)),
    (head("Content-Length: 5", "Connection: Keep-Alive", version="1.0"), Head(200, 5, True, None)),
    (head("Content-Length: 5", "Connection: keep-alive, close", version="1.0"), Head(200, 5, False, None)),
    (head(status="204 No Content"), Head(204, 0, True, None)),
    (head("Content-Length: 5", status="304 Not Modified"), Head(304, 0, True, None)),
    (head("Content-Length: 0", "Retry-After: 7", status="429 x"), Head(429, 0, True, 7.0)),
    (head("Content-Length: 0", "Retry-After: soon", status="503 x"), Head(503, 0, True, None)),
]
NOT_PLAIN = [
    head(),
    head("Content-Length: 5", "Content-Length: 5"),
    head("Content-Length: 5, 5"),
    head("Content-Length: -5"),
    head("Content-Length: +5"),
    head("Content-Length: 0x5"),
    head("Content-Length: 5 6"),
    head("Content-Length:"),
    head("Content-Length : 5"),
    head("Content-Length: " + "9" * 40),
    head("Content-Length: 5", "Transfer-Encoding: chunked"),
    head("Transfer-Encoding: identity"),
    head("Content-Length: 5", "X: a", " b"),
    head("Content-Length: 5", "X: a\0b"),
    head("Content-Length: 5", "X: a\nContent-Length: 6"),
    head("Content-Length: 5", "X: a\rb"),
    head("Content-Length: 5", ": empty"),
    head("Content-Length: 5", "no colon"),
    head("Content-Length: 5", status="100 Continue"),
    head("Content-Length: 5", status="2000 OK"),
    head("Content-Length: 5", status="99 OK"),
    head("Content-Length: 5", status="0200 OK"),
    head("Content-Length: 5", version="2.0"),
    head("Content-Length: 5", version="1.11"),
    b" " + head("Content-Length: 5"),
    b"\r\n\r\n",
]


@pytest.mark.parametrize(("data", "meant"), PLAIN)
def test_a_plain_head(data: bytes, meant: Head) -> None:
    assert parse(data) == meant


@pytest.mark.parametrize("data", NOT_PLAIN)
def test_whatever_is_not_plain_is_rare(data: bytes) -> None:
    assert parse(data).length == RARE


def test_an_answer_to_head_has_no_body() -> None:
    cache = Heads()
    data = head("Content-Length: 5")
    assert cache.read(data, True).length == 0 and cache.read(data, False).length == 5


def test_retry_after_as_a_date_counts_from_now_and_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    waits, lasting = retry_after_s(later.encode())
    assert waits is not None and 50 < waits <= 60 and not lasting
    assert retry_after_s(b"Mon, 01 Jan 2001 00:00:00 GMT") == (0.0, False)
    assert retry_after_s(b"\xff") == (None, True)

    parsed: list[bytes] = []
    monkeypatch.setattr(heads, "parse", lambda data, bodyless: parsed.append(data) or parse(data, bodyless))
    cache, dated, plain = Heads(), head("Content-Length: 0", f"Retry-After: {later}"), head("Content-Length: 0")
    for data in (dated, plain, dated, plain):
        cache.read(data, False)
    assert parsed == [dated, plain, dated]


def test_the_cache_is_bounded() -> None:
    cache = Heads()
    for number in range(KEPT_MAX * 2 + 1):
        assert cache.read(head(f"X: {number}", "Content-Length: 1"), False).length == 1
    assert len(cache._kept[False]) <= KEPT_MAX


def fed(pieces: list[bytes], closed: bool) -> tuple[int, bytes] | None:
    """What the parser of rare shapes makes of an answer; None: nothing, for it is bad."""
    one = RareAnswer(b"GET")
    try:
        whole = [one.feed(piece) for piece in pieces if piece]
        if not any(whole) and closed:
            whole.append(one.feed(b""))
    except BadAnswer:
        return None
    return (one.status, one.body) if any(whole) else None


@given(name=st.sampled_from([*GOOD, *BAD]), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_it_does_not_matter_how_a_rare_answer_is_cut(name: str, cuts: list[int]) -> None:
    shape = {**GOOD, **BAD}[name]
    data = b"".join(shape.sends)
    if name == "more_than_told":
        data = shape.sends[0][: -len(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[begin:end] for begin, end in pairwise(edges)]
    found = fed(pieces, shape.then == "close")
    if shape.status:
        assert found is not None and (found[0], len(found[1])) == (shape.status, shape.body)
    elif name != "two_lengths":
        assert found is None
