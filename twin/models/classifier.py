"""A naive Bayes classifier over words: what a text is about, and how sure that is."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

WORD = re.compile(r"[a-z]{3,}")


def words_of(text: str) -> list[str]:
    return WORD.findall(text.lower())


@dataclass(frozen=True)
class NaiveBayes:
    """All in logarithms: of each category's share, of each word's share in it, and of a word never seen in it."""

    shares: dict[str, float]
    words: dict[str, dict[str, float]]
    unseen: dict[str, float]

    def predict(self, text: str) -> tuple[str, float]:
        """The likeliest category and its probability; words that no category knows say nothing."""
        known = [word for word in words_of(text) if any(word in row for row in self.words.values())]
        scores = {
            name: share + sum(self.words[name].get(word, self.unseen[name]) for word in known)
            for name, share in self.shares.items()
        }
        best = max(scores, key=lambda name: scores[name])
        return best, 1.0 / sum(math.exp(score - scores[best]) for score in scores.values())


def fit(rows: Sequence[tuple[str, str]]) -> NaiveBayes:
    """From (category, text), with one added to every count."""
    texts = Counter(category for category, _ in rows)
    counts = {name: Counter(word for c, text in rows if c == name for word in words_of(text)) for name in texts}
    vocabulary = len(set().union(*counts.values()))
    totals = {name: sum(count.values()) + vocabulary for name, count in counts.items()}
    return NaiveBayes(
        shares={name: math.log(texts[name] / len(rows)) for name in texts},
        words={name: {w: math.log((n + 1) / totals[name]) for w, n in count.items()} for name, count in counts.items()},
        unseen={name: math.log(1 / totals[name]) for name in texts},
    )
