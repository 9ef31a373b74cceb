"""Removes a memory cgroup of ours: whoever is in it goes on in the group above."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.cgroup import MARK, remove

OP = "remove_cgroup"


def remove_cgroup(path: Path) -> dict[str, Any]:
    """The primitive for the group at *path*; its name must be one of ours."""
    return {"op": OP, "path": str(path)}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    group = Path(str(primitive["path"]))
    if not group.name.startswith(MARK):
        raise ValueError(f"{group} is no group of ours: its name does not start with {MARK}")
    if not group.exists():
        return "gone", True
    moved = remove(group)
    return f"removed; {moved} moved to the group above", not group.exists()
