"""The clock of a run: CLOCK_MONOTONIC counted from its start, and what that is in wall time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True)
class Clock:
    """Seconds since the run started. Both bases are read together, once."""

    monotonic_base_s: float = field(default_factory=time.monotonic)
    wall_base_s: float = field(default_factory=time.time)

    def now_s(self) -> float:
        return time.monotonic() - self.monotonic_base_s

    def from_wall(self, wall_s: float) -> float:
        """Epoch seconds of this machine → seconds since the run started."""
        return wall_s - self.wall_base_s

    def to_wall(self, at_s: float) -> float:
        return self.wall_base_s + at_s

    def wall_time(self, at_s: float) -> str:
        """ISO 8601 in UTC with milliseconds, for people."""
        moment = datetime.fromtimestamp(self.to_wall(at_s), UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
