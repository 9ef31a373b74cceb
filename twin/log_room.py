"""Whether the immutable log's file system still takes what is written: tried with a file of its own, never guessed."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

ROOM_BYTES = 256 << 10  # less than this is no room: what is under way must still find some
SAID_EVERY_S = 1.0
# What SQLite says when it could not write, whatever it was about to write: full, an I/O error, read-only.
CANNOT = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)


def unwritable(error: Exception) -> bool:
    """Whether *error* is that of a database whose disk takes nothing more, and not that of a statement."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in CANNOT


class Room:
    """trouble() asks for room and gives it back at once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".room"

    def trouble(self) -> str:
        """Why nothing more can be written there; "" when it can."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, ROOM_BYTES)
            finally:
                os.ftruncate(descriptor, 0)
                os.close(descriptor)
        except OSError as error:
            return error.strerror or type(error).__name__
        return ""


class Complaints:
    """Says in a kernel's log that the immutable log cannot be written, at most once a second."""

    def __init__(self, log: logging.Logger) -> None:
        self.log = log
        self._said_s = -SAID_EVERY_S

    def say(self, now_s: float, why: str) -> None:
        if now_s - self._said_s >= SAID_EVERY_S:
            self._said_s = now_s
            self.log.error("the immutable log cannot be written: %s", why)
