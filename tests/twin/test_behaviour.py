"""Each rule and each setting of the platform changes the answer to some question of the manifest's `behaviour`."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml
from faker import Faker

from harness.target_state import without
from twin import snapshots
from twin.behaviour import BEHAVIOUR
from twin.config import Config
from twin.first_start import lay_out
from twin.http.app import CALLS
from twin.kernels.governance import Governance
from twin.kernels.infrastructure_manager import InfrastructureManager
from twin.kernels.memory_fusion import MemoryFusion
from twin.rules import RULES
from twin.settings import RANGES, LiveSettings, Settings
from twin.snapshots import EMPTY_INDEX

DELIVERED = Settings()
DECISIONS = tuple(one["name"] for one in BEHAVIOUR if one["path"] == "/api/governance/check")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each number and text."""
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(one, (*path, key))
    else:
        yield path


def changed_rules(path: tuple[Any, ...]) -> dict[str, Any]:
    rules = copy.deepcopy(RULES)
    holder: Any = rules
    for key in path[:-1]:
        holder = holder[key]
    old = holder[path[-1]]
    holder[path[-1]] = "nothing" if isinstance(old, str) else old + (1 if isinstance(old, int) else 0.01)
    return rules


def changed_settings(name: str) -> Settings:
    """*name* the other way round, or different by a tenth of its range, or half as large."""
    old = getattr(Settings(), name)
    low, high = RANGES.get(name, (0.0, 1.0))
    new = not old if isinstance(old, bool) else old / 2 if high > 1 else old + 0.1 * (high - low)
    return Settings(**{**asdict(Settings()), name: new})


def config_of(folder: Path, rules: dict[str, Any], settings: Settings) -> Config:
    """A platform's folders as its kernels would find them, with these rules and settings."""
    config = Config(dir=folder)
    for one in (config.run_dir, config.state_dir, config.audit_dir, config.log_dir, config.snapshot_dir):
        one.mkdir(parents=True, exist_ok=True)
    lay_out(config)
    snapshots.take(config, {"memory_index": EMPTY_INDEX, "governance_rules": rules})
    sections: dict[str, dict[str, Any]] = {}
    for name, value in asdict(settings).items():
        section, _, rest = name.partition("_")
        sections.setdefault(section, {})[rest] = value
    config.settings_file.write_text(yaml.safe_dump(sections))
    return config


async def _answers(config: Config) -> dict[str, str]:
    governance, memory = Governance(config), MemoryFusion(config)
    await governance.setup()
    await memory.setup()
    machine: Any = object.__new__(InfrastructureManager)  # its safeguards and snapshots are not asked for
    machine.config, machine.settings, machine.taken, machine.why_not = config, LiveSettings(config), {}, ""
    kernels = {
        "governance": governance,
        "memory_fusion": memory,
        "librarian": memory,
        "infrastructure_manager": machine,
    }
    found = {}
    for one in BEHAVIOUR:
        path, _, query = one["path"].partition("?")
        kernel, op = CALLS[(one["method"], path)]
        payload: dict[str, Any] = dict(one.get("body") or parse_qsl(query))
        if "limit" in payload:
            payload["limit"] = int(payload["limit"])
        answer = await kernels[kernel].handle(op, payload)
        shown = without(answer, (*one.get("ignore", ()), *one.get("counts", ())))
        found[one["name"]] = json.dumps(shown, sort_keys=True)
    for task in (*governance._tasks, *memory._tasks):
        task.cancel()
    governance.outbox.db.close()
    memory.db.close()
    return found


def answers(folder: Path, rules: dict[str, Any] = RULES, settings: Settings = DELIVERED) -> dict[str, str]:
    return asyncio.run(_answers(config_of(folder, rules, settings)))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return answers(tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize("path", list(leaves(RULES)), ids=str)
def test_each_rule_changes_an_answer(tmp_path: Path, usual: dict[str, str], path: tuple[Any, ...]) -> None:
    after = answers(tmp_path, rules=changed_rules(path))
    changed = {name for name in usual if usual[name] != after[name]}
    assert "rules" in changed
    assert path == ("version",) or changed & set(DECISIONS), "governance shows it by a decision, not by its word alone"


@pytest.mark.parametrize("name", list(asdict(Settings())))
def test_each_setting_changes_an_answer(tmp_path: Path, usual: dict[str, str], name: str) -> None:
    after = answers(tmp_path, settings=changed_settings(name))
    assert {one for one in usual if usual[one] != after[one]} - {"knowledge is found"}


def test_the_same_rules_and_settings_give_the_same_answers(tmp_path: Path, usual: dict[str, str]) -> None:
    again = answers(tmp_path)
    assert len(usual) == len(BEHAVIOUR) and '"results": [{' in usual["knowledge is found"]
    changed = {name for name in usual if usual[name] != again[name]}
    assert changed == {"knowledge is found"}, "each platform gives its knowledge ids and times of its own"


def test_the_questions_stand_on_both_sides_of_each_threshold(usual: dict[str, str]) -> None:
    found = {name: json.loads(text) for name, text in usual.items() if name in DECISIONS}
    for edge in (RULES["review_from"], Settings().governance_deny_from):
        risks = sorted(one["risk_score"] - edge for one in found.values())
        assert any(-0.002 < one < 0 for one in risks) and any(0 <= one < 0.002 for one in risks)
    assert {one["decision"] for one in found.values()} == {"allow", "review", "deny"}


def test_no_knowledge_of_a_user_changes_what_is_found() -> None:
    (asked,) = (
        dict(parse_qsl(one["path"].partition("?")[2])) for one in BEHAVIOUR if one["name"] == "knowledge is found"
    )
    assert asked["q"] not in {word.lower() for word in Faker().get_words_list()}
