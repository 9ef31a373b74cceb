"""Signatures of failures: what a line is without its figures, what is known to help, and what has been learned."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from typing import Any

from twin.kernels import KERNELS
from twin.log_tail import Failure

SCHEMA = """
CREATE TABLE IF NOT EXISTS signatures (shape TEXT PRIMARY KEY, example TEXT, source TEXT, playbook TEXT,
    seen INTEGER, first_at REAL, last_at REAL);
"""
SIGNATURES_MAX = 500
FILE = re.compile(r"\b[\w-]+\.(?:pkl|json|yaml|db)\b")
VARIABLE = (
    (re.compile(r"'[^']*'|\"[^\"]*\""), "<text>"),
    (re.compile(r"(?:/[\w.-]+){2,}"), "<path>"),
    (FILE, "<file>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"), "<hex>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
    (re.compile(rf"\b(?:{'|'.join(KERNELS)})\b"), "<kernel>"),  # what fails in one may fail in another
)


@dataclass(frozen=True)
class Known:
    """A signature that the platform is delivered with. *subject*: what it is about; "": what the line names."""

    pattern: re.Pattern[str]
    playbook: str
    subject: str = ""


DELIVERED = (
    Known(re.compile(r"^[\w-]+\.pkl must not be used: "), "model_restore"),
    Known(re.compile(r"^the settings are not followed: "), "config_restore", "config"),
    Known(re.compile(r"^the snapshot of the state is damaged: "), "snapshot_regenerate", "state_snapshot"),
    Known(
        re.compile(r"^the immutable log cannot be written: .*(No space left on device|disk is full)"),
        "refuse_unrecorded",
        "immutable_log",
    ),
)


def shape_of(text: str) -> str:
    """*text* without what differs from one time to the next."""
    for pattern, word in VARIABLE:
        text = pattern.sub(word, text)
    return text[:300]


def subject_of(failure: Failure) -> str:
    """What a line is about: a file or a kernel that it names, else the kernel whose log it is in."""
    named = FILE.search(failure.text)
    if named:
        return named.group()
    kernels = [name for name in KERNELS if re.search(rf"\b{name}\b", failure.text)]
    return kernels[0] if kernels else failure.source


@dataclass(frozen=True)
class Recognised:
    """What a line means. *playbook* "": nobody knows yet what helps."""

    shape: str
    subject: str
    playbook: str
    first_time: bool  # it was unknown until now


class Signatures:
    """All that are known, in *db*: they outlive the kernel."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def take(self, now: float, failure: Failure) -> Recognised | None:
        """Counts it; an unknown one is learned. None when there is no room to learn it."""
        shape, given = shape_of(failure.text), next((k for k in DELIVERED if k.pattern.search(failure.text)), None)
        row = self.db.execute("SELECT playbook FROM signatures WHERE shape = ?", (shape,)).fetchone()
        if row is None and self._full():
            return None
        playbook = given.playbook if given else row["playbook"] if row else ""
        subject = (given.subject if given else "") or subject_of(failure)
        self.db.execute(
            "INSERT INTO signatures VALUES (?, ?, ?, ?, 1, ?, ?) ON CONFLICT (shape) DO UPDATE SET seen = seen + 1,"
            " last_at = excluded.last_at",
            (shape, failure.text[:300], failure.source, playbook, now, now),
        )
        return Recognised(shape, subject, playbook, first_time=row is None and given is None)

    def _full(self) -> bool:
        return bool(self.db.execute("SELECT count(*) FROM signatures").fetchone()[0] >= SIGNATURES_MAX)

    def helped(self, shape: str, playbook: str) -> None:
        """*playbook* mended what failed with *shape* when it was first seen."""
        self.db.execute("UPDATE signatures SET playbook = ? WHERE shape = ? AND playbook = ''", (playbook, shape))

    def told(self) -> list[dict[str, Any]]:
        rows = self.db.execute("SELECT * FROM signatures ORDER BY last_at DESC LIMIT 100").fetchall()
        return [dict(row) for row in rows]
