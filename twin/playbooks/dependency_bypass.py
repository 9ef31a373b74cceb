"""dependency_bypass: the gateway answers reads from its own bounded copy, marked as stale, while a kernel is late."""

from __future__ import annotations

from typing import Any

from twin.rpc import RpcClient


async def run(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """Raises RuntimeError when the gateway does not show that it goes round *subject*."""
    return await _set(rpc, subject, on=True)


async def undo(rpc: RpcClient, subject: str) -> dict[str, Any]:
    return await _set(rpc, subject, on=False)


async def _set(rpc: RpcClient, subject: str, on: bool) -> dict[str, Any]:
    answer = await rpc.call("api_server", "bypass", {"callee": subject, "on": on})
    if (subject in answer["bypassed"]) != on:
        raise RuntimeError(f"the gateway bypasses {answer['bypassed']}")
    return {"bypassed": answer["bypassed"]}
