"""resource_pressure_cpu, _memory, _disk and queue_backpressure: the gateway defers what may wait until it is over."""

from __future__ import annotations

from typing import Any

from twin.rpc import RpcClient


async def run(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """Raises RuntimeError when the gateway does not show that it sheds."""
    return await _set(rpc, subject, on=True)


async def undo(rpc: RpcClient, subject: str) -> dict[str, Any]:
    return await _set(rpc, subject, on=False)


async def _set(rpc: RpcClient, subject: str, on: bool) -> dict[str, Any]:
    answer = await rpc.call("api_server", "shed", {"subject": subject, "on": on})
    if (subject in answer["shedding"]) != on:
        raise RuntimeError(f"the gateway's shedding is {answer['shedding']}")
    return {"shedding": answer["shedding"]}
