"""Scenario files: YAML → Scenario. Whatever is wrong in one is said with file, line, culprit and nearest word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from harness.catalog import nearest
from harness.classic import CLASSIC, ids_of, is_classic, translated
from harness.limits import Limits
from harness.model import Slo
from harness.yaml_reader import Field, Reader, ReadError, lines_of, read_yaml

FOLDER = Path(__file__).resolve().parents[1] / "scenarios"
ENHANCED = ("multi_fault", "layer2", "layer3", "external", "deep_complexity")
CATEGORIES = (*ENHANCED, *CLASSIC)
ALL = "all"  # of ENHANCED
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
    "stop_when",
    "unsafe",
    "conflicts_with",
    "require",
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
SECONDS_MAX = 86_400.0
IDENTITY = re.compile(r"[A-Za-z0-9][\w.-]{0,79}", re.ASCII)  # a run folder is called after it


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
    bare: bool = False  # a name in a pool and nothing else: the injector's own defaults are meant


@dataclass(frozen=True, kw_only=True)
class Execution:
    """When the faults begin, and which of a pool. Seconds are as written, not scaled."""

    random_selection: int | None = None  # how many of the pool; None: all of it
    shuffle_order: bool = False
    spacing_seconds: float = 0.0  # from the begin of one to the begin of the next
    total_duration: float | None = None  # from the begin of the first; what would last longer is cut
    all_simultaneous: bool = False
    monitor_interval_seconds: float | None = None  # signals are to be sampled at least as often


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A scenario as it is written; words are checked against what exists when it is planned."""

    scenario_id: str
    name: str
    category: str
    severity: int
    description: str
    faults: tuple[FaultEntry, ...]  # of `faults`, or the one of `injection`
    pool: tuple[FaultEntry, ...]  # of `fault_pool`; then `faults` is empty until some are drawn
    execution: Execution
    expected_safeguards: tuple[str, ...]
    expected_playbooks: tuple[str, ...]
    expected_behavior: tuple[str, ...]
    prerequisites: tuple[str, ...]
    verification: tuple[tuple[str, str], ...]  # (text, place)
    max_recovery_time: float
    max_failover_time: float | None
    slo: Slo
    detected_by: Mapping[str, tuple[str, ...]]
    users: int
    path: Path
    stop_when: tuple[tuple[str, str], ...] = ()  # (text, place)
    unsafe: Mapping[str, float] = field(default_factory=dict)  # limit → the value that it is lifted to
    places: Mapping[str, str] = field(default_factory=dict)  # key → "file:line"
    conflicts_with: tuple[str, ...] = ()  # ids of scenarios that may not run at the same time
    require: tuple[str, ...] = ()  # invariants that must be judged on this target


def load_file(path: Path) -> list[Scenario]:
    """The scenarios of a file. Raises ScenarioError with all that is wrong."""
    scenarios, problems = read_file(path)
    if problems:
        raise ScenarioError(problems)
    return scenarios


def read_file(path: Path) -> tuple[list[Scenario], list[str]]:
    """The scenarios of a file as far as they can be read, and all that is wrong with its shape.

    One mapping, a list of them, or a file of the original suite (harness/classic.py).
    """
    label = _label(path)
    reader = Reader(label)
    try:
        root = read_yaml(path, label)
    except ReadError as error:
        return [], [str(error)]
    nodes = reader.items(root, "scenarios") if isinstance(root, yaml.SequenceNode) else [root]
    nodes = translated(reader, root) if is_classic(root) else nodes
    if not nodes and not reader.problems:
        reader.say(root, "a list with at least one scenario is expected")
    scenarios: dict[str, Scenario] = {}
    for node in nodes:
        one = _scenario(reader, node, path)
        if one is None:
            continue
        if one.scenario_id in scenarios:
            first = scenarios[one.scenario_id].places["scenario_id"]
            reader.say(one.places["scenario_id"], f"scenario_id {one.scenario_id!r} stands at {first} too")
        scenarios.setdefault(one.scenario_id or reader.at(node), one)
    return list(scenarios.values()), reader.problems


