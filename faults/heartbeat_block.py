"""Heartbeat block: a kernel works on, and whoever watches over it hears nothing of it any more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from faults.helpers import muting
from faults.helpers.one_kernel import OneKernel, process_of
from faults.helpers.process_witness import Unheard
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Hold, Magnitude, Sample, Undo
from harness.process import same


@dataclass(frozen=True, kw_only=True)
class HeartbeatBlock(OneKernel):
    """Keeps the heartbeats of kernel *target* from its supervisor for *block_seconds*, or until the target ends it.

    The kernel's end of the pipe between the two is led to /dev/null, by a thread of its own that is borrowed from
    outside (docs/decisions/0008): it writes and has no error, the pipe stays open, and nothing arrives. All else of
    the kernel goes on. Seen in force where /proc says that the descriptor leads nowhere.

    The target has ended it when that process is gone: a watchdog cannot tell this from a kernel that hangs, and
    replaces it.
    """

    block_seconds: float

    duration_field: ClassVar[str] = "block_seconds"

    witness: ClassVar[str] = "the age of the kernel's heartbeat, as the control plane tells it"

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="silenced", value=1.0, unit="", tolerance=0.05)

    def prepare(self, target: Target) -> Undo:
        return muting.prepare(target, self.target)

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        return muting.inject(target, undo, self.target, self.block_seconds, hands)

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return Unheard(target, self.target, process_of(undo.primitives[0]))

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        process, leads = process_of(effect.facts), muting.leads_to(effect)
        if not same(process):
            return self.ended(target, process)
        if leads != muting.VOID or not Path(effect.facts["gate"]).exists():
            descriptor = effect.facts["descriptor"]
            because = f"descriptor {descriptor} of pid {process.pid} leads to {leads}, and not by this run"
            return Sample(achieved=None, hold=Hold.LOST, because=because)
        return Sample(achieved=1.0)


FAULT = HeartbeatBlock
