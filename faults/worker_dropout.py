"""Dropout: a part of a pool's worker processes ends at once, with whatever they had in hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from faults.helpers import killing
from faults.helpers.pools import OnPool, chosen, pool_of, processes_of
from faults.helpers.process_witness import gone
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Magnitude, Sample, Undo


@dataclass(frozen=True, kw_only=True)
class WorkerDropout(OnPool):
    """Sends SIGKILL to *share_percent* of the processes of the pool *target*, rounded up.

    The first ones by the manifest's order, or with a *seed* those that it draws. Asked and measured is the share of
    the pool's processes that are gone, each by its start time, so that a successor does not count. Nothing is taken
    back: a dead process is the target's to replace. The subject is the first of these workers.
    """

    share_percent: float = 50.0
    seed: int = 0

    duration_field: ClassVar[str] = ""
    min_duration_s: ClassVar[float] = 0.0

    witness: ClassVar[str] = "the victims' pids and start times in /proc, read by the harness"

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int):
            raise ValueError(f"seed: a whole number is expected, not {self.seed!r}")

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="killed", value=self.share_percent, unit="%", tolerance=0.0)

    def names(self, target: Target) -> tuple[str, ...]:
        return chosen(pool_of(target, self.target), self.share_percent, self.seed)

    def prepare(self, target: Target) -> Undo:
        return killing.prepare(processes_of(target, self.names(target)))

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        names = self.names(target)
        effect = killing.inject(undo, names)
        return Effect(facts={**effect.facts, "workers": list(names)})

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return gone(killing.victims(undo), scale=100 / len(pool_of(target, self.target).processes))

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        left = killing.left(effect)
        size = len(pool_of(target, self.target).processes)
        gone = len(effect.facts["killed"]) - len(left)
        return Sample(achieved=100.0 * gone / size, detail={"left": left})


FAULT = WorkerDropout
