"""Removes a file that a fault has made for itself; the mark in its name says that it is one."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OP = "remove_file"
MARK = ".grace-chaos-"


def remove_file(path: Path) -> dict[str, Any]:
    """The primitive for *path*, an absolute path whose name starts with MARK."""
    return {"op": OP, "path": str(path)}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    path = Path(str(primitive["path"]))
    if not path.name.startswith(MARK) or not path.is_absolute():
        raise ValueError(f"{path} is no file of ours: its name does not start with {MARK}")
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ValueError(f"{path} is no regular file")
        path.unlink()
    except FileNotFoundError:
        return "gone", True
    return "removed", not path.exists()
