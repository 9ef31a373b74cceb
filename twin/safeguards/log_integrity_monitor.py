"""Log integrity monitor: sees that an entry of the immutable log is not what its hash was made of."""

from __future__ import annotations

import sqlite3

from twin.log_chain import misfits
from twin.wholeness import Wholeness

SUBJECT = "immutable_log"
SLICE = 500
TOLD = 5


class LogIntegrityMonitor:
    """Recomputes the chain piece by piece, and all of it when anybody but the log itself has written to its file."""

    name = "log_integrity_monitor"
    playbook = "log_restore"

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.wholeness = Wholeness()
        self._after = 0
        self._version = self._written_by_others()
        self._known: list[str] = []

    def _written_by_others(self) -> int:
        """Another number whenever somebody else's connection has changed the file."""
        return int(self.db.execute("PRAGMA data_version").fetchone()[0])

    def problems(self, now_s: float) -> dict[str, str]:
        """{"immutable_log": which of its entries are wrong}."""
        version = self._written_by_others()
        if version != self._version or self._known:
            self._version = version
            self._known, _ = misfits(self.db)
        else:
            self._known, last = misfits(self.db, self._after, SLICE)
            self._after = last if last >= self._after + SLICE else 0
        more = f", and {len(self._known) - TOLD} more" if len(self._known) > TOLD else ""
        return {SUBJECT: "; ".join(self._known[:TOLD]) + more}
