"""config_restore: the approved settings take the place of those that have drifted, and governance follows them."""

from __future__ import annotations

from typing import Any

from twin.rpc import RpcClient


async def run(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """Raises RuntimeError when governance follows others."""
    restored = await rpc.call("infrastructure_manager", "restore_config", {})
    followed = await rpc.call("governance", "settings", {})
    if followed["sha256"] != restored["sha256"]:
        raise RuntimeError(f"restored, and not followed: {followed['problem'] or followed['sha256'][:12]}")
    return {"restored": subject, **restored}


async def undo(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """Settings that are approved need no taking back."""
    return {}
