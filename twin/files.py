"""Files that are there as a whole or not at all, and what tells that they are what they were."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

HASHED_AGAIN_AFTER_S = 3.0


def write_whole(path: Path, data: bytes) -> None:
    """At one stroke, and on the disk when this returns; whose file it was and its mode stay."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        if path.exists():
            os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
        os.fsync(file.fileno())
    fresh.replace(path)


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def seen(path: Path) -> tuple[int, int, int]:
    """What tells cheaply that a file may have changed; (0, 0, 0) when there is none."""
    try:
        about = path.stat()
    except OSError:
        return (0, 0, 0)
    return about.st_ino, about.st_size, about.st_mtime_ns


class HashedFile:
    """The hash of a file, looked at cheaply, and read all the same every few seconds: a bad disk changes no date."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._hashed_s = 0.0
        self._sha256 = ""

    def sha256(self, now_s: float) -> str:
        """ "" when it cannot be read."""
        now = seen(self.path)
        if now != self._seen or now_s - self._hashed_s >= HASHED_AGAIN_AFTER_S:
            try:
                self._sha256 = sha256_of(self.path.read_bytes())
            except OSError:
                self._sha256 = ""
            self._seen, self._hashed_s = now, now_s
        return self._sha256
