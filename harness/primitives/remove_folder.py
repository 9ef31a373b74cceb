"""Removes the folder of an embedded target, keys and all, once nobody works in it any more."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.primitives import wait_until

OP = "remove_folder"
MARK = "grace-twin-"
YOUNG_S = 30.0  # a twin that is being started is not in its folder yet
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


def abandoned(now_s: float) -> list[Path]:
    """Folders that nobody works in at epoch second *now_s*: of a run that was killed with whoever kept its folder."""
    found = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{MARK}*")):
        with contextlib.suppress(OSError):
            told = folder.lstat()
            mine = stat.S_ISDIR(told.st_mode) and told.st_uid == os.geteuid()
            if mine and now_s - told.st_mtime > YOUNG_S and not users(folder) and not _locked(folder / "run" / "lock"):
                found.append(folder)
    return found


def _locked(path: Path) -> bool:
    """Whether a twin lives there, seen or not: in a container of its own it is none of the processes here."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
