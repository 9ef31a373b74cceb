"""What an undo is made of, a primitive a file: the words that describe it, and how it is taken back.

A module offers OP (its stem), a builder that returns the primitive as plain data, and
take_back(primitive, complete) -> (what was done, whether that is verified by reading back). *complete* is False when
the injection was cut off before its end, so that a half-done effect is surely the fault's own. Taking back is
idempotent; an object that is gone counts as healed. No module here imports a fault or gevent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

READ_BACK_S = 1.0


def wait_until(condition: Callable[[], bool], limit_s: float = READ_BACK_S) -> bool:
    """Whether *condition* came true within *limit_s*; looks every 5 ms."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What a file has beside its bytes: its mode (permission bits) and whose it is."""

    mode: int
    uid: int
    gid: int

    @staticmethod
    def of(path: Path) -> Looks:
        stat = path.stat()
        return Looks(mode=stat.st_mode & 0o7777, uid=stat.st_uid, gid=stat.st_gid)


def replace_file(path: Path, data: bytes, looks: Looks, mtime_ns: int | None = None) -> None:
    """Puts *data* at *path* at one stroke, on the disk when this returns: a reader sees the old file or the new one."""
    fresh = path.with_name(f".{path.name}.grace-chaos")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
            file.write(data)
            file.flush()
            if (looks.uid, looks.gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, looks.uid, looks.gid)
            os.fchmod(descriptor, looks.mode)
            if mtime_ns is not None:
                os.utime(descriptor, ns=(mtime_ns, mtime_ns))
            os.fsync(descriptor)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes sure that a new name in *folder* is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
