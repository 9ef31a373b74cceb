"""A twin keeps its state over restarts and repairs; each planted defect that loses a part of it is told by its code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.states import AFTER, BEFORE, State, differences, read_state, untaken
from harness.target import load_target
from harness.target_state import take_state
from tests.processes import twin, wait_for
from tests.twin.test_kernels_state import kill
from tests.twin.test_wholeness_live import closed, corrupt, cut, drift, path_of

pytestmark = [pytest.mark.slow, pytest.mark.beside, pytest.mark.timeout(120)]
CALM = "resource_pressure_monitor"
TRUST = "trust_scorer.pkl"


def restart_memory(folder: Path) -> None:
    kill(folder, "memory_fusion")


def restart_counted(folder: Path) -> None:
    """Once a snapshot holds the count of what is known: a kernel that begins without one counts anew."""

    def counted() -> bool:
        return bool(json.loads(path_of(folder, "state_snapshot").read_text())["memory_index"]["entries"])

    wait_for(counted, 20, "a snapshot of the index")
    restart_memory(folder)


def restart_governance(folder: Path) -> None:
    kill(folder, "governance")


def _repaired(folder: Path, subject: str) -> None:
    wait_for(lambda: closed(folder, subject), 20, f"the end of the incident about {subject}")


def damage_config(folder: Path) -> None:
    path = path_of(folder, "config")
    data = drift(path)
    _repaired(folder, "config")
    assert path.read_bytes() == data


def damage_snapshot(folder: Path) -> None:
    corrupt(path_of(folder, "state_snapshot"), governance_rules={})
    _repaired(folder, "state_snapshot")


def damage_model(folder: Path) -> None:
    cut(path_of(folder, "models") / TRUST)
    _repaired(folder, TRUST)


# defect → what brings it out, the codes of what is wrong then
LOSES: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "knowledge_gone": (restart_counted, {"knowledge_lost", "count_wrong", "answer_changed"}),
    "knowledge_forgets": (restart_counted, {"knowledge_lost", "count_wrong"}),
    "knowledge_rewritten": (restart_memory, {"knowledge_changed"}),
    "index_not_rebuilt": (restart_memory, {"count_wrong"}),
    "rules_forgotten": (restart_governance, {"answer_changed"}),
    "settings_not_followed": (damage_config, {"answer_changed"}),
    "snapshot_drops_key": (damage_snapshot, {"snapshot_key_changed"}),
    "model_swapped": (damage_model, {"model_changed", "answer_changed"}),
}


def state_of(folder: Path, out: Path, name: str) -> State:
    take_state(load_target(folder / "target.yaml"), out, name)
    torn: list[str] = []
    state = read_state(out, name, torn)
    assert state is not None and not torn
    return state


@pytest.mark.parametrize("defect", LOSES)
def test_a_defect_that_loses_state_is_told_by_its_code(tmp_path: Path, defect: str) -> None:
    strike, codes = LOSES[defect]
    folder, out = tmp_path, tmp_path / "taken"
    out.mkdir()
    with twin(folder, off=CALM, plant=defect):
        before = state_of(folder, out, BEFORE)
        strike(folder)
        after = state_of(folder, out, AFTER)
    assert untaken(before, after) == []
    assert {one.code for one in differences(before, after)} == codes


def test_without_a_defect_the_state_outlasts_all_of_it(tmp_path: Path) -> None:
    folder, out = tmp_path, tmp_path / "taken"
    out.mkdir()
    with twin(folder, off=CALM):
        before = state_of(folder, out, BEFORE)
        files = [path_of(folder, "config"), path_of(folder, "models") / TRUST]
        hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
        for strike in (restart_memory, restart_governance, damage_config, damage_snapshot, damage_model):
            strike(folder)
        after = state_of(folder, out, AFTER)
        assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in files] == hashes
    assert untaken(before, after) == [] and differences(before, after) == []
    for what in ("knowledge", "count", "file", "key", "answer"):
        assert len(before.of(what)) == len(after.of(what)) > 0
