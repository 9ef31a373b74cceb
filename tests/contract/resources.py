"""What the tests of resource faults share: a target of folders, and a fault brought into force."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.helpers.reading import helper_of
from harness.contracts import Hands
from harness.guardian_link import GuardianLink
from harness.model import Effect, Hold, Sample, Undo
from harness.primitives.kill_marked import marked
from harness.process import send
from harness.undo import heal
from tests.processes import wait_for


@dataclass(frozen=True)
class Place:
    """A target that is nothing but its paths."""

    paths: dict[str, Path] = field(default_factory=dict)
    bus: None = None
    kernels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Force:
    """A fault in force."""

    fault: Any
    target: Any
    link: GuardianLink
    undo: Undo
    effect: Effect

    @property
    def hands(self) -> Hands:
        return self.link.hands("f")

    def sample(self) -> Sample:
        sample: Sample = self.fault.sample(self.target, self.undo, self.effect, self.hands)
        return sample

    def wait(self, limit_s: float = 15.0) -> Sample:
        """The first sample that reaches what was asked."""

        def reached() -> Sample | None:
            sample = self.sample()
            assert sample.hold is Hold.HOLDS, sample.because
            return sample if (sample.achieved or 0.0) >= self.fault.asked.floor else None

        found: Sample = wait_for(reached, limit_s, f"{self.fault.asked}, now {self.sample()}")
        return found

    def heal_twice(self) -> None:
        for take_back in (lambda: self.link.heal("f"), lambda: heal(self.undo)):
            results = take_back()
            assert results and all(result["verified"] for result in results), results
        assert not marked(self.link.marker("f"))

    def kill_helper(self) -> None:
        send(helper_of(self.effect).process, signal.SIGKILL)
        wait_for(lambda: self.sample().hold is Hold.LOST, 5.0, "that the fault is known to be lost")


def bring(fault: Any, target: Any, link: GuardianLink) -> Force:
    """Prepares (which touches nothing), heals before anything was done, arms and injects."""
    planned = fault.prepare(target)
    assert all(result["verified"] for result in heal(planned)), "heal before inject does no harm"
    undo = link.arm("f", planned, 60)
    effect = fault.inject(target, undo, link.hands("f"))
    link.active("f")
    return Force(fault, target, link, undo, effect)
