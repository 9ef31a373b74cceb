"""The target's own counters, from its Prometheus page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from harness.contracts import Target, View
from harness.loopback import Client
from harness.model import Reading
from harness.signal_shapes import metrics


class Counters:
    """A sample of each counter that the manifest names, summed over its labels."""

    every_s: ClassVar[float] = 0.5

    def __init__(self, target: Target) -> None:
        page: Any = target.signals["metrics"]
        self.url: str = page["url"]
        self.names: dict[str, str] = page["counters"]
        self.client = Client(target.base_url, permitted=target.permitted)

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
                yield Reading(at_s=at_s, name=name, value=totals[family])

    def close(self) -> None:
        self.client.close()


OBSERVER = Counters
