"""Gives a damaged file back, byte for byte, from the backup that was made before it was damaged.

What the target has made of the file meanwhile is the target's: after a whole injection only the damage itself is
undone. An injection that was cut off half-way leaves bytes that nobody knows; then what is there is overwritten.
The file is replaced at one stroke, so a process that holds the damaged one open keeps it: meant for files that are
opened to be read (models, snapshots, configuration), not for databases in use.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.primitives import Looks, replace_file

OP = "restore_file"
GIVEN_BACK = ".given_back"  # beside the backup: the file was given back from it, so it was not the target's doing
BLOCK_BYTES = 1 << 20


def restore_file(
    path: Path, backup: str, sha256: str, damaged_sha256: str | None, looks: Looks, mtime_ns: int
) -> dict[str, Any]:
    """The primitive for *path*. *backup* is a bare name: the run's folder is put before it when it is armed.

    *damaged_sha256* None: the damage is that the file is gone.
    """
    return {
        "op": OP,
        "path": str(path),
        "backup": backup,
        "sha256": sha256,
        "damaged_sha256": damaged_sha256,
        "looks": asdict(looks),
        "mtime_ns": mtime_ns,
    }


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    path, backup, original = Path(primitive["path"]), Path(primitive["backup"]), primitive["sha256"]
    now = digest(path)
    damaged = now == primitive["damaged_sha256"]
    if now == original:
        return "as it was", True
    if not path.parent.is_dir():
        return "gone with its folder", True
    if complete and not damaged:
        return f"{_how(now)}, by the target and not by this fault: left alone", True
    kept = digest(backup)
    if kept is None and not (damaged and (now or complete)):
        return f"{_how(now)} before it was damaged, which it never was: left alone", True
    if kept != original:
        return f"cannot be restored: the backup {backup} is {'gone' if kept is None else 'not what was kept'}", False
    if now == "":
        return "no file of its own any more (a link, a folder), by the target: left alone", True
    with contextlib.suppress(OSError):  # a full disk must not keep a file from being given back
        given_back(backup).touch()
    replace_file(path, backup.read_bytes(), Looks(**primitive["looks"]), int(primitive["mtime_ns"]))
    return "restored", digest(path) == original


def given_back(backup: Path) -> Path:
    """Where it is noted, before it is done, that a file was given back from *backup*."""
    return backup.with_name(backup.name + GIVEN_BACK)


def _how(now: str | None) -> str:
    return "gone" if now is None else "changed"


def digest(path: Path) -> str | None:
    """The SHA-256 of a file, in hex; None when there is none, "" for what is no plain file (a link, a folder)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        if path.is_symlink():
            return ""
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return ""
    with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor, not a path
        found = hashlib.sha256()
        while block := file.read(BLOCK_BYTES):
            found.update(block)
    return found.hexdigest()
