"""log_restore: the entries of the immutable log that are not what they were come back from its copy."""

from __future__ import annotations

from typing import Any

from twin.rpc import RpcClient


async def run(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """Raises RuntimeError when the chain is broken all the same."""
    restored = await rpc.call("immutable_log", "restore_entries", {}, 5.0)
    told = await rpc.call("immutable_log", "verify", {}, 5.0)
    if not told["valid"]:
        raise RuntimeError(f"restored, and entry {told['broken_at']} does not fit")
    return {"restored": subject, **restored}


async def undo(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """A log that is whole needs no taking back."""
    return {}
