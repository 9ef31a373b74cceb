"""Network latency: whatever is asked of a kernel comes to it late, as over a long or crowded line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from faults.helpers import link
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Magnitude, Sample, Undo


@dataclass(frozen=True, kw_only=True)
class NetworkLatency:
    """Delays each request on the link *target* (a callee, or CALLER->CALLEE) by *latency_ms* ± *jitter_ms*.

    Only requests are delayed, so that a call takes latency_ms longer, not twice that. Measured by the proxy, from a
    request's arrival to its hand-over: a link without requests is not attained.
    """

    target: str
    latency_ms: float
    jitter_ms: float = 0.0
    duration_seconds: float

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0

    defaults: ClassVar[Mapping[str, Any]] = {
        "target": "api_server->memory_fusion",
        "latency_ms": 400,
        "duration_seconds": 45,
    }

    witness: ClassVar[str] = "how much later answers come to a probe that the harness sends through the link"

    @property
    def subject(self) -> str:
        return link.callee(self.target)

    @property
    def asked(self) -> Magnitude:
        tolerance_ms = max(self.latency_ms * 0.05, self.jitter_ms / 4)
        return Magnitude(name="delay", value=self.latency_ms, unit="ms", tolerance=tolerance_ms)

    def prepare(self, target: Target) -> Undo:
        return link.prepare(target, self.target)

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        arguments = {"delay_ms": self.latency_ms, "jitter_ms": self.jitter_ms}
        return link.inject(target, self.target, undo, hands, self.duration_seconds, arguments)

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return link.witness(target, self.target, undo, "delay", jitter=self.jitter_ms)

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return link.sample(undo, effect, hands, "added_ms")


FAULT = NetworkLatency
