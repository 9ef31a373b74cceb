"""A request whose entry finds no room is refused, and its work is not begun."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from twin.http.recorded import KINDS, Attempt, RequestTrail
from twin.rpc import KernelError

ATTEMPT = Attempt(KINDS["/api/htm/intents"], "127.0.0.1", "d", {"created_by": "me", "intent_id": "i1"})


class FullLog:
    """A writer that has no room."""

    async def reserve(self, entry: dict[str, Any]) -> list[int]:
        raise KernelError(503, "log_unwritable", retry_after_s=2)

    async def write(self, entry: dict[str, Any]) -> None:
        raise KernelError(503, "log_unwritable", retry_after_s=2)


def test_work_without_room_for_its_entry_is_not_begun() -> None:
    trail: Any = RequestTrail(FullLog())  # type: ignore[arg-type]
    begun: list[str] = []

    async def work() -> dict[str, Any]:
        begun.append("i1")
        return {"intent_id": "i1", "status": "created"}

    with pytest.raises(KernelError) as caught:
        asyncio.run(trail.done(ATTEMPT, "i1", work))
    assert (caught.value.status, caught.value.error) == (503, "log_unwritable")
    assert caught.value.detail == {"retry_after_s": 2} and not begun


def test_a_rejection_without_room_for_its_entry_is_refused() -> None:
    trail: Any = RequestTrail(FullLog())  # type: ignore[arg-type]
    with pytest.raises(KernelError) as caught:
        asyncio.run(trail.turned_down(ATTEMPT, KernelError(422, "invalid_field")))
    assert (caught.value.status, caught.value.error) == (503, "log_unwritable")
