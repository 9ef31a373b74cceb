"""The load as three parts count it: what the users say while they run, and Locust's own statistics at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.gates import RunGates
from harness.model import Kind
from harness.run import Run
from harness.sinks import Activity
from harness.worker import USER_SIGNALS

EVERY_S = 0.5


class UserSignals:
    """Writes what the users of this process say of their requests into signals.csv, twice a second."""

    def __init__(self) -> None:
        self._at_s = 0.0

    def tell(self, run: Run, activity: Activity) -> None:
        now_s = run.clock.now_s()
        if now_s - self._at_s < EVERY_S:
            return
        self._at_s = now_s
        told = activity.told()
        for name in USER_SIGNALS:
            run.signals.write(now_s, f"users_{name}", "", float(told[name]))


def count_load(environment: Any, run: Run, gates: RunGates, users: Mapping[str, Mapping[str, float]]) -> None:
    """Journals Locust's own statistics and each attack's counts, beside our rows, for the check load_accounted.

    *users*: process → what its users last told of their requests.
    """
    entries = sorted(environment.stats.entries.items())
    detail = {
        "locust": {f"{method} {name}": one.num_requests for (name, method), one in entries},
        "reset": bool(getattr(environment, "reset_stats", False)),
        "users": {name: dict(told) for name, told in users.items()},
        "attacks": {step_id: asdict(gates.told(step_id)) for step_id in gates.opened},
    }
    run.journal.append(Kind.LOAD_COUNTED, run.plan.scenario_id, "load", detail)
