"""Which processes of a pool of workers a fault is aimed at."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from harness.catalog import nearest
from harness.contracts import ProcessId, Target, TargetLacks, WorkerPool


def pool_of(target: Target, name: str) -> WorkerPool:
    """Raises TargetLacks for a target that has no pool of that name."""
    if not target.workers:
        raise TargetLacks("a pool of workers is needed, and the manifest has none")
    if name not in target.workers:
        raise TargetLacks(f"the target has no pool of workers {name!r}.{nearest(name, target.workers)}")
    return target.workers[name]


def chosen(pool: WorkerPool, share_percent: float, seed: int = 0) -> tuple[str, ...]:
    """The names of *share_percent* of the pool, rounded up: the first ones, or with a *seed* any, in their order.

    random() gives the same numbers for a seed on every version of Python, which sample() does not promise.
    """
    names = list(pool.processes)
    count = math.ceil(len(names) * share_percent / 100 - 1e-9)
    if seed:
        generator = random.Random(seed)
        drawn = sorted((generator.random(), at) for at in range(len(names)))[:count]
        return tuple(names[at] for at in sorted(at for _, at in drawn))
    return tuple(names[:count])


def processes_of(target: Target, names: tuple[str, ...]) -> dict[str, ProcessId]:
    """Raises TargetError for a worker that has no process now."""
    return {name: target.process(name) for name in names}


@dataclass(frozen=True, kw_only=True)
class OnPool:
    """What faults of *share_percent* of the pool *target* have in common: the subject is the first of the workers."""

    target: str
    share_percent: float

    def names(self, target: Target) -> tuple[str, ...]:
        return chosen(pool_of(target, self.target), self.share_percent)

    @property
    def subject(self) -> str:
        return self.target

    def subject_on(self, target: Target) -> str:
        return self.names(target)[0]
