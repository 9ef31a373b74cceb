"""refuse_unrecorded: the gateway refuses what would have to be on record, while nothing can be put on record."""

from __future__ import annotations

from typing import Any

from twin.rpc import RpcClient


async def run(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """Raises RuntimeError when the gateway does not show that it refuses."""
    return await _set(rpc, subject, on=True)


async def undo(rpc: RpcClient, subject: str) -> dict[str, Any]:
    return await _set(rpc, subject, on=False)


async def _set(rpc: RpcClient, subject: str, on: bool) -> dict[str, Any]:
    answer = await rpc.call("api_server", "refuse", {"subject": subject, "on": on})
    if (subject in answer["refusing"]) != on:
        raise RuntimeError(f"the gateway refuses for {answer['refusing']}")
    return {"refusing": answer["refusing"]}
