"""Scenario files: YAML → Scenario. Whatever is wrong in one is said with file, line, culprit and nearest word."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from harness.catalog import nearest
from harness.model import Slo

FOLDER = Path(__file__).resolve().parents[1] / "scenarios"
CATEGORIES = ("multi_fault", "layer2", "layer3", "external", "deep_complexity")
KEYS = (
    "scenario_id",
    "name",
    "category",
    "severity",
    "description",
    "faults",
    "injection",
    "fault_pool",
    "execution",
    "expected_safeguards",
    "expected_playbooks",
    "expected_behavior",
    "prerequisites",
    "verification",
    "max_recovery_time",
    "max_failover_time",
    "slo",
    "detected_by",
    "users",
)
EXECUTION_KEYS = (
    "random_selection",
    "shuffle_order",
    "spacing_seconds",
    "total_duration",
    "all_simultaneous",
    "monitor_interval_seconds",
)
DEFAULT_USERS = 20
DEFAULT_RECOVERY_S = 180.0


class ScenarioError(Exception):
    """Everything that is wrong with a scenario, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class FaultEntry:
    """A fault as it is written, with its place."""

    type: str
    target: str | None
    params: Mapping[str, Any]
    where: str


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A scenario as it is written; words are checked against what exists when it is planned."""

    scenario_id: str
    name: str
    category: str
    severity: int
    description: str
    faults: tuple[FaultEntry, ...]
    execution: Mapping[str, Any]
    expected_safeguards: tuple[str, ...]
    expected_playbooks: tuple[str, ...]
    expected_behavior: tuple[str, ...]
    prerequisites: tuple[str, ...]
    verification: tuple[tuple[str, str], ...]  # (text, place)
    max_recovery_time: float
    slo: Slo
    detected_by: Mapping[str, tuple[str, ...]]
    users: int
    path: Path
    places: Mapping[str, str] = field(default_factory=dict)  # key → "file:line"


class _Reader:
    """Turns a YAML node into plain data, and remembers the line of every key and item."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.problems: list[str] = []
        self.lines: dict[int, Any] = {}

    def at(self, node: yaml.Node) -> str:
        return f"{self.label}:{node.start_mark.line + 1}"

    def say(self, place: str, text: str) -> None:
        self.problems.append(f"{place}: {text}")

    def mapping(self, node: yaml.Node, what: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self.say(self.at(node), f"{what}: a mapping is expected")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in found:
                self.say(self.at(key), f"{what}: {name!r} stands here twice")
            found[name] = value
        return found

    def plain(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.MappingNode):
            return {name: self.plain(value) for name, value in self.mapping(node, "mapping").items()}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item) for item in node.value]
        loader = yaml.SafeLoader("")
        return loader.construct_object(node)

    def words(self, node: yaml.Node | None, what: str) -> tuple[tuple[str, str], ...]:
        """A list of texts, each with its place."""
        if node is None:
            return ()
        if not isinstance(node, yaml.SequenceNode):
            self.say(self.at(node), f"{what}: a list is expected")
            return ()
        found = []
        for number, item in enumerate(node.value):
            value = self.plain(item)
            if isinstance(value, str):
                found.append((value, self.at(item)))
            else:
                self.say(self.at(item), f"{what}[{number}]: a text is expected, not {value!r}")
        return tuple(found)


