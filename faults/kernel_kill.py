"""Kill: the processes of one or more kernels end at once, as in a crash or at the hands of the OOM killer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from faults.helpers import killing
from faults.helpers.process_witness import gone
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Magnitude, Sample, Undo

METHODS = ("SIGKILL", "SIGTERM")


@dataclass(frozen=True, kw_only=True)
class KernelKill:
    """Sends *kill_method* to the process of kernel *target*, or to those of all *targets* together.

    A fault of a count: asked and measured is how many of the processes are gone, each by its start time, so that a
    successor with any pid does not count. It ends when all are gone, which is also when its time to detect begins.
    Nothing is taken back: a dead process is the target's to replace. The subject is the first of *targets*, whose
    detection is judged, as is the restart of each; what wants each detected gives each a fault of its own.
    """

    target: str = ""
    targets: tuple[str, ...] = ()
    kill_method: str = "SIGKILL"

    duration_field: ClassVar[str] = ""
    min_duration_s: ClassVar[float] = 0.0

    witness: ClassVar[str] = "the victims' pids and start times in /proc, read by the harness"

    def __post_init__(self) -> None:
        if isinstance(self.targets, str) or not all(isinstance(name, str) and name for name in self.targets):
            raise ValueError(f"targets: a list of kernels is expected, not {self.targets!r}")
        if bool(self.target) == bool(self.targets):
            raise ValueError("target: either target, a kernel, or targets, a list of kernels, is needed")
        if len(set(self.targets)) < len(self.targets):
            raise ValueError("targets: a kernel is named twice")
        if self.kill_method not in METHODS:
            raise ValueError(f"kill_method: none is called {self.kill_method!r}. Known: {', '.join(METHODS)}")

    @property
    def kernels(self) -> tuple[str, ...]:
        return tuple(self.targets) or (self.target,)

    @property
    def subject(self) -> str:
        return self.kernels[0]

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="killed", value=float(len(self.kernels)), unit="processes", tolerance=0.0)

    def prepare(self, target: Target) -> Undo:
        """Raises for a kernel that is not run."""
        return killing.prepare({name: target.process(name) for name in self.kernels})

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        return killing.inject(undo, self.kernels, self.kill_method)

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return gone(killing.victims(undo))

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        left = killing.left(effect)
        return Sample(achieved=float(len(effect.facts["killed"]) - len(left)), detail={"left": left})


FAULT = KernelKill
