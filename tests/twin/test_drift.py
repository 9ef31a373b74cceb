"""Whether a model still answers as it did: the tests by which that is told, how often they err, and what follows."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from twin.config import Config, Thresholds
from twin.kernel import Kernel
from twin.models.conversation import PROBES, SAID, Rules, fitted
from twin.playbooks import model_fallback
from twin.rpc import KernelTimeout
from twin.safeguards.drift_detector import Drift, DriftDetector, Output
from twin.two_samples import ks_distance, ks_limit, ks_tail, words_distance, words_limit
from twin.upstream import MODEL
from twin.upstream.watching import SCHEMA, watch

LIMITS = Thresholds()
MODEL_UPSTREAM = fitted()
ANSWERS: dict[str, Output] = {probe: (probe, *MODEL_UPSTREAM.predict(probe)) for probe in PROBES}


def drawn(draw: random.Random, count: int) -> list[str]:
    return [draw.choice(PROBES) for _ in range(count)]


def in_turn(count: int) -> list[str]:
    return [PROBES[n % len(PROBES)] for n in range(count)]


def steady(draw: random.Random, probes: list[str]) -> list[Output]:
    return [ANSWERS[probe] for probe in probes]


def outputs(draw: random.Random, count: int) -> list[Output]:
    """What a model in order answers."""
    return steady(draw, drawn(draw, count))


def fickle(draw: random.Random, probes: list[str]) -> list[Output]:
    """What a model answers that is in order, and not always of the same mind."""
    return [
        (question, draw.choice(list(SAID)) if draw.random() < 0.1 else label, draw.gauss(confidence, 0.05))
        for question, label, confidence in steady(draw, probes)
    ]


def degraded(draw: random.Random, count: int) -> list[Output]:
    labels = list(SAID)
    return [
        (question, draw.choice(labels), max(0.0, confidence - 0.4)) for question, _, confidence in outputs(draw, count)
    ]


def detector(seed: int = 1) -> tuple[DriftDetector, random.Random]:
    draw = random.Random(seed)
    return DriftDetector(LIMITS, steady(draw, in_turn(LIMITS.drift_reference)), draw), draw


def fed(one: DriftDetector, answers: list[Output]) -> list[Drift]:
    return [change for answer in answers if (change := one.take(*answer))]


@pytest.mark.parametrize(("m", "n"), [(3, 2), (4, 4), (5, 3)])
def test_the_distribution_of_the_distance_is_exact(m: int, n: int) -> None:
    """Against all orders that there are, one by one."""
    places = list(itertools.combinations(range(m + n), m))
    for reach in range(1, m * n + 1):
        far = 0
        for place in places:
            one = [float(at) for at in place]
            two = [float(at) for at in range(m + n) if at not in place]
            far += ks_distance(one, two) * m * n >= reach - 1e-9
        assert ks_tail(m, n, reach) == pytest.approx(far / len(places))
    assert ks_tail(240, 25, math.ceil(ks_limit(240, 25, 0.01) * 6000)) <= 0.01 < ks_tail(240, 25, 1500)


def test_words_are_compared_with_the_chance_of_each_sample_that_there_can_be() -> None:
    reference = Counter({"a": 50, "b": 50})
    assert words_distance(reference, Counter({"a": 5, "b": 5})) == 0
    assert words_distance(reference, Counter({"a": 9, "c": 1})) == math.inf
    limit = words_limit(reference, 4, 0.2)  # all four the same: 1/8 and a little, as the shares are an estimate
    assert limit == pytest.approx(words_distance(reference, Counter({"a": 4})))
    assert words_limit(reference, 4, 0.01) == math.inf, "no sample of four is so rare"


def suspected(says: Any, references: int) -> int:
    """How many windows of a model in order are suspected, of 100 for each reference."""
    found = 0
    for seed in range(references):
        draw = random.Random(seed)
        one = DriftDetector(LIMITS, says(draw, in_turn(LIMITS.drift_reference)), draw)
        found += sum(bool(one.trouble(says(draw, drawn(draw, LIMITS.drift_window)))) for _ in range(100))
    return found


def test_the_share_of_windows_that_are_wrongly_suspected_is_what_is_stated() -> None:
    """Of 20,000 windows 20 are stated; three standard deviations are 13."""
    stated = 20_000 * LIMITS.drift_alpha
    assert abs(suspected(fickle, 200) - stated) < 3 * math.sqrt(stated)


def test_and_less_for_a_model_that_always_says_the_same() -> None:
    """It has but so many answers, and its reference holds them all: of 5,000 windows at most 5 are stated."""
    assert suspected(steady, 50) <= 5_000 * LIMITS.drift_alpha


def test_a_model_in_order_is_no_incident() -> None:
    one, draw = detector()
    assert fed(one, outputs(draw, 3600 * 12)) == []


@pytest.mark.parametrize("seed", range(5))
def test_drift_is_seen_and_its_end_is_seen(seed: int) -> None:
    one, draw = detector(seed)
    fed(one, outputs(draw, LIMITS.drift_window))
    size = LIMITS.drift_window
    assert fed(one, degraded(draw, size)) == [], "one window is not enough"
    (change,) = fed(one, degraded(draw, size))
    assert change.engaged and "confidence" in change.reason and "labels" in change.reason
    assert fed(one, degraded(draw, 20 * size)) == [], "it is no second incident"
    assert fed(one, outputs(draw, size)) == []
    (change,) = fed(one, outputs(draw, size))
    assert not change.engaged and "as they were" in change.reason


@pytest.mark.parametrize("what", ["labels", "confidence"])
def test_each_of_the_two_is_enough(what: str) -> None:
    one, draw = detector()
    window = outputs(draw, LIMITS.drift_window)
    if what == "labels":
        changed = [(question, draw.choice(list(SAID)), confidence) for question, _, confidence in window]
    else:
        changed = [(question, label, confidence - 0.4) for question, label, confidence in window]
    assert one.trouble(changed).startswith(what) and ";" not in one.trouble(changed)


def test_what_stands_in_knows_what_the_other_knows_and_says_how_sure_it_is() -> None:
    rules = Rules()
    for label, texts in SAID.items():
        assert {rules.predict(text)[0] for text in texts} == {label}
        assert 0.9 < rules.predict(texts[0])[1] < 1
    agreed = sum(rules.predict(probe)[0] == ANSWERS[probe][1] for probe in PROBES)
    assert agreed >= 0.8 * len(PROBES)
    texts = {text for texts in SAID.values() for text in texts}
    assert len(set(PROBES)) == len(PROBES) and not texts & set(PROBES), "it is asked what it was not fitted to"


class Told:
    """In the place of incidents: what they were told."""

    def __init__(self, *open_already: str) -> None:
        self.open = dict.fromkeys(open_already, "an incident")
        self.told: list[tuple[str, str]] = []

    async def engage(self, subject: str, playbook: str, reason: str, details: dict[str, Any]) -> None:
        self.told.append((subject, playbook))

    def release(self, subject: str, reason: str, details: dict[str, Any]) -> None:
        self.told.append((subject, ""))


async def watched(folder: Path, told: Told, until: int, **answers: int) -> None:
    """watch() with a model that answers so often in each way, until it ends or *until* things were told."""
    quick, draw = Thresholds(drift_probes_per_s=1e6), random.Random(3)
    ways = [way for way, count in answers.items() for _ in range(count)]
    kernel = Kernel.__new__(Kernel)
    kernel.config = Config(dir=folder)
    kernel.config.state_dir.mkdir(exist_ok=True)
    db = kernel.open_db("watched", SCHEMA)
    over = asyncio.Event()

    async def ask(question: str) -> tuple[str, float]:
        if not ways or len(told.told) >= until:
            over.set()
            await asyncio.Event().wait()
        way = ways.pop(0)
        if way == "late":
            raise KernelTimeout(MODEL)
        _, label, confidence = ANSWERS[question]
        return (label, confidence) if way.startswith("well") else (draw.choice(list(SAID)), confidence - 0.4)

    work = asyncio.create_task(watch(quick, db, told, ask))  # type: ignore[arg-type]
    await asyncio.wait_for(over.wait(), 10)
    work.cancel()
    db.close()


def test_a_later_start_compares_with_the_first_and_no_answer_is_no_drift(tmp_path: Path) -> None:
    told = Told()
    asyncio.run(watched(tmp_path, told, 1, well=LIMITS.drift_reference, late=200, well_again=20))
    assert told.told == []
    asyncio.run(watched(tmp_path, told, 1, badly=100))
    assert told.told == [(MODEL, "model_fallback")], "the reference is that of the first start"
    told = Told(MODEL)
    asyncio.run(watched(tmp_path, told, 1, well=200))
    assert told.told == [(MODEL, "")], "an incident that outlived the watcher ends too"


def test_a_playbook_that_changes_nothing_has_failed() -> None:
    class Deaf:
        async def call(self, kernel: str, op: str, payload: dict[str, Any]) -> dict[str, Any]:
            assert (kernel, op, payload["model"]) == ("agentic_spine", "fallback", MODEL)
            return {"model": MODEL}

    with pytest.raises(RuntimeError, match="led by upstream_model"):
        asyncio.run(model_fallback.run(Deaf(), MODEL))  # type: ignore[arg-type]
    assert asyncio.run(model_fallback.undo(Deaf(), MODEL)) == {"model": MODEL}  # type: ignore[arg-type]
