"""The 20 kernels, one a file, each a process."""

from __future__ import annotations

import importlib
from typing import Any

# In the order in which they are started: what others lean on comes first.
KERNELS = (
    "message_bus",
    "immutable_log",
    "api_server",
    "self_healing",
    "health_monitor",
    "trigger_mesh",
    "governance",
    "memory_fusion",
    "librarian",
    "scheduler",
    "secret_manager",
    "infrastructure_manager",
    "coding_agent",
    "clarity_framework",
    "verification_framework",
    "sandbox",
    "agentic_spine",
    "voice_conversation",
    "meta_loop",
    "learning_integration",
)


def load(name: str) -> Any:
    """The class of kernel *name*."""
    return importlib.import_module(f"twin.kernels.{name}").KERNEL
