"""What faults on the process of one kernel share: whom they name, and what shows that the target has ended them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.contracts import ProcessId, Target, TargetError
from harness.model import Hold, Sample


@dataclass(frozen=True, kw_only=True)
class OneKernel:
    """A fault on the process that kernel *target* has now. The target ends it by putting another in its place."""

    target: str

    min_duration_s: ClassVar[float] = 5.0
    target_ends_it: ClassVar[bool] = True

    @property
    def kernels(self) -> tuple[str, ...]:
        return (self.target,)

    @property
    def subject(self) -> str:
        return self.target

    def ended(self, target: Target, old: ProcessId) -> Sample:
        """*old* is gone from /proc; what that says of its successor is the witness that the target did it."""
        try:
            new = target.process(self.target)
            after = f"{self.target} is now pid {new.pid} (started at tick {new.start_ticks})"
        except TargetError:
            after = "no successor yet"
        return Sample(achieved=None, hold=Hold.TARGET, because=f"pid {old.pid} is gone from /proc; {after}")


def process_of(facts: Mapping[str, Any]) -> ProcessId:
    """Whose process it was, from a primitive or the facts of an effect."""
    return ProcessId(pid=facts["pid"], start_ticks=facts["start_ticks"], boot_id=facts["boot_id"])
