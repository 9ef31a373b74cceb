"""Log write guard: sees that the immutable log takes nothing more, so that nothing is done without a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twin.config import Thresholds


@dataclass(frozen=True)
class LogChange:
    """The log cannot be written any more (engaged), or can be again."""

    engaged: bool
    reason: str
    details: dict[str, Any]


class LogWriteGuard:
    """tick() takes why the log could not be written at this look, "" for one at which it could.

    One look is enough to engage: a disk that refuses room is no matter of opinion. To release takes a while without,
    as what was refused comes back at once.
    """

    name = "log_write_guard"
    playbook = "refuse_unrecorded"
    subject = "immutable_log"

    def __init__(self, thresholds: Thresholds) -> None:
        self.quiet_s = thresholds.log_writable_s
        self.engaged = False
        self._looks = 0
        self._writable_since_s: float | None = None

    def tick(self, now_s: float, trouble: str) -> LogChange | None:
        if trouble:
            self._looks, self._writable_since_s = self._looks + 1, None
            if self.engaged:
                return None
            self.engaged = True
            return LogChange(True, f"the immutable log cannot be written: {trouble}", {"trouble": trouble})
        if not self.engaged:
            return None
        if self._writable_since_s is None:
            self._writable_since_s = now_s
        if now_s - self._writable_since_s < self.quiet_s:
            return None
        self.engaged, looks, self._looks = False, self._looks, 0
        return LogChange(False, f"it could be written for {self.quiet_s:g} s", {"looks_in_vain": looks})
