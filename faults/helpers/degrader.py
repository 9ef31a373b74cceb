"""Makes a model's answers worse on their way back: a label by chance, less confidence; counts what it changed."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

LENGTH = struct.Struct("!I")
LABELS_MAX = 100


@dataclass
class Degrader:
    """Takes messages as they are on the line. One that holds no answer of a model passes untouched, and is not counted.

    *label_field* and *confidence_field* are dotted places in the message's JSON. The labels to choose from are those
    that have passed: before there are two, an answer keeps its own.
    """

    confidence_drop: float
    label_field: str
    confidence_field: str
    seed: int = 1
    answers: int = 0
    changed: int = 0
    relabelled: int = 0
    labels: list[str] = field(default_factory=list)
    drops: list[float] = field(default_factory=list)  # of the answers since the last row, also those left as they were

    def __post_init__(self) -> None:
        self.generator = random.Random(self.seed)

    def degrade(self, message: bytes, counted: bool = True) -> bytes:
        try:
            told = json.loads(message[LENGTH.size :])
            change_label, label = _place(told, self.label_field)
            change_confidence, confidence = _place(told, self.confidence_field)
        except (ValueError, KeyError, TypeError, RecursionError):
            return message
        if not isinstance(label, str) or isinstance(confidence, bool) or not isinstance(confidence, int | float):
            return message
        if label not in self.labels and len(self.labels) < LABELS_MAX:
            self.labels.append(label)
        other = self.generator.choice(self.labels) if len(self.labels) > 1 else label
        less = round(max(0.0, confidence - self.confidence_drop), 6)
        change_label(other)
        change_confidence(less)
        if counted:
            self.answers += 1
            self.changed += (other, less) != (label, confidence)
            self.relabelled += other != label
            self.drops.append(confidence - less)
        body = json.dumps(told).encode()
        return LENGTH.pack(len(body)) + body

    def row(self) -> dict[str, Any]:
        """The mean drop since the last row, with the shares of all answers that were changed; {} without an answer."""
        if not self.drops:
            return {}
        mean = sum(self.drops) / len(self.drops)
        self.drops.clear()
        return {
            "confidence_drop": round(mean, 6),
            "answers_seen": self.answers,
            "changed_percent": round(100 * self.changed / self.answers, 3),
            "relabelled_percent": round(100 * self.relabelled / self.answers, 3),
        }


def _place(told: Any, path: str) -> tuple[Callable[[Any], None], Any]:
    """(how to put another value there, the value). Raises KeyError or TypeError where there is no such place."""
    *way, last = path.split(".")
    for part in way:
        told = told[part]
    if not isinstance(told, dict):
        raise TypeError(path)
    return lambda value: told.__setitem__(last, value), told[last]
