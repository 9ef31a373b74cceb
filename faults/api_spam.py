"""API spam: so many requests to one route at once, each of them valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from faults.api_flood import ApiFlood, sample_of
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Magnitude, Sample, Undo

AT_ONCE = 100
LIMIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class ApiSpam:
    """Sends *count* (or *requests*, the same under its other name) requests to *endpoint*, *concurrency* at a time.

    *component* is the part of the target that they are said to weigh on: a word for people.
    """

    endpoint: str
    count: int = 0
    requests: int = 0
    component: str = ""
    concurrency: int = AT_ONCE
    client_block: int = 0  # as of an api_flood
    impatient: bool = False  # likewise
    payload: Mapping[str, Any] = field(default_factory=dict)
    target: str = "api_server"

    duration_field: ClassVar[str] = ""
    min_duration_s: ClassVar[float] = 0.0

    defaults: ClassVar[Mapping[str, Any]] = {
        "endpoint": "/api/chat",
        "requests": 1000,
        "payload": {"message": "are you there", "user": "somebody"},
    }
    of_generator: ClassVar[bool] = True
    limit_s: ClassVar[float] = LIMIT_S
    attain_limit_s: ClassVar[float] = LIMIT_S

    witness: ClassVar[str] = "the gateway's count of this route, and the kernel's table of connections"

    def __post_init__(self) -> None:
        if (self.count > 0) == (self.requests > 0):
            raise ValueError("count: either count or requests is expected, above 0")
        self._flood()

    def _flood(self) -> ApiFlood:
        return ApiFlood(
            endpoint=self.endpoint,
            total_requests=self.count or self.requests,
            concurrency=self.concurrency,
            client_block=self.client_block,
            impatient=self.impatient,
            duration_seconds=LIMIT_S,
            payload=self.payload,
            target=self.target,
        )

    @property
    def subject(self) -> str:
        return self._flood().subject

    def subject_on(self, target: Target) -> str:
        return self._flood().subject_on(target)

    def senders_on(self, target: Target) -> tuple[str, ...]:
        return self._flood().senders_on(target)

    @property
    def asked(self) -> Magnitude:
        return self._flood().asked

    @property
    def also_asked(self) -> tuple[Magnitude, ...]:
        return self._flood().also_asked

    def prepare(self, target: Target) -> Undo:
        return self._flood().prepare(target)

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        return self._flood().inject(target, undo, hands)

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return self._flood().start_witness(target, undo, hands)

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return sample_of(hands)


FAULT = ApiSpam
