"""Reads response heads: a cache of those already seen, a strict parse for the rest, and a mark on the rare shapes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

END = b"\r\n\r\n"
KEPT_MAX = 4096  # heads; with an unique header in each answer the cache is emptied and filled anew
HEAD_BYTES_MAX = 65_536
RARE = -1  # as a length: chunked, ended by closing, interim, folded, or nothing that we would vouch for
BODYLESS = (204, 304)

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PLAIN = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n\0]*)?\r\n((?:" + _TOKEN + rb":[^\r\n\0]*\r\n)*)\r\n",
)
_FRAMING = re.compile(rb"(?:^|\n)(content-length|transfer-encoding|connection|retry-after):[ \t]*([^\r]*)", re.I)
_DIGITS = re.compile(rb"[0-9]{1,18}")


class Head(NamedTuple):
    """What a head says about its answer."""

    status: int
    length: int  # of the body that follows, or RARE
    keep_alive: bool
    retry_after_s: float | None
    lasting: bool = True  # False: a date makes it mean something else later


RARE_HEAD = Head(0, RARE, False, None)


def parse(head: bytes, bodyless: bool = False) -> Head:
    """*head* with its empty line. Whatever is not plainly framed by one Content-Length is rare."""
    plain = _PLAIN.fullmatch(head)
    if plain is None:
        return RARE_HEAD
    minor, status = plain[1], int(plain[2])
    if status < 200:
        return RARE_HEAD
    length, keep_alive, retry_after, lasting = None, minor == b"1", None, True
    for name, value in _FRAMING.findall(plain[3]):
        name, value = name.lower(), value.strip(b" \t")
        if name == b"content-length":
            if length is not None or not _DIGITS.fullmatch(value):
                return RARE_HEAD
            length = int(value)
        elif name == b"transfer-encoding":
            return RARE_HEAD
        elif name == b"connection":
            keep_alive = _kept(value, keep_alive)
        else:
            retry_after, lasting = retry_after_s(value)
    if status in BODYLESS or bodyless:
        length = 0
    if length is None:
        return RARE_HEAD
    return Head(status, length, keep_alive, retry_after, lasting)


def _kept(value: bytes, otherwise: bool) -> bool:
    words = {word.strip().lower() for word in value.split(b",")}
    if b"close" in words:
        return False
    return otherwise or b"keep-alive" in words


def retry_after_s(value: bytes) -> tuple[float | None, bool]:
    """(seconds to wait, whether that is so whenever it is read); a date counts from now. None: it says nothing."""
    if _DIGITS.fullmatch(value):
        return float(value), True
    try:
        until = parsedate_to_datetime(value.decode("latin-1"))
    except ValueError:
        return None, True
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds()), False


class Heads:
    """Heads by their bytes, as they were parsed once; answers to HEAD are kept apart, for they have no body."""

    def __init__(self) -> None:
        self._kept: tuple[dict[bytes, Head], dict[bytes, Head]] = ({}, {})

    def read(self, head: bytes, bodyless: bool) -> Head:
        kept = self._kept[bodyless]
        found = kept.get(head)
        if found is None:
            found = parse(head, bodyless)
            if found.lasting:
                if len(kept) >= KEPT_MAX:
                    kept.clear()
                kept[head] = found
        return found
