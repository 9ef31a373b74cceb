"""model_restore: the backup takes a damaged model's place, byte for byte, and the kernel that uses it has read it."""

from __future__ import annotations

from typing import Any

from twin.models import CLASSIFIER
from twin.rpc import RpcClient


async def run(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """Raises RuntimeError when the kernel does not use the restored model."""
    restored = await rpc.call("learning_integration", "restore_model", {"name": subject})
    used = await _used(rpc, subject)
    if used["sha256"] != restored["sha256"]:
        raise RuntimeError(f"{subject} is restored, and not in use: {used['problem'] or used['sha256'][:12]}")
    return {"model": subject, **restored}


async def _used(rpc: RpcClient, name: str) -> dict[str, Any]:
    """What the kernel that answers by this model says of it."""
    if name == CLASSIFIER:
        return await rpc.call("librarian", "model", {})
    return await rpc.call("memory_fusion", "model", {})


async def undo(rpc: RpcClient, subject: str) -> dict[str, Any]:
    """A model that is whole needs no taking back."""
    return {}
