"""Model degradation: the answers of a model upstream become random and unsure, as after a bad release of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from faults.helpers import link
from harness.contracts import Hands, Target, TargetLacks, Witness
from harness.model import Effect, Magnitude, Sample, Undo

RANDOM_OUTPUTS = "random_outputs"


@dataclass(frozen=True, kw_only=True)
class ModelDegradation:
    """Each answer of *model_id* has a label by chance and *confidence_drop* less confidence, for so many seconds.

    Done on the way back from the model, which is the link called *target* (else: called as the model is), so its
    framing must be known. Measured by the proxy, from the answers that it changed: what their confidence fell by, in
    the mean over all of them. A model that nobody asks is not attained.
    """

    model_id: str
    degradation_type: str = RANDOM_OUTPUTS
    confidence_drop: float
    duration_seconds: float
    target: str = ""
    label_field: str = "result.label"
    confidence_field: str = "result.confidence"
    seed: int = 1

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 15.0  # less leaves a platform no time to see it and to show what it does about it
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"degradation_type": (RANDOM_OUTPUTS,)}

    witness: ClassVar[str] = "the confidence of the model's answers to the harness, through the link and past it"

    def __post_init__(self) -> None:
        if not 0 < self.confidence_drop <= 1:
            raise ValueError(f"confidence_drop: above 0 and at most 1 is expected, not {self.confidence_drop:g}")
        if not self.target:
            object.__setattr__(self, "target", self.model_id)

    @property
    def subject(self) -> str:
        return self.model_id

    @property
    def asked(self) -> Magnitude:
        drop = self.confidence_drop
        return Magnitude(name="confidence lost", value=drop, unit="points", tolerance=drop * 0.05)

    def prepare(self, target: Target) -> Undo:
        if not link.find_link(target, self.target).framing:
            raise TargetLacks(f"model_degradation: the framing of the link {self.target!r} is not known")
        return link.prepare(target, self.target)

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        degrade = {
            "confidence_drop": self.confidence_drop,
            "label_field": self.label_field,
            "confidence_field": self.confidence_field,
            "seed": self.seed,
        }
        return link.inject(target, self.target, undo, hands, self.duration_seconds, {"degrade": degrade})

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return link.witness(target, self.target, undo, "confidence", self.confidence_field)

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return link.sample(undo, effect, hands, "confidence_drop")


FAULT = ModelDegradation
