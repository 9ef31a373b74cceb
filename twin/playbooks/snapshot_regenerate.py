"""snapshot_regenerate: a new snapshot from what the kernels hold now takes the place of the damaged one."""

from __future__ import annotations

from typing import Any

from twin.rpc import RpcClient


async def run(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """Raises RuntimeError when the snapshot or its backup is still damaged."""
    taken = await rpc.call("infrastructure_manager", "regenerate", {"subject": subject}, 5.0)
    if taken["trouble"]:
        raise RuntimeError(f"after it was taken anew: {taken['trouble']}")
    return taken


async def undo(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """A snapshot that is whole needs no taking back."""
    return {}