def _label(path: Path) -> str:
    """The path as a person would say it: from here, or from the project's root."""
    try:
        whole = path.resolve()
        for base in (Path.cwd(), FOLDER.parent):
            if whole.is_relative_to(base):
                return str(whole.relative_to(base))
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that cannot be one: reading it will tell
        pass
    return str(path)


def _scenario(reader: Reader, node: yaml.Node, path: Path) -> Scenario | None:
    """None for what is no mapping; a key that is wrong is said, and has its default here."""
    found = reader.mapping(node, "scenario", KEYS)
    if not isinstance(node, yaml.MappingNode):
        return None
    identity = _identity(reader, found, node)
    faults, pool = _what_is_done(reader, found, node)
    get = _Getter(reader, found)
    return Scenario(
        scenario_id=identity,
        name=get.text("name", identity),
        category=_category(reader, found),
        severity=get.whole("severity", 1, 5, 3),
        description=get.text("description", ""),
        faults=faults,
        pool=pool,
        execution=_execution(reader, found.get("execution"), pool),
        expected_safeguards=get.names("expected_safeguards"),
        expected_playbooks=get.names("expected_playbooks"),
        expected_behavior=get.names("expected_behavior"),
        prerequisites=get.names("prerequisites"),
        verification=get.words("verification"),
        max_recovery_time=get.number("max_recovery_time", 1, 3600, DEFAULT_RECOVERY_S),
        max_failover_time=get.number("max_failover_time", 1, 3600, 1) if "max_failover_time" in found else None,
        slo=_slo(reader, found.get("slo")),
        detected_by=_detected_by(reader, found.get("detected_by")),
        users=get.whole("users", 1, 100_000, DEFAULT_USERS),
        stop_when=get.words("stop_when"),
        unsafe=_unsafe(reader, found.get("unsafe")),
        conflicts_with=get.names("conflicts_with"),
        require=get.names("require"),
        path=path,
        places={"scenario_id": reader.at(node), **lines_of(found, reader.label)},
    )


@dataclass(frozen=True)
class _Getter:
    """The values of a mapping's keys, or what they are when they are left out."""

    reader: Reader
    found: Mapping[str, Field]

    def text(self, key: str, default: str) -> str:
        value = self.reader.text(self.found[key].value, key, default) if key in self.found else default
        return " ".join(value.split())

    def whole(self, key: str, low: int, high: int, default: int) -> int:
        return self.reader.whole(self.found[key].value, key, low, high, default) if key in self.found else default

    def number(self, key: str, low: float, high: float, default: float) -> float:
        return self.reader.number(self.found[key].value, key, low, high, default) if key in self.found else default

    def words(self, key: str) -> tuple[tuple[str, str], ...]:
        return self.reader.words(self.found[key].value, key) if key in self.found else ()

    def names(self, key: str) -> tuple[str, ...]:
        return self.reader.names(self.found[key].value, key) if key in self.found else ()


def _identity(reader: Reader, found: Mapping[str, Field], node: yaml.Node) -> str:
    if "scenario_id" not in found:
        reader.say(node, "scenario_id is missing")
        return ""
    identity = reader.text(found["scenario_id"].value, "scenario_id")
    if identity and not IDENTITY.fullmatch(identity):
        shape = "a letter or digit, then at most 79 letters, digits, '_', '-' or '.'"
        reader.say(found["scenario_id"].value, f"scenario_id: {shape} are expected, not {identity!r}")
        return ""
    return identity


def _category(reader: Reader, found: Mapping[str, Field]) -> str:
    if "category" not in found:
        return CATEGORIES[0]
    node = found["category"].value
    category = reader.text(node, "category")
    if category and category not in CATEGORIES:
        reader.say(node, f"no category is called {category!r}.{nearest(category, CATEGORIES)}")
    return category or CATEGORIES[0]


