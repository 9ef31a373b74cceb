"""How far a piece of knowledge can be trusted, from what it holds, where it is from, and how it has proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

WEIGHTS = {"completeness": 0.30, "source": 0.25, "usage": 0.20, "freshness": 0.15, "consistency": 0.10}
USED_ENOUGH = 10
STALE_AFTER_DAYS = 365.0


@dataclass(frozen=True)
class Knowledge:
    """What is judged of a piece; *completeness* and *consistency* from 0 to 1."""

    completeness: float
    source: str
    used: int
    age_days: float
    consistency: float


@dataclass(frozen=True)
class TrustScorer:
    """A weighted sum of parts from 0 to 1; each source's reliability is learned from what was confirmed of it."""

    weights: dict[str, float]
    reliability: dict[str, float]
    unknown_source: float

    def score(self, one: Knowledge) -> float:
        parts = {
            "completeness": one.completeness,
            "source": self.reliability.get(one.source, self.unknown_source),
            "usage": min(1.0, one.used / USED_ENOUGH),
            "freshness": max(0.0, 1 - one.age_days / STALE_AFTER_DAYS),
            "consistency": one.consistency,
        }
        return round(sum(self.weights[name] * value for name, value in parts.items()), 4)


def fit(observed: Sequence[tuple[str, bool]]) -> TrustScorer:
    """From (source, whether what it said was confirmed), with one added to both outcomes (Laplace)."""
    said, confirmed = Counter(source for source, _ in observed), Counter(source for source, true in observed if true)
    reliability = {source: round((confirmed[source] + 1) / (count + 2), 4) for source, count in said.items()}
    return TrustScorer(weights=dict(WEIGHTS), reliability=reliability, unknown_source=0.3)
