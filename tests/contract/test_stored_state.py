"""model_corruption, snapshot_corruption and config_corruption: on paper, on files, and on a living twin."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.catalog import CatalogError, build_fault
from harness.contracts import TargetLacks
from harness.guardian_link import GuardianLink
from harness.model import Hold
from harness.target import ManifestTarget, load_target
from tests.fake_target import target as paper
from tests.processes import twin, wait_for

MODELS = ("classifier_model.pkl", "trust_scorer.pkl")
KEYS = ("memory_index", "governance_rules")
TYPES: dict[str, dict[str, Any]] = {
    "model_corruption": {"corrupt_files": MODELS},
    "snapshot_corruption": {"corrupt_keys": KEYS},
    "config_corruption": {"corrupt_keys": ["governance.approval_required"], "corrupt_value": False},
}
GUARDS = "model_integrity_check,snapshot_hygiene_manager,config_drift_guard"


@pytest.mark.parametrize(
    ("type", "values", "subject", "asked", "kind"),
    [
        ("model_corruption", TYPES["model_corruption"], "classifier_model.pkl", 2.0, "truncate"),
        ("model_corruption", {"corrupt_files": ["a"], "corruption_type": "bit_flip"}, "a", 1.0, "bit_flip"),
        ("snapshot_corruption", TYPES["snapshot_corruption"], "state_snapshot", 1.0, "key_overwrite"),
        ("config_corruption", TYPES["config_corruption"], "config", 1.0, "key_overwrite"),
        ("config_corruption", {}, "config", 1.0, "truncate"),
    ],
)
def test_what_each_means_by_itself(type: str, values: dict[str, Any], subject: str, asked: float, kind: str) -> None:
    fault = build_fault(type, values)
    assert (fault.subject, fault.asked.value, fault.corruption_type) == (subject, asked, kind)


@pytest.mark.parametrize(
    ("type", "values", "words"),
    [
        ("model_corruption", {"corruption_type": "shred"}, "none is called 'shred'"),
        ("model_corruption", {"corrupt_file": ["a"]}, "no parameter 'corrupt_file'. Did you mean 'corrupt_files'"),
        ("snapshot_corruption", {}, "key_overwrite needs them"),
        ("snapshot_corruption", {"corrupt_keys": "memory_index"}, "a list of names is expected"),
        ("config_corruption", {"corrupt_keys": ["a"], "corruption_type": "truncate"}, "nothing else takes them"),
    ],
)
def test_what_cannot_be_is_refused_in_words(type: str, values: dict[str, Any], words: str) -> None:
    with pytest.raises(CatalogError) as caught:
        build_fault(type, values)
    assert words in str(caught.value)


@pytest.mark.parametrize("type", TYPES)
def test_a_target_without_such_files_lacks_them(tmp_path: Path, type: str) -> None:
    where = paper(tmp_path, paths={"root": str(tmp_path), "modelz": str(tmp_path)})
    with pytest.raises(TargetLacks, match="the target has no path"):
        build_fault(type, TYPES[type]).prepare(where)


@pytest.fixture
def guardian(tmp_path: Path) -> Iterator[GuardianLink]:
    (tmp_path / "run").mkdir()
    one = GuardianLink(tmp_path / "run", f"stored-{os.getpid()}-{tmp_path.name}")
    yield one
    one.close()


class Hurt:
    """One fault in force on a living twin."""

    def __init__(self, home: Path, guardian: GuardianLink, type: str) -> None:
        self.target: ManifestTarget = load_target(home / "target.yaml")
        snapshot = self.target.paths["state_snapshot"]  # the one of a platform that has begun is taken soon
        wait_for(lambda: json.loads(snapshot.read_bytes())["memory_index"]["entries"], 5.0)
        self.guardian, self.fault = guardian, build_fault(type, TYPES[type])
        self.undo = guardian.arm("f", self.fault.prepare(self.target), 60)
        self.before = {one["path"]: Path(one["path"]).read_bytes() for one in self.undo.primitives if "path" in one}
        self.effect = self.fault.inject(self.target, self.undo, guardian.hands("f"))
        guardian.active("f")
        self.damaged = self.now()

    def now(self) -> dict[str, bytes]:
        return {path: Path(path).read_bytes() for path in self.before}

    def sample(self) -> Any:
        return self.fault.sample(self.target, self.undo, self.effect, self.guardian.hands("f"))


@pytest.mark.slow
@pytest.mark.parametrize("type", TYPES)
def test_without_the_safeguard_it_holds_and_is_given_back_twice(
    tmp_path: Path, guardian: GuardianLink, type: str
) -> None:
    with twin(tmp_path / "home", off=GUARDS):
        hurt = Hurt(tmp_path / "home", guardian, type)
        assert all(hurt.damaged[path] != data for path, data in hurt.before.items())
        assert (hurt.sample().achieved, hurt.sample().hold) == (hurt.fault.asked.value, Hold.HOLDS)
        for _ in range(2):
            assert all(one["verified"] for one in guardian.heal("f"))
            assert hurt.now() == hurt.before
        assert hurt.sample().hold is Hold.LOST, "the harness's own doing is no witness for the target"


@pytest.mark.slow
@pytest.mark.parametrize("type", TYPES)
def test_with_it_the_target_ends_the_fault_and_what_it_made_stays(
    tmp_path: Path, guardian: GuardianLink, type: str
) -> None:
    with twin(tmp_path / "home"):
        hurt = Hurt(tmp_path / "home", guardian, type)
        assert hurt.sample().achieved == hurt.fault.asked.value, "two looks agree first: the fault is seen in force"
        ended = wait_for(lambda: (one := hurt.sample()).hold is Hold.TARGET and one, 10.0, "the target's own mending")
        made = hurt.now()
        if type == "snapshot_corruption":
            old, new = (json.loads(next(iter(one.values()))) for one in (hurt.before, made))
            assert {key: old[key] for key in KEYS} == {key: new[key] for key in KEYS}
            assert "in which the damage is not found" in ended.because
        else:
            assert made == hurt.before and ended.because.count("byte for byte what it was") == len(made)
        results = guardian.heal("f")
        assert all(one["verified"] for one in results) and hurt.now() == made
        assert "restored" not in {one["did"] for one in results}, "nothing is left to give back"


@pytest.mark.slow
def test_a_drifted_setting_is_the_one_that_was_asked_for(tmp_path: Path, guardian: GuardianLink) -> None:
    with twin(tmp_path / "home", off=GUARDS):
        hurt = Hurt(tmp_path / "home", guardian, "config_corruption")
        (old,), (new,) = (list(map(yaml.safe_load, one.values())) for one in (hurt.before, hurt.damaged))
        assert old["governance"].pop("approval_required") is True
        assert new["governance"].pop("approval_required") is False and old == new