def _what_is_done(
    reader: Reader, found: Mapping[str, Field], node: yaml.Node
) -> tuple[tuple[FaultEntry, ...], tuple[FaultEntry, ...]]:
    """(faults, pool): exactly one of `faults`, `injection` and `fault_pool` says what is done."""
    ways = [key for key in ("faults", "injection", "fault_pool") if key in found]
    if not ways:
        reader.say(node, "faults, injection or fault_pool is missing: a scenario without a fault shows nothing")
        return (), ()
    for key in ways[1:]:
        reader.say_of(found[key], f"{key}: {ways[0]} stands here too, and one of the two is expected")
    entries: list[FaultEntry | None] = []
    for key in ways:
        value = found[key].value
        if key == "injection":
            entries.append(_entry(reader, value, key, open_keys=True))
            continue
        items = reader.items(value, key)
        if not items and isinstance(value, yaml.SequenceNode):
            reader.say(value, f"{key}: a list with at least one fault is expected")
        for number, item in enumerate(items):
            what = f"{key}[{number}]"
            bare = key == "fault_pool" and isinstance(item, yaml.ScalarNode)
            entries.append(_bare(reader, item, what) if bare else _entry(reader, item, what))
    read = tuple(one for one in entries if one)
    return ((), read) if ways[0] == "fault_pool" else (read, ())


def _bare(reader: Reader, node: yaml.Node, what: str) -> FaultEntry | None:
    name = reader.text(node, what)
    where = f"{reader.at(node)}: {what}"
    return FaultEntry(type=name, target=None, params={}, where=where, bare=True) if name else None


def _entry(reader: Reader, node: yaml.Node, what: str, open_keys: bool = False) -> FaultEntry | None:
    """A fault of {type, target, params}. *open_keys*: keys beside these are params too."""
    parts = reader.mapping(node, what, None if open_keys else ("type", "target", "params"))
    if "type" not in parts:
        if isinstance(node, yaml.MappingNode):
            reader.say(node, f"{what}: type is missing")
        return None
    kind = reader.text(parts["type"].value, f"{what}.type")
    values: dict[str, Any] = {}
    inner = reader.mapping(parts["params"].value, f"{what}.params") if "params" in parts else {}
    beside = {key: one for key, one in parts.items() if key not in ("type", "params")}
    for key, one in (*inner.items(), *beside.items()):
        if key in values:
            reader.say_of(one, f"{what}: {key} stands beside params and in them")
        values[key] = reader.plain(one.value, f"{what}.{key}")
    target = values.pop("target", None)
    written = parts.get("target") or inner.get("target")
    if written is not None:
        target = reader.text(written.value, f"{what}.target") or None
    where = f"{reader.at(node)}: {what}"
    return FaultEntry(type=kind, target=target, params=values, where=where) if kind else None


def _execution(reader: Reader, found: Field | None, pool: tuple[FaultEntry, ...]) -> Execution:
    if found is None:
        return Execution()
    parts = reader.mapping(found.value, "execution", EXECUTION_KEYS)
    values: dict[str, Any] = {}
    for key, one in parts.items():
        what = f"execution.{key}"
        if key in ("shuffle_order", "all_simultaneous"):
            values[key] = reader.flag(one.value, what)
        elif key == "random_selection":
            if pool:
                values[key] = reader.whole(one.value, what, 1, len(pool), len(pool))
            else:
                reader.say_of(one, f"{what}: it draws from fault_pool, and there is none")
        else:
            low = 0.5 if key == "monitor_interval_seconds" else 0  # signals are sampled every 0.5 s
            values[key] = reader.number(one.value, what, low, SECONDS_MAX, low)
    if values.get("all_simultaneous") and values.get("spacing_seconds"):
        reader.say_of(parts["spacing_seconds"], "execution.spacing_seconds: all_simultaneous says that there is none")
    return Execution(**values)


