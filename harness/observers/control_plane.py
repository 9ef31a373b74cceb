"""What the target says of its kernels: their states and how fresh their heartbeats are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from harness.contracts import Target, View
from harness.loopback import Client
from harness.model import Kind, Reading
from harness.signal_shapes import kernels

MISSED_S = 2.0
UNLISTED = "unlisted"  # it tells of others, and no more of this one


class ControlPlane:
    """kernel_heartbeat_age_s samples; an edge when the target says that a kernel's state or restarts changed."""

    every_s: ClassVar[float] = 0.5

    def __init__(self, target: Target) -> None:
        self.url: str = target.signals["kernels"]["url"]
        self.client = Client(target.base_url, permitted=target.permitted)
        self.states: dict[str, str] = {}
        self.missed: set[str] = set()

    @staticmethod
    def missing(target: Target) -> str:
        """What the manifest lacks for this observer; "" for nothing."""
        return "" if "kernels" in target.signals else "signals.kernels"

    def observe(self, view: View) -> Iterable[Reading]:
        rows = kernels(self.client.get_json(self.url))
        at_s = view.now_s()
        for one in rows:
            kernel, state, age_s = one.name, one.state, one.heartbeat_age_s
            if age_s is not None:
                yield Reading(at_s=at_s, name="kernel_heartbeat_age_s", subject=kernel, value=age_s)
            before = self.states.get(kernel)
            if state != before:
                self.states[kernel] = state
                detail = {"what": "state", "from": before, "to": state, "pid": one.pid, "restarts": one.restarts}
                if before is not None or state != "running":
                    yield self._edge(Kind.KERNEL_CHANGED, kernel, at_s, detail)
            late = age_s is not None and age_s > MISSED_S
            if late and kernel not in self.missed:
                yield self._edge(Kind.SYMPTOM_SEEN, kernel, at_s, {"what": "heartbeat_missed", "age_s": age_s})
            (self.missed.add if late else self.missed.discard)(kernel)
        listed = {one.name for one in rows}
        for kernel in view.target.kernels:
            before = self.states.get(kernel)
            if kernel not in listed and before != UNLISTED:
                self.states[kernel] = UNLISTED
                detail = {"what": "state", "from": before, "to": UNLISTED}
                yield self._edge(Kind.KERNEL_CHANGED, kernel, at_s, detail)

    @staticmethod
    def _edge(kind: Kind, kernel: str, at_s: float, detail: Mapping[str, object]) -> Reading:
        return Reading(at_s=at_s, name="control_plane", subject=kernel, kind=kind, detail=detail)

    def close(self) -> None:
        self.client.close()


OBSERVER = ControlPlane
