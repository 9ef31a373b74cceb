"""Kill: the processes of one or more kernels end at once, as in a crash or at the hands of the OOM killer."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from harness.contracts import Hands, ProcessId, Target, TargetError
from harness.model import Effect, Magnitude, Sample, Undo
from harness.primitives import gone
from harness.process import same, send

METHODS = ("SIGKILL", "SIGTERM")


@dataclass(frozen=True, kw_only=True)
class KernelKill:
    """Sends *kill_method* to the process of kernel *target*, or to those of all *targets* together.

    A fault of a count: asked and measured is how many of the processes are gone, each by its start time, so that a
    successor with any pid does not count. It ends when all are gone, which is also when its time to detect begins.
    Nothing is taken back: a dead process is the target's to replace. The subject is the first of *targets*: a
    scenario that wants each kernel's restart judged gives each a fault of its own.
    """

    target: str = ""
    targets: tuple[str, ...] = ()
    kill_method: str = "SIGKILL"

    duration_field: ClassVar[str] = ""
    min_duration_s: ClassVar[float] = 0.0

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
        """Names the victims, so that the limits see whom it is aimed at. Raises for a kernel that is not run."""
        return Undo(primitives=tuple(gone.gone(target.process(name)) for name in self.kernels))

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        """Ends those very processes that were prepared, and no successor: only they have passed the limits."""
        victims = [one for one in undo.primitives if one["op"] == gone.OP]
        processes = {
            name: ProcessId(pid=one["pid"], start_ticks=one["start_ticks"], boot_id=one["boot_id"])
            for name, one in zip(self.kernels, victims, strict=True)
        }
        number = signal.Signals[self.kill_method]
        missed = [name for name, process in processes.items() if not send(process, number)]
        if missed:
            raise TargetError(f"{', '.join(missed)}: gone before the {self.kill_method} came")
        killed = {name: asdict(process) for name, process in processes.items()}
        return Effect(facts={"mechanism": self.kill_method, "killed": killed})

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        killed: Mapping[str, Mapping[str, Any]] = effect.facts["killed"]
        left = [name for name, one in killed.items() if same(ProcessId(**one))]
        return Sample(achieved=float(len(killed) - len(left)), detail={"left": left})


FAULT = KernelKill