def _detected_by(reader: Reader, found: Field | None) -> dict[str, tuple[str, ...]]:
    if found is None:
        return {}
    parts = reader.mapping(found.value, "detected_by")
    return {key: reader.names(one.value, f"detected_by.{key}") for key, one in parts.items()}


def _unsafe(reader: Reader, found: Field | None) -> dict[str, float]:
    """Limits that the scenario lifts, by name; the journal and the report name each."""
    if found is None:
        return {}
    known = {one.name for one in fields(Limits)}
    parts = reader.mapping(found.value, "unsafe", known)
    return {key: reader.number(one.value, f"unsafe.{key}", 0, 1e9, 0.0) for key, one in parts.items()}


def _slo(reader: Reader, found: Field | None) -> Slo:
    """A scenario may tighten a bound, never loosen it."""
    if found is None:
        return Slo()
    default, known = Slo(), {one.name for one in fields(Slo)}
    values = {}
    for key, one in reader.mapping(found.value, "slo", known).items():
        shipped = getattr(default, key)
        value = reader.number(one.value, f"slo.{key}", 0, 3600, shipped)
        raises = key.endswith("_min") or key in ("baseline_s", "hold_s")
        if value < shipped if raises else value > shipped:
            reader.say_of(one, f"slo.{key}: {value:g} is looser than {shipped:g}; it may only be tightened")
        values[key] = value
    return Slo(**values)


def shipped() -> dict[str, Path]:
    """{scenario id: file} of the enhanced suite that comes with the project."""
    return {path.stem: path for path in sorted((FOLDER / "enhanced").glob("*.yaml"))}


def shipped_classic() -> dict[str, Path]:
    """{scenario id: file} of the original suite, several in a file; one that cannot be read has none."""
    found: dict[str, Path] = {}
    for path in (FOLDER / "classic" / f"{name}.yaml" for name in CLASSIC):
        try:
            found |= dict.fromkeys(ids_of(read_yaml(path, _label(path))), path)
        except ReadError:
            continue
    return found


def names() -> list[str]:
    """All that can be asked for by name."""
    return [*shipped(), *shipped_classic(), *CATEGORIES, ALL]


def files_of(word: str) -> list[Path]:
    """The files in which the scenarios of a category, or of ALL, may stand."""
    return [FOLDER / "classic" / f"{word}.yaml"] if word in CLASSIC else list(shipped().values())


def file_and_id(word: str) -> tuple[Path | None, str]:
    """(the file that a word of `--scenario` names, the scenario in it or ""); None for what is no file.

    FILE#ID is one scenario of a file with several.
    """
    name, _, chosen = word.partition("#")
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name), chosen
    if word in shipped():
        return shipped()[word], ""
    return shipped_classic().get(word), word


def find(spec: str) -> list[Scenario]:
    """The scenarios that `--scenario` names: ids, a category, all, or a file. Raises ScenarioError."""
    found: list[Scenario] = []
    for word in [part.strip() for part in spec.split(",") if part.strip()]:
        path, chosen = file_and_id(word)
        if path is not None:
            read = load_file(path)
            ids = [scenario.scenario_id for scenario in read]
            if chosen and chosen not in ids:
                raise ScenarioError([f"{path}: no scenario in it is called {chosen!r}.{nearest(chosen, ids)}"])
            found += [scenario for scenario in read if chosen in ("", scenario.scenario_id)]
        elif word == ALL or word in CATEGORIES:
            every = [scenario for path in files_of(word) for scenario in load_file(path)]
            found += [scenario for scenario in every if word in (ALL, scenario.category)]
        else:
            choices = nearest(word, names())
            raise ScenarioError([f"no scenario is called {word!r}.{choices}"])
    if not found:
        raise ScenarioError([f"{spec!r} names no scenario.{nearest(spec, names())}"])
    return found
