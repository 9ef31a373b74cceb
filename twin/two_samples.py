"""Do two samples come from one distribution? Kolmogorov-Smirnov for numbers, Pearson's for words; both exact."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache


def ks_distance(one: Sequence[float], two: Sequence[float]) -> float:
    """The largest distance between the two empirical distributions; both sorted, and no number twice."""
    i = j = 0
    largest = 0.0
    while i < len(one) and j < len(two):
        if one[i] <= two[j]:
            i += 1
        else:
            j += 1
        largest = max(largest, abs(i / len(one) - j / len(two)))
    return largest


def ks_tail(m: int, n: int, reach: int) -> float:
    """P(D >= reach / mn) for samples of *m* and *n* from one continuous distribution, exactly.

    Each order of the m + n numbers is as likely as any other: a path through a lattice. The share of the paths that
    never come as far as *reach* from the diagonal is counted cell by cell.
    """
    inside = [0.0] * (n + 1)
    for i in range(m + 1):
        for j in range(n + 1):
            if i == j == 0:
                inside[j] = 1.0
                continue
            # the chance that a path through (i, j) came by the left or from below, whatever comes after it
            left = inside[j] * i / (i + j) if i else 0.0
            below = inside[j - 1] * j / (i + j) if j else 0.0
            inside[j] = left + below if abs(i * n - j * m) < reach else 0.0
    return 1.0 - inside[n]


@cache
def ks_limit(m: int, n: int, alpha: float) -> float:
    """The smallest distance that is reached with a chance of at most *alpha*."""
    low, high = 0, m * n  # P(D >= high / mn) is tiny, that of low is 1
    while high - low > 1:
        middle = (low + high) // 2
        if ks_tail(m, n, middle) <= alpha:
            high = middle
        else:
            low = middle
    return high / (m * n)


def words_distance(reference: Counter[str], sample: Counter[str]) -> float:
    """Pearson's statistic of two samples of words; infinite for one that the reference does not have, be it 0 times."""
    if sample.keys() - reference.keys():
        return math.inf
    share = sample.total() / (reference.total() + sample.total())
    return sum(_cell(known, sample[word], share) for word, known in reference.items())


def _cell(known: int, count: int, share: float) -> float:
    """One word's part of the statistic: both samples miss what is expected by the same."""
    expected = (known + count) * share
    return (count - expected) ** 2 / expected / (1 - share) if expected else 0.0


def words_limit(reference: Counter[str], n: int, alpha: float) -> float:
    """The smallest distance that a sample of *n* from what *reference* came from reaches with a chance of <= *alpha*.

    The tables of chi-square are wrong for so few: each sample that there can be is gone through, with the chance that
    the reference gives it (Dirichlet-multinomial: its shares are themselves an estimate). For a handful of words.
    """
    share = n / (reference.total() + n)
    total = reference.total() + 0.5 * len(reference)
    cells = [[_cell(known, count, share) for count in range(n + 1)] for known in reference.values()]
    logs = [
        [math.lgamma(c + known + 0.5) - math.lgamma(known + 0.5) - math.lgamma(c + 1) for c in range(n + 1)]
        for known in reference.values()
    ]
    samples = [(n, 0.0, math.lgamma(n + 1) + math.lgamma(total) - math.lgamma(n + total))]  # left, distance, log
    for cell, log in zip(cells[:-1], logs[:-1], strict=True):
        samples = [(left - c, d + cell[c], chance + log[c]) for left, d, chance in samples for c in range(left + 1)]
    found = sorted(((d + cells[-1][left], math.exp(p + logs[-1][left])) for left, d, p in samples), reverse=True)
    chance, limit = 0.0, math.inf
    for distance, one in found:
        chance += one
        if chance > alpha:
            break
        limit = distance
    return limit
