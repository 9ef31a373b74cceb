"""What is whole and what is not: damage that two looks agree on is an incident, until two looks find it mended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from twin.incidents import Incidents
from twin.kernel import Kernel

LOOK_EVERY_S = 0.5
LOOKS = 2  # a file that is just being written is no damage
AGAIN_AFTER_S = 10.0  # a playbook that has not helped by then is asked for anew


@dataclass(frozen=True)
class Change:
    """Something is damaged, or is whole again."""

    subject: str
    engaged: bool
    reason: str


@dataclass
class Wholeness:
    """tick() takes what is wrong with each subject ("" for nothing); time is an argument."""

    engaged: dict[str, float] = field(default_factory=dict)  # subject → since when
    _in_row: dict[str, int] = field(default_factory=dict)  # looks in a row that gainsay what is known

    def resume(self, now_s: float, subjects: Iterable[str]) -> None:
        """What was open before a restart."""
        self.engaged |= dict.fromkeys(subjects, now_s)

    def tick(self, now_s: float, problems: Mapping[str, str]) -> list[Change]:
        changes = []
        for subject, problem in problems.items():
            known = subject in self.engaged
            self._in_row[subject] = self._in_row.get(subject, 0) + 1 if bool(problem) != known else 0
            if known and problem and now_s - self.engaged[subject] >= AGAIN_AFTER_S:
                changes.append(self._release(subject, f"its playbook has not helped: {problem}"))
            elif self._in_row[subject] >= LOOKS and problem:
                self.engaged[subject], self._in_row[subject] = now_s, 0
                changes.append(Change(subject, True, problem))
            elif self._in_row[subject] >= LOOKS:
                changes.append(self._release(subject, "it is whole again"))
        return changes

    def _release(self, subject: str, reason: str) -> Change:
        del self.engaged[subject]
        self._in_row[subject] = 0
        return Change(subject, False, reason)


class Watching(Protocol):
    """A safeguard that watches something whole."""

    name: str
    playbook: str
    wholeness: Wholeness

    def problems(self, now_s: float) -> dict[str, str]: ...


async def watch(kernel: Kernel, guard: Watching, incidents: Incidents) -> None:
    """Looks for as long as *kernel* lives. Files are small: a look takes a fraction of a millisecond."""
    guard.wholeness.resume(time.monotonic(), incidents.open)
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now_s = time.monotonic()
        for change in guard.wholeness.tick(now_s, guard.problems(now_s)):
            if change.engaged:
                await incidents.engage(change.subject, guard.playbook, change.reason, {})
            else:
                incidents.release(change.subject, change.reason, {})
