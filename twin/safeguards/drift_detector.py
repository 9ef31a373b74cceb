"""Drift detector: sees that a model's answers are no longer distributed as they were when it was taken into use."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twin.config import Thresholds
from twin.two_samples import ks_distance, ks_limit, words_distance, words_limit

BREADTH = 1e-6  # less than two confidences differ by, if they do: equal ones are put in a random order
OTHERWISE = "otherwise"  # in the place of a label that this question did not have before
Output = tuple[str, str, float]  # question, label, confidence


@dataclass(frozen=True)
class Drift:
    """A model has drifted, or is again as it was."""

    engaged: bool
    reason: str
    details: dict[str, Any]


class DriftDetector:
    """take() is fed with answers to questions that are drawn at random from a fixed pool, never with what clients ask:
    who sends nonsense changes the answers, and not the model.

    So many answers are a window; windows don't overlap. Each is compared with the *reference*: confidences by
    Kolmogorov-Smirnov, labels by Pearson's statistic, each at half of drift_alpha, which is so the share of the
    windows of a model in order that are taken for drift, and less than that when it always says the same. Several in
    a row are an incident; several in order end it.
    """

    name = "drift_detector"
    playbook = "model_fallback"

    def __init__(self, thresholds: Thresholds, reference: Sequence[Output], draw: random.Random) -> None:
        self.thresholds = thresholds
        self.draw = draw
        self.engaged = False
        said: dict[str, Counter[str]] = {}
        for question, label, _ in reference:
            said.setdefault(question, Counter())[label] += 1
        self._usual = {question: labels.most_common(1)[0][0] for question, labels in said.items()}
        self._labels = Counter({OTHERWISE: 0, **self._words(reference)})
        self._confidences = self._sorted(reference)
        self._mean = sum(confidence for *_, confidence in reference) / len(reference)
        size, alpha = thresholds.drift_window, thresholds.drift_alpha / 2
        self._limit = ks_limit(len(reference), size, alpha)
        self._words_limit = words_limit(self._labels, size, alpha)
        self._window: list[Output] = []
        self._in_row = 0  # windows that gainsay what is known

    def _sorted(self, outputs: Sequence[Output]) -> list[float]:
        return sorted(confidence + BREADTH * self.draw.random() for *_, confidence in outputs)

    def _words(self, outputs: Sequence[Output]) -> Counter[str]:
        """The labels; OTHERWISE for one that its question does not usually have: chance keeps each label's share."""
        return Counter(
            label if self._usual.get(question, label) == label else OTHERWISE for question, label, _ in outputs
        )

    def trouble(self, window: Sequence[Output]) -> str:
        """What is unlike the reference in *window*; "" for nothing."""
        found = []
        distance = ks_distance(self._confidences, self._sorted(window))
        if distance >= self._limit:
            mean = sum(confidence for *_, confidence in window) / len(window)
            found.append(f"confidence {mean:.2f}, was {self._mean:.2f} (distance {distance:.2f} of {self._limit:.2f})")
        words = self._words(window)
        unlike = words_distance(self._labels, words)
        if unlike >= self._words_limit:
            told = f"{words[OTHERWISE]} of {len(window)} otherwise than before"
            found.append(f"labels {told} (chi-square {unlike:.0f} of {self._words_limit:.0f})")
        return "; ".join(found)

    def take(self, question: str, label: str, confidence: float) -> Drift | None:
        self._window.append((question, label, confidence))
        if len(self._window) < self.thresholds.drift_window:
            return None
        window, self._window = self._window, []
        trouble = self.trouble(window)
        self._in_row = self._in_row + 1 if bool(trouble) != self.engaged else 0
        if self._in_row < (self.thresholds.drift_well_windows if self.engaged else self.thresholds.drift_windows):
            return None
        self.engaged, self._in_row = not self.engaged, 0
        details = {"window": len(window), "labels": dict(Counter(label for _, label, _ in window))}
        return Drift(self.engaged, trouble or "its answers are distributed as they were", details)
