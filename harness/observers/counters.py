"""The target's own counters, from its Prometheus page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from harness.contracts import Target, View
from harness.loopback import Client
from harness.model import Kind, Reading
from harness.signal_shapes import metrics

MISSED_S = 5.0  # a kernel that is just being replaced tells nothing for a while
OF = "counters of "


class Counters:
    """A sample of each counter that the manifest names, summed over its labels.

    One that the page lacks for longer than MISSED_S is a lost signal of its own, from when it was missed first.
    """

    every_s: ClassVar[float] = 0.5

    def __init__(self, target: Target) -> None:
        page: Any = target.signals["metrics"]
        self.url: str = page["url"]
        self.names: dict[str, str] = page["counters"]
        self.client = Client(target.base_url, permitted=target.permitted)
        self.missed: dict[str, float] = {}  # name → since when the page lacks it
        self.lost: set[str] = set()

    @staticmethod
    def missing(target: Target) -> str:
        """What the manifest lacks for this observer; "" for nothing."""
        return "" if "metrics" in target.signals else "signals.metrics"

    def observe(self, view: View) -> Iterable[Reading]:
        status, _, content = self.client.send("GET", self.url)
        if status != 200:
            raise OSError(f"{self.url} answers {status}")
        totals = metrics(content.decode(errors="replace"))
        at_s = view.now_s()
        for name, family in self.names.items():
            if family in totals:
                self.missed.pop(name, None)
                if name in self.lost:
                    self.lost.discard(name)
                    yield Reading(at_s=at_s, name="counters", subject=OF + name, kind=Kind.SIGNAL_BACK)
                yield Reading(at_s=at_s, name=name, value=totals[family])
                continue
            since_s = self.missed.setdefault(name, at_s)
            if at_s - since_s > MISSED_S and name not in self.lost:
                self.lost.add(name)
                detail = {"error": f"{self.url} has no sample of {family}"}
                yield Reading(at_s=since_s, name="counters", subject=OF + name, kind=Kind.SIGNAL_LOST, detail=detail)

    def close(self) -> None:
        self.client.close()


OBSERVER = Counters