def load_file(path: Path) -> list[Scenario]:
    """The scenarios of a file (one mapping or a list of them). Raises ScenarioError with all that is wrong."""
    label = _label(path)
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError([f"{label}: cannot be read: {error}"]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{label}:{mark.line + 1}" if mark else label
        raise ScenarioError([f"{place}: this is not YAML: {getattr(error, 'problem', error)}"]) from None
    if root is None:
        raise ScenarioError([f"{label}: is empty"])
    reader = _Reader(label)
    nodes = root.value if isinstance(root, yaml.SequenceNode) else [root]
    scenarios = [_scenario(reader, node, path) for node in nodes]
    if reader.problems:
        raise ScenarioError(reader.problems)
    return [scenario for scenario in scenarios if scenario]


def _label(path: Path) -> str:
    """The path as a person would say it: from here, or from the project's root."""
    for base in (Path.cwd(), FOLDER.parent):
        if path.resolve().is_relative_to(base):
            return str(path.resolve().relative_to(base))
    return str(path)


def _scenario(reader: _Reader, node: yaml.Node, path: Path) -> Scenario | None:
    nodes = reader.mapping(node, "scenario")
    for key, value in nodes.items():
        if key not in KEYS:
            reader.say(reader.at(value), f"no key is called {key!r}.{nearest(key, KEYS)}")
    plain = {key: reader.plain(value) for key, value in nodes.items() if key in KEYS}
    for key in ("injection", "fault_pool"):
        if key in nodes:
            reader.say(reader.at(nodes[key]), f"{key}: this version knows `faults` only")
    identity = plain.get("scenario_id")
    if not isinstance(identity, str) or not identity:
        reader.say(reader.at(node), "scenario_id is missing")
    category = plain.get("category", "multi_fault")
    if category not in CATEGORIES:
        reader.say(
            reader.at(nodes["category"]),
            f"no category is called {category!r}.{nearest(category, CATEGORIES)}",
        )
    before = len(reader.problems)
    severity = _number(reader, nodes, plain, "severity", 1, 5, 3)
    recovery = _number(reader, nodes, plain, "max_recovery_time", 1, 3600, DEFAULT_RECOVERY_S)
    users = _number(reader, nodes, plain, "users", 1, 1000, DEFAULT_USERS)
    execution = _execution(reader, nodes.get("execution"))
    scenario = Scenario(
        scenario_id=str(identity),
        name=str(plain.get("name", identity)),
        category=str(category),
        severity=int(severity),
        description=" ".join(str(plain.get("description", "")).split()),
        faults=_faults(reader, nodes.get("faults"), node),
        execution=execution,
        expected_safeguards=tuple(w for w, _ in reader.words(nodes.get("expected_safeguards"), "expected_safeguards")),
        expected_playbooks=tuple(w for w, _ in reader.words(nodes.get("expected_playbooks"), "expected_playbooks")),
        expected_behavior=tuple(w for w, _ in reader.words(nodes.get("expected_behavior"), "expected_behavior")),
        prerequisites=tuple(w for w, _ in reader.words(nodes.get("prerequisites"), "prerequisites")),
        verification=reader.words(nodes.get("verification"), "verification"),
        max_recovery_time=recovery,
        slo=_slo(reader, nodes.get("slo")),
        detected_by={key: tuple(value) for key, value in (plain.get("detected_by") or {}).items()},
        users=int(users),
        path=path,
        places={key: reader.at(value) for key, value in nodes.items()},
    )
    return scenario if len(reader.problems) == before else None


def _number(
    reader: _Reader,
    nodes: dict[str, yaml.Node],
    plain: dict[str, Any],
    key: str,
    low: float,
    high: float,
    default: float,
) -> float:
    value = plain.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        reader.say(reader.at(nodes[key]), f"{key}: a number from {low:g} to {high:g} is expected, not {value!r}")
        return default
    return value


def _faults(reader: _Reader, node: yaml.Node | None, scenario: yaml.Node) -> tuple[FaultEntry, ...]:
    if node is None:
        reader.say(reader.at(scenario), "faults is missing: a scenario without a fault shows nothing")
        return ()
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        reader.say(reader.at(node), "faults: a list with at least one fault is expected")
        return ()
    entries = []
    for number, item in enumerate(node.value):
        parts = reader.mapping(item, f"faults[{number}]")
        for key, value in parts.items():
            if key not in ("type", "target", "params"):
                known = nearest(key, ("type", "target", "params"))
                reader.say(reader.at(value), f"faults[{number}]: no key is called {key!r}.{known}")
        plain = {key: reader.plain(value) for key, value in parts.items()}
        if not isinstance(plain.get("type"), str):
            reader.say(reader.at(item), f"faults[{number}]: type is missing")
            continue
        params = plain.get("params") or {}
        if not isinstance(params, dict):
            reader.say(reader.at(parts["params"]), f"faults[{number}].params: a mapping is expected")
            continue
        entries.append(
            FaultEntry(
                type=plain["type"],
                target=plain.get("target"),
                params=params,
                where=f"{reader.at(item)}: faults[{number}]",
            )
        )
    return tuple(entries)


def _execution(reader: _Reader, node: yaml.Node | None) -> Mapping[str, Any]:
    if node is None:
        return {}
    parts = reader.mapping(node, "execution")
    for key, value in parts.items():
        if key not in EXECUTION_KEYS:
            reader.say(reader.at(value), f"execution: no key is called {key!r}.{nearest(key, EXECUTION_KEYS)}")
        elif key != "all_simultaneous" and key != "spacing_seconds":
            reader.say(
                reader.at(value),
                f"execution.{key}: this version knows all_simultaneous and spacing_seconds only",
            )
    return {key: reader.plain(value) for key, value in parts.items()}


def _slo(reader: _Reader, node: yaml.Node | None) -> Slo:
    """A scenario may tighten a bound, never loosen it."""
    if node is None:
        return Slo()
    default, known = Slo(), {one.name for one in fields(Slo)}
    values = {}
    for key, item in reader.mapping(node, "slo").items():
        value = reader.plain(item)
        if key not in known:
            reader.say(reader.at(item), f"slo: no bound is called {key!r}.{nearest(key, known)}")
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            reader.say(reader.at(item), f"slo.{key}: a number is expected, not {value!r}")
            continue
        shipped = getattr(default, key)
        raises = key.endswith("_min") or key in ("baseline_s", "hold_s")
        if value < shipped if raises else value > shipped:
            reader.say(reader.at(item), f"slo.{key}: {value!r} is looser than {shipped!r}; it may only be tightened")
        values[key] = float(value)
    return Slo(**values)


def shipped() -> dict[str, Path]:
    """{scenario id: file} of what comes with the project."""
    return {path.stem: path for path in sorted((FOLDER / "enhanced").glob("*.yaml"))}


def find(spec: str) -> list[Scenario]:
    """The scenarios that `--scenario` names: ids, a category, all, or a file. Raises ScenarioError."""
    found: list[Scenario] = []
    for word in [part.strip() for part in spec.split(",") if part.strip()]:
        known = shipped()
        if word in known:
            found += load_file(known[word])
        elif word.endswith((".yaml", ".yml")) or "/" in word:
            found += load_file(Path(word))
        elif word == "all" or word in CATEGORIES:
            every = [scenario for path in known.values() for scenario in load_file(path)]
            found += [scenario for scenario in every if word in ("all", scenario.category)]
        else:
            choices = nearest(word, [*known, *CATEGORIES, "all"])
            raise ScenarioError([f"no scenario is called {word!r}.{choices}"])
    if not found:
        raise ScenarioError([f"{spec!r} names no scenario.{nearest(spec, [*shipped(), *CATEGORIES, 'all'])}"])
    return found
