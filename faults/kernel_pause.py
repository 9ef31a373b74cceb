"""Pause: a kernel is alive but does nothing, as in a long garbage collection or a hung disk."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from faults.helpers import freezer
from faults.helpers.one_kernel import OneKernel, process_of
from faults.helpers.process_witness import Standstill
from harness.contracts import Hands, ProcessId, Target, TargetError, TargetLacks, Witness
from harness.model import Effect, Hold, Magnitude, Sample, Undo
from harness.primitives import thaw
from harness.primitives.resume import resume
from harness.process import process_state, same, send

STOP_LIMIT_S = 1.0
MECHANISMS = ("sigstop", "freezer", "auto")
V1_IS_WORSE = "a process frozen by version 1 does not die of SIGKILL: a watchdog could not replace it"


@dataclass(frozen=True, kw_only=True)
class KernelPause(OneKernel):
    """Stops the process of kernel *target* for *pause_seconds*, or until the target ends it itself.

    The target has ended it when that process is gone from /proc. If the same process runs again before its time,
    anybody may have resumed it (an operator, this harness's own guardian), and the fault is lost.

    *mechanism*: sigstop shows in /proc as state T, and works everywhere; freezer is the cgroup freezer (version 2,
    else 1), under which a process shows nothing and no SIGCONT wakes it; auto is the freezer of version 2 when it is
    to be had, else sigstop. The facts name the one that was used and why those before it were not. sigstop is the
    default: it needs no rights, a process so stopped dies of SIGKILL on every kernel, and observers see it in /proc.
    """

    pause_seconds: float
    mechanism: str = "sigstop"

    duration_field: ClassVar[str] = "pause_seconds"
    defaults: ClassVar[Mapping[str, Any]] = {"target": "coding_agent", "pause_seconds": 45}

    witness: ClassVar[str] = "the process's state and CPU clock in /proc, or its cgroup's state, read by the harness"

    def __post_init__(self) -> None:
        if self.mechanism not in MECHANISMS:
            raise ValueError(f"mechanism: no way to pause is called {self.mechanism!r}. Known: {', '.join(MECHANISMS)}")

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="paused", value=1.0, unit="", tolerance=0.05)

    def prepare(self, target: Target) -> Undo:
        process = target.process(self.target)
        place, not_used = self._place(process)
        if place is None and self.mechanism == "freezer":
            raise TargetLacks(f"{self.target} cannot be frozen: {_words(not_used)}")
        frozen = (thaw.thaw(process, place.cgroup, place.home),) if place else ()
        return Undo(primitives=(resume(process), *frozen))

    def _place(self, process: ProcessId) -> tuple[freezer.Place | None, list[dict[str, str]]]:
        """The best freezer that may be used, and for each that is not, why."""
        not_used: list[dict[str, str]] = []
        for version in () if self.mechanism == "sigstop" else (2, 1):
            try:
                if version == 1 and self.mechanism == "auto":
                    raise freezer.NoFreezer(V1_IS_WORSE)
                return freezer.place(process, version), not_used
            except freezer.NoFreezer as error:
                not_used.append({"mechanism": f"freezer v{version}", "why_not": str(error)})
        return None, not_used

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        process = process_of(undo.primitives[0])
        place, not_used = self._place(process)
        planned = next((one for one in undo.primitives if one["op"] == thaw.OP), None)
        if place is not None and planned is not None:
            try:
                if str(place.cgroup) != planned["cgroup"]:
                    raise OSError(f"{self.target} has moved to {place.home} meanwhile")
                freezer.freeze(process, place)
                used = {"mechanism": f"freezer v{place.version}", "cgroup": str(place.cgroup)}
                return Effect(facts={**used, "not_used": not_used, **asdict(process)})
            except OSError as error:
                if self.mechanism == "freezer":
                    raise
                thaw.take_back(planned, False)
                not_used.append({"mechanism": f"freezer v{place.version}", "why_not": str(error)})
        self._stop(process)
        return Effect(facts={"mechanism": "SIGSTOP", "state": "T", "not_used": not_used, **asdict(process)})

    def _stop(self, process: ProcessId) -> None:
        if not send(process, signal.SIGSTOP):
            raise TargetError(f"{self.target} (pid {process.pid}) was gone before it could be paused")
        deadline = time.monotonic() + STOP_LIMIT_S
        while process_state(process.pid) != "T":
            if time.monotonic() > deadline:
                raise TargetError(f"{self.target} (pid {process.pid}) did not stop")
            time.sleep(0.002)

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        frozen = next((one for one in undo.primitives if one["op"] == thaw.OP), None)
        return Standstill(process_of(undo.primitives[0]), Path(frozen["cgroup"]) if frozen else None)

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        process = process_of(undo.primitives[0])
        if not same(process):
            return self.ended(target, process)
        runs = _runs(process, effect)
        if runs:
            because = f"pid {process.pid} runs again ({runs}), and no new process shows that it was the target"
            return Sample(achieved=None, hold=Hold.LOST, because=because)
        return Sample(achieved=1.0)


def _runs(process: ProcessId, effect: Effect) -> str:
    """How it shows that *process* is paused no more; "" while it is. Each mechanism is read back in its own way."""
    cgroup = effect.facts.get("cgroup")
    if cgroup is None:
        state = process_state(process.pid)
        return "" if state == "T" else f"state {state}"
    if not thaw.is_frozen(Path(cgroup)):
        return "its cgroup is not frozen"
    return "" if process.pid in thaw.members(Path(cgroup)) else "it has left its cgroup"


def _words(not_used: list[dict[str, str]]) -> str:
    return "; ".join(f"{one['mechanism']}: {one['why_not']}" for one in not_used)


FAULT = KernelPause
