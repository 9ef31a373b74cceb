"""Damaged files that were mended: by whom, to what bytes, and whether the target goes by them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.model import Kind, Magnitude, Step, Verdict
from tests.drafts import BASELINE, END, INJECTED, Draft, healthy

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
Change = Callable[[Draft], Any]
MENDED_S, ENDED_S = INJECTED + 1.2, INJECTED + 1.4
FILES = {
    "model_corruption": ("/t/models/a.pkl", "/t/models/b.pkl"),
    "snapshot_corruption": ("/t/state.json",),
    "config_corruption": ("/t/grace.yaml",),
}
PLACES = {"model_corruption": "models", "snapshot_corruption": "state_snapshot", "config_corruption": "config"}
WHOLE = {"memory_index": {"valid": True, "entries": 9}, "governance_rules": {"valid": True, "entries": 4}}
TORN = {**WHOLE, "memory_index": {"valid": False, "entries": 1}}


def story() -> Draft:
    """Three faults damage four files; the target mends each, and answers by its models again."""
    draft = healthy()
    asked = Magnitude(name="corrupted", value=1.0, unit="files", tolerance=0.0)
    about = {"params": {}, "at_s": 0.0, "duration_s": 6.0, "asked_duration_s": 60.0, "asked": asked}
    steps = [Step(step_id=name, type=name, target=PLACES[name], subject=name, **about) for name in FILES]
    draft.plan = replace(draft.plan, steps=(*draft.plan.steps, *steps))
    for name, paths in FILES.items():
        draft.add(BASELINE + 0.02, Kind.FAULT_PLANNED, name, "conductor", type=name)
        told = [{"path": path, "sha256": sha(path), "damaged_sha256": "d" * 64} for path in paths]
        draft.add(INJECTED, Kind.FAULT_INJECTED, name, "conductor", files=told)
        achieved = {"mean": float(len(paths)), "sd": 0.0, "p5": 1.0, "p95": 1.0, "n": 5.0}
        draft.add(INJECTED, Kind.FAULT_ATTAINED, name, "conductor", achieved=len(paths))
        draft.add(ENDED_S, Kind.FAULT_ENDED, name, "conductor", ended_by="target", because="", achieved=achieved)
        for path in paths:
            change(draft, INJECTED - 0.01, path, sha(path), "d" * 64, keys_from=WHOLE, keys=TORN)
            change(draft, MENDED_S, path, "d" * 64, sha(path), keys_from=TORN, keys=WHOLE)
    for half in range(int(END * 2)):
        at_s = half / 2
        same = float(not INJECTED <= at_s <= MENDED_S + 0.3)
        draft.signals += [(at_s, "model_answers_same", name, same) for name in ("a.pkl", "b.pkl")]
    return draft


def sha(path: str) -> str:
    return f"{sum(path.encode()):064x}"


def change(draft: Draft, at_s: float, path: str, old: str, new: str, **keys: Any) -> None:
    detail = {"path": path, "from": old, "sha256": new, "bytes": 9}
    draft.add(at_s, Kind.FILE_CHANGED, path.rpartition("/")[2], "file_hashes", **{**detail, **keys})


def later(path: str, new: str, **keys: Any) -> Change:
    """Once more after all seemed well."""
    return lambda draft: change(draft, END - 4, path, sha(path), new, **keys)


def by_the_plan(name: str) -> Change:
    """The harness had to give it back itself."""
    return lambda draft: draft.change(Kind.FAULT_ENDED, name, ended_by="plan", because="its time is up")


def unseen(name: str) -> Change:
    return lambda draft: draft.drop(Kind.FILE_CHANGED, name)


def another(name: str) -> Change:
    """Who looked at the disk had seen another file than who damaged it."""
    return lambda draft: draft.change(Kind.FILE_CHANGED, name, **{"from": "e" * 64})


def not_there(name: str) -> Change:
    return lambda draft: draft.drop(Kind.FAULT_INJECTED, name)


def answers(value: float, since_s: float) -> Change:
    def act(draft: Draft) -> None:
        draft.signals = [
            (a, n, s, value if (n, s) == ("model_answers_same", "b.pkl") and a >= since_s else v)
            for a, n, s, v in draft.signals
        ]

    return act


def no_answers(draft: Draft) -> None:
    draft.silence("model_answers_same", "a.pkl")


def other_plan(draft: Draft) -> None:
    draft.plan = replace(draft.plan, steps=draft.plan.steps[:3])


def general(draft: Draft) -> None:
    """The same by the fault that damages any file."""
    steps = (replace(s, type="file_corruption") if s.step_id in FILES else s for s in draft.plan.steps)
    draft.plan = replace(draft.plan, steps=tuple(steps))


def same(draft: Draft) -> None:
    """As it goes well."""


def keys(before: Any, after: Any) -> Change:
    """The snapshot before it was damaged, and when it had been regenerated."""

    def act(draft: Draft) -> None:
        draft.drop(Kind.FILE_CHANGED, "state.json")
        path = "/t/state.json"
        change(draft, INJECTED - 0.01, path, sha(path), "d" * 64, keys_from=before, keys=TORN)
        change(draft, MENDED_S, path, "d" * 64, "f" * 64, keys_from=TORN, keys=after)

    return act


FEWER = {**WHOLE, "memory_index": {"valid": True, "entries": 0}}
CASES: list[tuple[str, Change, Verdict, str]] = [
    ("models_restored", same, PASS, "it answers as before"),
    ("models_restored", general, PASS, "byte for byte"),
    ("models_restored", by_the_plan("model_corruption"), FAIL, "a.pkl was not mended by the target in its time"),
    ("models_restored", later("/t/models/b.pkl", "c" * 64), FAIL, "b.pkl is cccccccccccc at the end"),
    ("models_restored", later("/t/models/b.pkl", ""), FAIL, "b.pkl is gone at the end"),
    ("models_restored", answers(0.0, INJECTED), FAIL, "b.pkl is whole on the disk, and the target does not answer"),
    ("models_restored", answers(0.0, END - 2), FAIL, "does not answer by it as before"),
    ("models_restored", no_answers, UNSURE, "nobody asked a.pkl"),
    ("models_restored", unseen("a.pkl"), UNSURE, "nobody saw a.pkl change"),
    ("models_restored", another("a.pkl"), UNSURE, "to the one who damaged it"),
    ("models_restored", not_there("model_corruption"), UNSURE, "it was not injected"),
    ("models_restored", other_plan, UNSURE, "no fault of this plan damages a model"),
    ("config_restored", same, PASS, "byte for byte, 1.2 s after it was damaged"),
    ("config_restored", by_the_plan("config_corruption"), FAIL, "not mended by the target"),
    ("config_restored", later("/t/grace.yaml", "c" * 64), FAIL, "at the end, and was"),
    ("config_restored", unseen("grace.yaml"), UNSURE, "nobody saw grace.yaml change"),
    ("config_restored", other_plan, UNSURE, "no fault of this plan"),
    ("snapshot_regenerated", same, PASS, "all 2 keys fit their checksums 1.2 s after"),
    ("snapshot_regenerated", keys(WHOLE, {**WHOLE, "more": {"valid": True, "entries": 1}}), PASS, "all 2 keys fit"),
    ("snapshot_regenerated", by_the_plan("snapshot_corruption"), FAIL, "not regenerated by the target"),
    ("snapshot_regenerated", keys(WHOLE, TORN), FAIL, "at the end memory_index has no right checksum"),
    ("snapshot_regenerated", keys(WHOLE, {}), FAIL, "it has no keys with checksums"),
    ("snapshot_regenerated", keys(WHOLE, FEWER), FAIL, "at the end memory_index holds less than before"),
    ("snapshot_regenerated", later("/t/state.json", "c" * 64, keys=TORN), FAIL, "memory_index has no right checksum"),
    ("snapshot_regenerated", keys(TORN, WHOLE), UNSURE, "not whole before it was damaged"),
    ("snapshot_regenerated", unseen("state.json"), UNSURE, "nobody saw the snapshot change"),
    ("snapshot_regenerated", not_there("snapshot_corruption"), UNSURE, "it was not injected"),
    ("snapshot_regenerated", other_plan, UNSURE, "no fault of this plan damages a snapshot"),
]


@pytest.mark.parametrize(("check", "change", "expected", "words"), CASES)
def test_check(tmp_path: Path, check: str, change: Change, expected: Verdict, words: str) -> None:
    draft = story()
    change(draft)
    finding = catalog.checks()[check](claim=check).check(draft.record(tmp_path))
    assert (finding.verdict, words in finding.because) == (expected, True), finding
    assert finding.evidence or expected is UNSURE
