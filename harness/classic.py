"""The original suite's files: each scenario of theirs is put into our words, node by node, with the lines it had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from harness.catalog import nearest
from harness.yaml_reader import TAG, Field, Reader

ROOT_KEY = "scenarios"  # a file of the original suite is a mapping with this key, ours is none or has scenario_id
CLASSIC = ("waves", "layer1")  # the categories of what is shipped; any other text is a word for people
SEVERITIES = {"moderate": 2, "high": 3, "critical": 5}
MULTI = "multi_fault"
SAME = ("description", "prerequisites", "expected_behavior", "slo", "users", "stop_when", "unsafe", "detected_by")
KEYS = ("id", "name", "category", "severity", "injection", "expected_recovery", "verification", "conflicts_with", *SAME)
RECOVERY_KEYS = ("watchdog", "playbook", "max_seconds", "coding_agent_task")
RECOVERY_S_MAX = 3600.0


@dataclass(frozen=True)
class Method:
    """The fault that a method is: its type, their words for its fields, and what is meant without saying so."""

    type: str
    words: Mapping[str, str]
    meant: Mapping[str, str] = field(default_factory=dict)


def _lasting(name: str) -> dict[str, str]:
    return dict.fromkeys(("seconds", "duration", "duration_seconds", name), name)


KERNEL = dict.fromkeys(("kernel", "target", "process"), "target")
COUNT = dict.fromkeys(("messages", "count", "message_count"), "messages")
RATE = dict.fromkeys(("rate", "messages_per_second", "rate_per_second"), "messages_per_second")
DAMAGE = {**_lasting("duration_seconds"), "seed": "seed"}
METHODS: dict[str, Method] = {
    "pause_kernel": Method("kernel_pause", {**KERNEL, **_lasting("pause_seconds"), "mechanism": "mechanism"}),
    "kill_process": Method("kernel_kill", {**KERNEL, "signal": "kill_method", "kill_method": "kill_method"}),
    "flood_topic": Method("topic_flood", {"topic": "topic", **COUNT, **RATE, "actor": "actor"}),
    "acl_spam": Method("acl_spam", {"topic": "topic", **COUNT, **RATE, "actor": "actor"}),
    "cpu_stress": Method(
        "cpu_spike",
        {"percent": "cpu_percent", "cpu_percent": "cpu_percent", "cores": "cores", **_lasting("duration_seconds")},
    ),
    "memory_stress": Method(
        "memory_leak", {**dict.fromkeys(("megabytes", "mb", "size_mb"), "megabytes"), **_lasting("over_seconds")}
    ),
    "corrupt_file": Method(
        "file_corruption",
        {
            **dict.fromkeys(("path", "target"), "target"),
            **dict.fromkeys(("file", "files", "corrupt_files"), "corrupt_files"),
            **dict.fromkeys(("bytes", "corrupt_bytes"), "corrupt_bytes"),
            "corruption_type": "corruption_type",
            **DAMAGE,
        },
        {"corruption_type": "random_bytes"},
    ),
    "modify_config": Method(
        "config_corruption",
        {**dict.fromkeys(("key", "keys"), "corrupt_keys"), **dict.fromkeys(("value", "to"), "corrupt_value"), **DAMAGE},
    ),
    "block_heartbeat": Method("heartbeat_block", {**KERNEL, **_lasting("block_seconds")}),
    "corrupt_log": Method(
        "log_corruption", {**dict.fromkeys(("entries", "corrupt_entries"), "corrupt_entries"), **DAMAGE}
    ),
}
LISTS = ("corrupt_files", "corrupt_keys")  # one alone may be written without brackets
# what a damaged path of the manifest is called when a safeguard of its own looks after it
BY_PATH = {"models": "model_corruption", "state_snapshot": "snapshot_corruption", "config": "config_corruption"}


def is_classic(root: yaml.Node) -> bool:
    pairs = root.value if isinstance(root, yaml.MappingNode) else ()
    return any(isinstance(key, yaml.ScalarNode) and key.value == ROOT_KEY for key, _ in pairs)


def translated(reader: Reader, root: yaml.Node) -> list[yaml.Node]:
    """The file's scenarios as ours are written; what is wrong with them is said in the words that they were in."""
    found = reader.mapping(root, "file", (ROOT_KEY,))
    if ROOT_KEY not in found:
        return []
    nodes = reader.items(found[ROOT_KEY].value, ROOT_KEY)
    ids = {str(value.value) for node in nodes for key, value in _pairs(node) if key.value == "id"}
    return [_scenario(reader, node, ids) for node in nodes]


