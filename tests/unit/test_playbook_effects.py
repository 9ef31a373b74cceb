"""The manifest's playbook_effects are read as written, or refused with the line and the nearest word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.contracts import TargetError
from harness.plan import plan_from_json, plan_to_json
from harness.target import load_target
from tests.drafts import mf01_plan
from tests.fake_target import target, write_manifest

EFFECTS: dict[str, Any] = {"kernel_restart": {"defers": ["intent.deferrable"], "serves_stale": ["GET /work"]}}
WRONG: list[tuple[Any, str]] = [
    ({"kernel_restrt": {}}, "no playbook is called 'kernel_restrt'. Did you mean 'kernel_restart'?"),
    ({"kernel_restart": {"defer": ["intent"]}}, "no key is called 'defer'. Did you mean 'defers'?"),
    ({"kernel_restart": {"defers": ["intents"]}}, "playbook_effects.kernel_restart.defers: 'intents' is not known"),
    ({"kernel_restart": {"refuses": "decision"}}, "playbook_effects.kernel_restart.refuses: a list is expected"),
    ({"kernel_restart": {"cuts_off": "kernel"}}, "playbook_effects.kernel_restart.cuts_off: 'kernel' is not known"),
    ({"kernel_restart": {"serves_stale": ["GET /wrk"]}}, "'GET /wrk' is not known. Did you mean 'GET /work'?"),
    (["kernel_restart"], "playbook_effects: a mapping is expected, not a list"),
]


def test_effects_are_read_as_written(tmp_path: Path) -> None:
    one = target(tmp_path, playbook_effects={**EFFECTS})
    assert one.playbook_effects == {
        "kernel_restart": {"defers": ("intent.deferrable",), "serves_stale": ("GET /work",)}
    }
    assert "playbook_effects.kernel_restart" in one.offers
    assert target(tmp_path, playbook_effects={"kernel_restart": {"cuts_off": "actor"}}).playbook_effects == {
        "kernel_restart": {"cuts_off": ("actor",)}
    }


def test_a_manifest_without_effects_has_none(tmp_path: Path) -> None:
    one = target(tmp_path)
    assert one.playbook_effects == {} and not [key for key in one.offers if key.startswith("playbook_effects")]


@pytest.mark.parametrize(("effects", "words"), WRONG)
def test_an_unknown_effect_is_refused_with_its_line(tmp_path: Path, effects: Any, words: str) -> None:
    path = write_manifest(tmp_path, playbook_effects=effects)
    with pytest.raises(TargetError) as caught:
        load_target(path)
    said = str(caught.value)
    assert words in said
    line = int(said.removeprefix(f"{path}:").partition(":")[0])
    first = next(n for n, row in enumerate(path.read_text().splitlines(), 1) if row.startswith("playbook_effects"))
    assert line >= first


def test_a_plan_keeps_effects_and_witnesses(tmp_path: Path) -> None:
    plan = mf01_plan()
    assert plan.alarms["resource_pressure_monitor"]["cpu"]["signal"] == "cpu_percent"
    again = plan_from_json(plan_to_json(plan))
    assert again == plan and plan_from_json(plan_to_json(again)).effects == plan.effects
