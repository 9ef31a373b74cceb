"""State files of a run for tests: a target's state that is easy to change."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from harness.model import Kind
from tests.drafts import INJECTED, Draft, healthy

Row = dict[str, Any]
OFFERS = ("behaviour", "ledgers.knowledge", "paths.config", "paths.models", "paths.state_snapshot")
MODEL, CONFIG, SNAPSHOT = "/t/models/classifier.pkl", "/t/config/grace.yaml", "/t/snapshots/state.json"


def file(place: str, path: str, sha256: str) -> Row:
    return {"what": "file", "place": place, "path": path, "sha256": sha256, "bytes": 9}


def key(name: str, sha256: str, counts: Any = None) -> Row:
    row = {"what": "key", "place": "state_snapshot", "key": name, "sha256": sha256}
    return {**row, "valid": True, "entries": 2, "counts": counts}


def answer(name: str, **said: Any) -> Row:
    return {"what": "answer", "name": name, "method": "GET", "path": "/", "status": 200, "answer": said}


def state() -> list[Row]:
    return [
        *({"what": "knowledge", "id": f"k{n}", "sha256": f"hash-{n}"} for n in range(4)),
        {"what": "count", "name": "found", "field": "entries", "ledger": "knowledge", "least": 4, "most": 4, "rows": 4},
        file("models", MODEL, "model-1"),
        file("config", CONFIG, "config-1"),
        file("state_snapshot", SNAPSHOT, "snapshot-1"),
        key("memory_index", "index-1", {"entries": 4, "categories.a": 4}),
        key("governance_rules", "rules-1"),
        key("taken_at", "time-1", {"": 100.0}),
        answer("deploy", decision="review", risk=0.61),
        answer("delete", decision="deny", reasons=["risk", {"from": 0.85}]),
    ]


@dataclass
class States:
    """The states before and after; change() and drop() one, then draft()."""

    before: list[Row] = field(default_factory=state)
    after: list[Row] = field(default_factory=state)
    before_ended_s: float = 5.0
    offers: tuple[str, ...] = OFFERS
    run: Draft = field(default_factory=healthy)

    def draft(self) -> Draft:
        """The run with its two state files; without one whose rows are empty."""
        from dataclasses import replace

        self.run.plan = replace(self.run.plan, offers=self.offers)
        self.run.change(Kind.RUN_STARTED, self.run.plan.scenario_id, run_format=2)
        for name, rows, ended_s in (("before", self.before, self.before_ended_s), ("after", self.after, 35.0)):
            if rows:
                head = {"what": "taken", "began_s": ended_s - 0.5, "ended_s": ended_s, "found": {}}
                text = ",\n".join(json.dumps(row) for row in (head, *rows))
                self.run.files[f"state/{name}.json"] = f"[\n{text}\n]\n"
        return self.run

    def damage(self, path: str, ended_by: str) -> None:
        """A fault of the run, the pause, has damaged the file *path* and ended so."""
        self.run.change(Kind.FAULT_INJECTED, "kernel_pause", INJECTED, files=[{"path": path, "sha256": "x"}])
        self.run.change(Kind.FAULT_ENDED, "kernel_pause", ended_by=ended_by)


def row(rows: list[Row], name: str) -> Row:
    """The row whose id, path, key or name is *name*."""
    return next(one for one in rows if name in (one.get("id"), one.get("path"), one.get("key"), one.get("name")))


def copy(rows: list[Row]) -> list[Row]:
    return deepcopy(rows)
