"""How each fault is done to the small world: every fault of faults/ has a recipe, and a test says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A fault's type and its parameters; *root* = only root can have it done; *kills* = the victim dies of it."""

    type: str
    params: Mapping[str, Any]
    root: bool = False
    kills: bool = False


SPIKE = {"cpu_percent": 5.0, "duration_seconds": 60.0}
RECIPES: dict[str, Recipe] = {
    "acl_flood": Recipe(
        type="acl_flood", params={"messages_per_second": 50.0, "duration_seconds": 60.0, "blocked_actor": "mallory"}
    ),
    "acl_spam": Recipe(
        type="acl_spam",
        params={"topic": "system.control", "messages": 3000, "messages_per_second": 50.0, "actor": "mallory"},
    ),
    "topic_flood": Recipe(
        type="topic_flood",
        params={"topic": "telemetry.open", "messages_per_second": 50.0, "duration_seconds": 60.0, "actor": "mallory"},
    ),
    "cpu_spike": Recipe(type="cpu_spike", params=SPIKE),
    "cpu_pressure": Recipe(type="cpu_pressure", params=SPIKE),
    "kernel_pause": Recipe(type="kernel_pause", params={"target": "victim", "pause_seconds": 60.0}),
    "kernel_pause (freezer)": Recipe(
        type="kernel_pause", params={"target": "victim", "pause_seconds": 60.0, "mechanism": "freezer"}, root=True
    ),
    "kernel_kill": Recipe(type="kernel_kill", params={"target": "victim"}, kills=True),
    "heartbeat_block": Recipe(type="heartbeat_block", params={"target": "beating", "block_seconds": 60.0}),
    "worker_dropout": Recipe(type="worker_dropout", params={"target": "sleepers"}, kills=True),
    "worker_stall": Recipe(type="worker_stall", params={"target": "crew", "stall_seconds": 60.0}),
    "code_patch": Recipe(
        type="code_patch", params={"target": "crew", "stall_seconds": 60.0, "location": "__main__:execute"}
    ),
    "memory_pressure": Recipe(
        type="memory_pressure", params={"memory_percent": 40.0, "duration_seconds": 60.0, "scope": "target"}
    ),
    "memory_leak": Recipe(type="memory_leak", params={"megabytes": 40.0, "over_seconds": 1.0}),
    "disk_io_saturation": Recipe(
        type="disk_io_saturation", params={"io_ops_per_second": 20.0, "duration_seconds": 60.0}
    ),
    "disk_full": Recipe(
        type="disk_full", params={"path": "spare", "mount_mib": 4.0, "duration_seconds": 60.0}, root=True
    ),
    "network_latency": Recipe(
        type="network_latency", params={"target": "victim", "latency_ms": 50.0, "duration_seconds": 60.0}
    ),
    "network_loss": Recipe(
        type="network_loss", params={"target": "victim", "loss_percent": 20.0, "duration_seconds": 60.0}
    ),
    "connection_reset": Recipe(type="connection_reset", params={"target": "victim", "duration_seconds": 60.0}),
    "network_partition": Recipe(type="network_partition", params={"target": "victim", "duration_seconds": 60.0}),
    "model_degradation": Recipe(
        type="model_degradation", params={"model_id": "victim", "confidence_drop": 0.4, "duration_seconds": 60.0}
    ),
    "file_corruption": Recipe(
        type="file_corruption", params={"target": "root", "corrupt_files": ["model.bin", "state.json"]}
    ),
    "log_corruption": Recipe(type="log_corruption", params={"corrupt_entries": 5}),
    "model_corruption": Recipe(type="model_corruption", params={"target": "root", "corrupt_files": ["model.bin"]}),
    "snapshot_corruption": Recipe(
        type="snapshot_corruption",
        params={"target": "root", "corrupt_files": ["state.json"], "corrupt_keys": ["memory_index"]},
    ),
    "config_corruption": Recipe(
        type="config_corruption",
        params={
            "target": "root",
            "corrupt_files": ["state.json"],
            "corrupt_keys": ["governance_rules.deploy"],
            "corrupt_value": "allow",
        },
    ),
}
