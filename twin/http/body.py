"""Reads the body of a request: up to a limit, and as JSON as it is written down (no NaN, an object)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from twin.rpc import KernelError


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


DEPTH_MAX = 100  # levels; what is deeper could be read here and not be written again further on
HASHED_BYTES_MAX = 8 << 20  # of a body that is too long; what is longer still has no digest
DECODER = json.JSONDecoder(parse_constant=_no_constant)


class ClientGone(Exception):
    """The client hung up before its request was read to its end: there is no request, and nobody to answer."""


async def _parts(receive: Callable[[], Awaitable[Any]]) -> AsyncIterator[bytes]:
    """The body, part by part. Raises ClientGone."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def read_hashed(receive: Callable[[], Awaitable[Any]], limit_bytes: int) -> tuple[bytes | None, str]:
    """(the body, its SHA-256). The body is None when it is longer than *limit_bytes*, the hash "" for a far longer one.

    Raises ClientGone.
    """
    digest, parts, size = hashlib.sha256(), [], 0
    async for part in _parts(receive):
        size += len(part)
        if size > HASHED_BYTES_MAX:
            return None, ""
        digest.update(part)
        if size <= limit_bytes:
            parts.append(part)
    return b"".join(parts) if size <= limit_bytes else None, digest.hexdigest()


async def read_body(receive: Callable[[], Awaitable[Any]], limit_bytes: int) -> bytes | None:
    """None when it is longer than *limit_bytes*: the rest is left unread. Raises ClientGone."""
    parts, size = [], 0
    async for part in _parts(receive):
        size += len(part)
        if size > limit_bytes:
            return None
        parts.append(part)
    return b"".join(parts)


def parse(data: bytes) -> dict[str, Any]:
    """Raises KernelError 400."""
    try:
        payload = DECODER.decode(data.decode())
    except (ValueError, RecursionError):
        raise KernelError(400, "invalid_json") from None
    if not isinstance(payload, dict):
        raise KernelError(400, "invalid_json", expected="an object")
    if data.count(b"[") + data.count(b"{") > DEPTH_MAX and _deep(payload):
        raise KernelError(400, "invalid_json", expected=f"at most {DEPTH_MAX} levels")
    return payload


def _deep(payload: Any) -> bool:
    level = [payload]
    for _ in range(DEPTH_MAX):
        lists = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [one for values in lists for one in values]
        if not level:
            return False
    return True
