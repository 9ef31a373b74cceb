"""worker_restart: the control plane ends a worker's process and starts a new one."""

from __future__ import annotations

from typing import Any

from twin.rpc import RpcClient

LIMIT_S = 15.0


async def run(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """Raises RuntimeError when the new process is the old one."""
    answer = await rpc.call("control_plane", "restart_worker", {"worker": subject}, LIMIT_S)
    if answer["new_pid"] == answer["old_pid"]:
        raise RuntimeError(f"{subject} is still pid {answer['old_pid']}")
    return answer


async def undo(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """A new process needs no taking back."""
    return {}
