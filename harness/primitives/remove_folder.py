"""Removes the folder of an embedded target, keys and all, once nobody works in it any more."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.primitives import wait_until

OP = "remove_folder"
MARK = "grace-twin-"
END_LIMIT_S = 4.0  # a twin whose harness was killed takes its time to stop


def remove_folder(path: Path) -> dict[str, Any]:
    """The primitive for the folder at *path*: one of ours by its name, made in the folder for temporary files."""
    return {"op": OP, "path": str(path)}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    folder = Path(str(primitive["path"]))
    if not folder.name.startswith(MARK) or folder.parent != Path(tempfile.gettempdir()) or folder.is_symlink():
        raise ValueError(f"{folder} is no folder of ours: {MARK}... in {tempfile.gettempdir()} is expected")
    if not folder.exists():
        return "gone", True
    if not wait_until(lambda: not users(folder), END_LIMIT_S):
        return f"still in use by pid {users(folder)[0]}", False
    shutil.rmtree(folder, ignore_errors=True)
    return "removed", not folder.exists()


def users(folder: Path) -> list[int]:
    """The processes that have *folder* in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found
