"""message_bus_acl_violation_fix: cuts an actor off from the whole bus, and reads back that it is."""

from __future__ import annotations

from typing import Any

from twin.rpc import RpcClient


async def run(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """Orders the cut-off through the control plane. Raises RuntimeError when the bus does not show it."""
    await rpc.call("control_plane", "control", {"action": "blacklist", "actor": subject}, 3.0)
    stats = await rpc.call("message_bus", "stats", {})
    if subject not in stats["blacklist"]:
        raise RuntimeError(f"{subject} is not on the bus's blacklist")
    return {"blacklisted": subject, "violations": stats["per_actor"].get(subject, 0)}


async def undo(rpc: RpcClient, subject: str) -> dict[str, Any]:
    await rpc.call("control_plane", "control", {"action": "release", "actor": subject}, 3.0)
    stats = await rpc.call("message_bus", "stats", {})
    if subject in stats["blacklist"]:
        raise RuntimeError(f"{subject} is still on the bus's blacklist")
    return {"released": subject}
