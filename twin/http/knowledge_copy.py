"""The gateway's own copy of knowledge: bounded, refreshed while all is well, and marked as stale when it is used."""

from __future__ import annotations

import re
import time
from typing import Any

from twin.fields import number, text
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable, RpcClient

REFRESH_EVERY_S = 2.0
FIRST_EVERY_S = 0.1  # until there is a copy at all
ENTRIES_MAX = 200
LIMIT_S = 1.0
WARNING = '110 - "Response is Stale"'  # RFC 7234, 5.5.1


class KnowledgeCopy:
    """refresh() it while memory_fusion answers; search() it while that does not."""

    def __init__(self) -> None:
        self.taken_s: float | None = None
        self._entries: list[tuple[set[str], dict[str, Any]]] = []

    async def refresh(self, rpc: RpcClient) -> None:
        """Leaves it as it is when there is no answer."""
        try:
            answer = await rpc.call("memory_fusion", "recent", {"limit": ENTRIES_MAX}, LIMIT_S)
        except (KernelTimeout, KernelUnavailable, KernelError):
            return
        self.take(answer["results"], time.monotonic())

    def take(self, entries: list[dict[str, Any]], now_s: float) -> None:
        self._entries = [(words(f"{one['content']} {one['tags']}"), one) for one in entries[:ENTRIES_MAX]]
        self.taken_s = now_s

    def search(self, payload: dict[str, Any], now_s: float) -> dict[str, Any] | None:
        """None when there is no copy yet. Raises KernelError for what memory_fusion would not take either."""
        wanted, limit = words(text(payload, "q", 200)), int(number(payload, "limit", 1, 50, 5))
        if self.taken_s is None:
            return None
        found = [(len(wanted & have), entry) for have, entry in self._entries if wanted & have]
        found.sort(key=lambda one: -one[0])
        results = [entry for _, entry in found[:limit]]
        return {"results": results, "stale": True, "age_s": round(now_s - self.taken_s, 1)}


def words(content: str) -> set[str]:
    return {word.lower() for word in re.findall(r"\w+", content)}


def wants_fresh(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the client takes no stored answer (RFC 9111, 5.2.1.4)."""
    return any(name == b"cache-control" and b"no-cache" in value.lower() for name, value in headers)
