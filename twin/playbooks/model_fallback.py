"""model_fallback: the conversation is led by a simpler model of the platform's own while the one upstream drifts."""

from __future__ import annotations

from typing import Any

from twin.rpc import RpcClient


async def run(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """Raises RuntimeError when the conversation does not show that it goes without *subject*."""
    return await _set(rpc, subject, on=True)


async def undo(rpc: RpcClient, subject: str) -> dict[str, Any]:
    return await _set(rpc, subject, on=False)


async def _set(rpc: RpcClient, subject: str, on: bool) -> dict[str, Any]:
    answer = await rpc.call("agentic_spine", "fallback", {"model": subject, "on": on})
    if (answer["model"] != subject) != on:
        raise RuntimeError(f"the conversation is led by {answer['model']}")
    return {"model": answer["model"]}