def ids_of(root: yaml.Node) -> list[str]:
    """The ids in a file of the original suite, in its order."""
    lists = [value.value for key, value in _pairs(root) if key.value == ROOT_KEY]
    return [str(value.value) for nodes in lists for node in nodes for key, value in _pairs(node) if key.value == "id"]


def _pairs(node: yaml.Node) -> Sequence[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else ()


def _scenario(reader: Reader, node: yaml.Node, ids: set[str]) -> yaml.Node:
    if not isinstance(node, yaml.MappingNode):
        return node  # who reads it as ours says what it is
    found = reader.mapping(node, "scenario", KEYS)
    made = _Made()
    made.copy(found, {"id": "scenario_id", "name": "name", **dict.fromkeys(SAME, "")})
    _category(reader, found, node, made)
    _severity(reader, found, made)
    if "injection" in found:
        made.put("faults", found["injection"], _list(_injection(reader, found["injection"].value, "injection"), node))
    if "expected_recovery" in found:
        _recovery(reader, found["expected_recovery"], made)
    if "verification" in found:
        made.put("verification", found["verification"], _verification(reader, found["verification"].value))
    if "conflicts_with" in found:
        names = _several(found["conflicts_with"].value)
        for word, place in reader.words(names, "conflicts_with"):
            if word not in ids:
                reader.say(place, f"conflicts_with: no scenario here is called {word!r}.{nearest(word, ids)}")
        made.put("conflicts_with", found["conflicts_with"], names)
    return yaml.MappingNode(TAG + "map", made.pairs, node.start_mark, node.end_mark)


class _Made:
    """A mapping in the making, each key on the line of the one that it comes from."""

    def __init__(self) -> None:
        self.pairs: list[tuple[yaml.Node, yaml.Node]] = []

    def put(self, key: str, of: Field, value: yaml.Node) -> None:
        mark = yaml.Mark("", 0, of.line - 1, 0, None, 0)
        self.pairs.append((yaml.ScalarNode(TAG + "str", key, mark, mark), value))

    def copy(self, found: Mapping[str, Field], names: Mapping[str, str]) -> None:
        for theirs, ours in names.items():
            if theirs in found:
                self.put(ours or theirs, found[theirs], found[theirs].value)


def _category(reader: Reader, found: Mapping[str, Field], node: yaml.Node, made: _Made) -> None:
    """One of CLASSIC decides in which suite it stands; any other text stays a word for people."""
    if "category" not in found:
        made.put("category", Field(node, node.start_mark.line + 1), _scalar(CLASSIC[1], node))
        return
    value = found["category"].value
    word = reader.text(value, "category")
    made.put("category", found["category"], value if word in CLASSIC else _scalar(CLASSIC[1], value))
    if word and word not in CLASSIC and "description" not in found:
        made.put("description", found["category"], _scalar(f"category {word}", value))


def _severity(reader: Reader, found: Mapping[str, Field], made: _Made) -> None:
    if "severity" not in found:
        return
    value = found["severity"].value
    if not isinstance(value, yaml.ScalarNode) or value.tag != TAG + "str":
        made.put("severity", found["severity"], value)  # a number, or what is refused for not being one
    elif value.value in SEVERITIES:
        made.put("severity", found["severity"], _scalar(str(SEVERITIES[value.value]), value, "int"))
    else:
        known = nearest(value.value, SEVERITIES)
        reader.say(value, f"severity: neither 1 to 5 nor one of theirs: {value.value!r}.{known}")


def _injection(reader: Reader, node: yaml.Node, what: str) -> list[yaml.Node]:
    """The faults that an injection stands for."""
    parts = reader.mapping(node, what, ("method", "params"))
    if "method" not in parts:
        if isinstance(node, yaml.MappingNode):
            reader.say(node, f"{what}: method is missing")
        return []
    method = reader.text(parts["method"].value, f"{what}.method")
    if method == MULTI:
        return _several_faults(reader, parts, node, what)
    if method not in METHODS:
        if method:
            known = nearest(method, (*METHODS, MULTI))
            reader.say(parts["method"].value, f"{what}.method: no method is called {method!r}.{known}")
        return []
    given: dict[str, Field] = {}
    words = METHODS[method].words
    params = reader.mapping(parts["params"].value, f"{what}.params", words) if "params" in parts else {}
    for word, one in params.items():
        if words[word] in given:
            reader.say_of(one, f"{what}.params: {word!r} says again what stands here already")
        given.setdefault(words[word], one)
    return [_fault(METHODS[method], given, node)]


def _several_faults(reader: Reader, parts: Mapping[str, Field], node: yaml.Node, what: str) -> list[yaml.Node]:
    inner = reader.mapping(parts["params"].value, f"{what}.params", ("methods",)) if "params" in parts else {}
    if "methods" not in inner:
        reader.say(node, f"{what}: {MULTI} needs params.methods, a list of {{method, params}}")
        return []
    items = reader.items(inner["methods"].value, f"{what}.params.methods")
    if not items:
        reader.say_of(inner["methods"], f"{what}.params.methods: at least one method is expected")
    places = [f"{what}.params.methods[{number}]" for number in range(len(items))]
    return [fault for item, place in zip(items, places, strict=True) for fault in _injection(reader, item, place)]


def _fault(method: Method, given: Mapping[str, Field], node: yaml.Node) -> yaml.Node:
    """{type, target, params} as our files have it."""
    made, params = _Made(), _Made()
    here = Field(node, node.start_mark.line + 1)
    kind = method.type
    if kind == "file_corruption" and "target" in given and isinstance(given["target"].value, yaml.ScalarNode):
        kind = BY_PATH.get(given["target"].value.value, kind)
    made.put("type", here, _scalar(kind, node))
    for name, one in given.items():
        (made if name == "target" else params).put(name, one, _several(one.value) if name in LISTS else one.value)
    for name, value in method.meant.items():
        if name not in given:
            params.put(name, here, _scalar(value, node))
    made.put("params", here, yaml.MappingNode(TAG + "map", params.pairs, node.start_mark, node.end_mark))
    return yaml.MappingNode(TAG + "map", made.pairs, node.start_mark, node.end_mark)


def _recovery(reader: Reader, found: Field, made: _Made) -> None:
    parts = reader.mapping(found.value, "expected_recovery", RECOVERY_KEYS)
    for theirs, ours in (("watchdog", "expected_safeguards"), ("playbook", "expected_playbooks")):
        if theirs in parts:
            made.put(ours, parts[theirs], _several(parts[theirs].value))
    if "max_seconds" in parts:
        value = parts["max_seconds"].value
        if reader.number(value, "expected_recovery.max_seconds", 1, RECOVERY_S_MAX, 0.0):
            made.put("max_recovery_time", parts["max_seconds"], value)
    if "coding_agent_task" in parts and reader.flag(parts["coding_agent_task"].value, "coding_agent_task"):
        why = "nothing that a target tells shows such a task, so it cannot be judged; only false is known"
        reader.say_of(parts["coding_agent_task"], f"expected_recovery.coding_agent_task: {why}")


def _verification(reader: Reader, node: yaml.Node) -> yaml.Node:
    """One-key mappings `check_x: what` → texts, as they stand in the report."""
    items = reader.items(node, "verification")
    texts: list[yaml.Node] = []
    for number, item in enumerate(items):
        what = f"verification[{number}]"
        if isinstance(item, yaml.ScalarNode):
            texts.append(item)  # one of our own words
            continue
        for name, one in reader.mapping(item, what).items():
            if isinstance(one.value, yaml.ScalarNode):
                texts.append(_scalar(f"{name}: {one.value.value}", one.value))
            else:
                reader.say(one.value, f"{what}.{name}: a text is expected, such as `coding_agent == running`")
    return _list(texts, node)


def _several(node: yaml.Node) -> yaml.Node:
    """A list; what is none is one of a single item."""
    return _list([node], node) if isinstance(node, yaml.ScalarNode) else node


def _list(nodes: list[yaml.Node], at: yaml.Node) -> yaml.Node:
    return yaml.SequenceNode(TAG + "seq", nodes, at.start_mark, at.end_mark)


def _scalar(text: str, at: yaml.Node, kind: str = "str") -> yaml.Node:
    return yaml.ScalarNode(TAG + kind, text, at.start_mark, at.end_mark)
