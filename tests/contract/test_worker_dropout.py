"""worker_dropout: half of a pool's processes end at once, those very ones, and the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.helpers.pools import chosen
from faults.worker_dropout import WorkerDropout
from harness.catalog import CatalogError, build_fault
from harness.contracts import Hands, TargetError, TargetLacks, WorkerPool
from harness.process import same
from harness.undo import heal
from tests.contract.victims import Pool
from tests.processes import wait_for

NO_HANDS: Hands = None  # type: ignore[assignment]
NAMES = ("crew_1", "crew_2", "crew_3")


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    one = Pool(tmp_path, names=NAMES)
    yield one
    one.close()


def test_half_die_and_the_rest_goes_on(pool: Pool) -> None:
    fault = WorkerDropout(target="crew")
    before = {name: pool.process(name) for name in NAMES}
    undo = fault.prepare(pool)  # type: ignore[arg-type]
    assert [one["pid"] for one in undo.primitives] == [before[name].pid for name in NAMES[:2]], "rounded up"
    assert all(map(same, before.values())) and all(one["verified"] for one in heal(undo)), "prepare touches nothing"
    effect = fault.inject(pool, undo, NO_HANDS)  # type: ignore[arg-type]
    assert effect.facts["workers"] == ["crew_1", "crew_2"]
    wait_for(lambda: fault.sample(pool, undo, effect, NO_HANDS).achieved == pytest.approx(200 / 3), 2)  # type: ignore[arg-type]
    assert [pool.children[name].wait(2) for name in NAMES[:2]] == [-9, -9] and same(before["crew_3"])
    assert fault.sample(pool, undo, effect, NO_HANDS).achieved >= fault.asked.floor  # type: ignore[arg-type,operator]
    pool.goes_on("crew_3")
    pool.start("crew_1")
    for _ in range(2):
        assert all(one["verified"] for one in heal(undo))
    assert fault.sample(pool, undo, effect, NO_HANDS).achieved == pytest.approx(200 / 3)  # type: ignore[arg-type]
    pool.goes_on("crew_1")


def test_a_successor_is_not_killed_and_a_missing_worker_is_said(pool: Pool) -> None:
    fault = WorkerDropout(target="crew")
    undo = fault.prepare(pool)  # type: ignore[arg-type]
    pool.children["crew_1"].kill()
    pool.children["crew_1"].wait()
    with pytest.raises(TargetError, match="no process crew_1"):
        fault.prepare(pool)  # type: ignore[arg-type]
    pool.start("crew_1")
    with pytest.raises(TargetError, match="crew_1: gone before the SIGKILL came"):
        fault.inject(pool, undo, NO_HANDS)  # type: ignore[arg-type]
    pool.goes_on("crew_1")
    with pytest.raises(TargetLacks, match="no pool of workers 'htm'"):
        WorkerDropout(target="htm").prepare(pool)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "share", "count"), [(2, 50, 1), (3, 50, 2), (3, 100, 3), (3, 1, 1), (10, 30, 3), (100, 7, 7)]
)
def test_the_share_is_rounded_up_and_no_further(size: int, share: float, count: int) -> None:
    crew = WorkerPool(processes={f"w{number}": {} for number in range(size)}, function="a:b")
    assert len(chosen(crew, share)) == count == len(chosen(crew, share, seed=5))


def test_a_seed_draws_and_says_the_same_again() -> None:
    crew = WorkerPool(processes={f"w{number}": {} for number in range(6)}, function="a:b")
    drawn = {chosen(crew, 50, seed) for seed in range(1, 30)}
    assert len(drawn) > 5 and chosen(crew, 50, 3) == chosen(crew, 50, 3)
    assert chosen(crew, 50) == ("w0", "w1", "w2")
    assert all(sorted(names) == list(names) for names in drawn)


def test_the_subject_is_the_first_of_them(pool: Pool) -> None:
    fault = WorkerDropout(target="crew", seed=4)
    assert fault.subject_on(pool) == chosen(pool.workers["crew"], 50, 4)[0]  # type: ignore[arg-type]
    assert replace(fault, seed=0).subject_on(pool) == "crew_1"  # type: ignore[arg-type]
    with pytest.raises(CatalogError, match=r"seed: a whole number is expected, not 1\.5"):
        build_fault("worker_dropout", {"target": "crew", "seed": 1.5})
