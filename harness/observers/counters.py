"""The target's own counters, from its Prometheus page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from harness.contracts import Target, View
from harness.loopback import Client
from harness.model import Reading


class Counters:
    """A sample of each counter that the manifest names, summed over its labels."""

    every_s: ClassVar[float] = 0.5

    def __init__(self, target: Target) -> None:
        metrics: Any = target.signals["metrics"]
        self.url: str = metrics["url"]
        self.names: dict[str, str] = metrics["counters"]
        self.client = Client(target.base_url, permitted=target.permitted)

    @staticmethod
    def missing(target: Target) -> str:
        """What the manifest lacks for this observer; "" for nothing."""
        return "" if "metrics" in target.signals else "signals.metrics"

    def observe(self, view: View) -> Iterable[Reading]:
        status, _, content = self.client.send("GET", self.url)
        if status != 200:
            raise OSError(f"{self.url} answers {status}")
        totals = parse(content.decode(errors="replace"))
        at_s = view.now_s()
        for name, family in self.names.items():
            if family in totals:
                yield Reading(at_s=at_s, name=name, value=totals[family])

    def close(self) -> None:
        self.client.close()


def parse(text: str) -> dict[str, float]:
    """{family: sum over its label sets} of the Prometheus text format; lines that are not samples are passed over.

    A sample may carry a time after its value, which is not its value.
    """
    totals: dict[str, float] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        labels_end = line.rfind("}") + 1
        name, value, *_ = [line[:labels_end], *line[labels_end:].split()] if labels_end else [*line.split(), ""]
        family = name.partition("{")[0].strip()
        try:
            totals[family] = totals.get(family, 0.0) + float(value)
        except ValueError:
            continue
    return totals


OBSERVER = Counters
