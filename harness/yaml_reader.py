"""YAML that a person wrote: nodes with their lines, every trap of the format said in words, never a traceback."""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.catalog import nearest

BYTES_MAX = 1 << 20
DEPTH_MAX = 40
NODES_MAX = 20_000  # aliases counted each time they are used: a few lines of them can stand for millions
TAG = "tag:yaml.org,2002:"
WORDS = {"str": "a text", "int": "a number", "float": "a number", "bool": "true or false", "null": "nothing"}
UNCLEAN = object()
IN_DISGUISE = re.compile(r"[-+]?(0[0-9_]|[0-9_]+:)")  # 010 is eight, 1:30 is ninety
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class ReadError(Exception):
    """A file that cannot be read as YAML; the text says where and why, on one line."""


def read_yaml(path: Path, label: str) -> yaml.Node:
    """The root node of the one document in *path*. Raises ReadError."""
    text = _text(path, label)
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except _TooMuch as error:
        raise ReadError(f"{label}:{error.line}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark else _line_of(text, getattr(error, "position", 0))
        why = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise ReadError(f"{label}:{line}: this is not YAML: {' '.join(str(why).split())}") from None
    except (ValueError, OverflowError, RecursionError) as error:  # an escape or a version that is no number
        line = loader.line + 1 if loader else 1
        raise ReadError(f"{label}:{line}: this is not YAML: {type(error).__name__}") from None
    if root is None:
        raise ReadError(f"{label}:1: is empty")
    return root


def _text(path: Path, label: str) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ReadError(f"{label}: is not a file")
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise ReadError(f"{label}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > BYTES_MAX:
        raise ReadError(f"{label}: has more than {BYTES_MAX} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"byte {error.start} is {content[error.start]:#04x}"
        raise ReadError(f"{label}:{line}: is not text in UTF-8: {what}") from None


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


class _TooMuch(Exception):
    def __init__(self, mark: Any, text: str) -> None:
        super().__init__(text)
        self.line = mark.line + 1


class _Loader(yaml.SafeLoader):
    """Composes nodes only; refuses depth, endless loops and multiplied aliases while it does."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[str | None] = []  # the anchors of the nodes that are being composed
        self._sizes: dict[int, int] = {}  # id of a node → how many nodes it stands for, aliases and all

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) and event.anchor in self._open:
            raise _TooMuch(event.start_mark, f"alias *{event.anchor} stands inside what it names: this never ends")
        if len(self._open) >= DEPTH_MAX:
            raise _TooMuch(event.start_mark, f"is nested more than {DEPTH_MAX} deep")
        self._open.append(None if isinstance(event, yaml.AliasEvent) else event.anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        if id(node) not in self._sizes:
            self._sizes[id(node)] = 1 + sum(self._sizes.get(id(one), 1) for one in _children(node))
        if self._sizes[id(node)] > NODES_MAX:
            raise _TooMuch(event.start_mark, f"stands for more than {NODES_MAX} values")
        return node


def _children(node: Any) -> Iterator[Any]:
    for one in node.value if isinstance(node, yaml.CollectionNode) else ():
        yield from one if isinstance(one, tuple) else (one,)


@dataclass(frozen=True)
class Field:
    """A value of a mapping, and the line of its key."""

    value: yaml.Node
    line: int


class Reader:
    """Turns nodes into plain data; collects all that is wrong, each with "FILE:LINE: "."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.problems: list[str] = []

    def at(self, node: yaml.Node) -> str:
        return f"{self.label}:{node.start_mark.line + 1}"

    def say(self, place: str | yaml.Node, text: str) -> None:
        problem = f"{place if isinstance(place, str) else self.at(place)}: {text}"
        if problem not in self.problems:  # what an alias names is read as often as it is used
            self.problems.append(problem)

    def say_of(self, field: Field, text: str) -> None:
        self.say(f"{self.label}:{field.line}", text)

    def mapping(self, node: yaml.Node, what: str, known: Collection[str] | None = None) -> dict[str, Field]:
        """{key: field}, merge keys resolved. Keys that are not *known* (None: any) are said and left out."""
        if not isinstance(node, yaml.MappingNode) or node.tag != TAG + "map":
            self.say(node, f"{what}: a mapping is expected, not {self._kind(node)}")
            return {}
        found: dict[str, Field] = {}
        merged: dict[str, Field] = {}
        for key, value in node.value:
            if key.tag == TAG + "merge":
                merged = {**self._merged(value, what, known), **merged}
            elif key.tag != TAG + "str":
                self.say(key, f"{what}: a key must be a text, not {self._shown(key)}")
            elif key.value in found:
                self.say(key, f"{what}: {key.value!r} stands here twice")
            elif known is not None and key.value not in known:
                self.say(key, f"{what}: no key is called {key.value!r}.{nearest(key.value, known)}")
            else:
                found[key.value] = Field(value, key.start_mark.line + 1)
        return {**merged, **found}

    def _merged(self, node: yaml.Node, what: str, known: Collection[str] | None) -> dict[str, Field]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, Field] = {}
        for one in nodes:
            found = {**self.mapping(one, f"{what}: <<", known), **found}
        return found

    def items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
            return list(node.value)
        self.say(node, f"{what}: a list is expected, not {self._kind(node)}")
        return []

    def plain(self, node: yaml.Node, what: str) -> Any:
        """Text, numbers, true, false, None, lists and mappings of them; anything else is said, and None."""
        if isinstance(node, yaml.MappingNode):
            return {key: self.plain(one.value, f"{what}.{key}") for key, one in self.mapping(node, what).items()}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(one, f"{what}[{number}]") for number, one in enumerate(self.items(node, what))]
        name = node.tag.removeprefix(TAG)
        if name == "timestamp":
            self.say(node, f"{what}: {node.value!r} is read as a date, and none is expected: put it in quotes")
        elif name not in WORDS:
            self.say(node, f"{what}: the tag {_tag(node)} is not known here")
        elif name == "str":
            if any("\ud800" <= one <= "\udfff" for one in node.value):
                self.say(node, f"{what}: {node.value!r} is not text: a half of a character stands alone")
                return None
            return node.value
        else:
            return self._scalar(node, what)
        return None

    def _scalar(self, node: yaml.Node, what: str) -> Any:
        loader = yaml.SafeLoader("")
        try:
            value = loader.construct_object(node)
        except (ValueError, KeyError, IndexError, OverflowError, yaml.YAMLError):
            self.say(node, f"{what}: {node.value[:40]!r} is not {WORDS[node.tag.removeprefix(TAG)]}")
            return None
        if isinstance(value, int | float) and IN_DISGUISE.match(node.value):
            self.say(node, f"{what}: {node.value[:40]!r} is read as {value:g}: write that, or put it in quotes")
            return None
        return value

    def _clean(self, node: yaml.Node, what: str) -> Any:
        """The plain value, or UNCLEAN when something is wrong with it that has been said."""
        before = len(self.problems)
        value = self.plain(node, what)
        return value if len(self.problems) == before else UNCLEAN

    def text(self, node: yaml.Node, what: str, default: str = "") -> str:
        """A text that is not empty and holds nothing that a terminal would obey."""
        value = self._clean(node, what)
        if value is UNCLEAN:
            return default
        if not isinstance(value, str) or not value.strip():
            self.say(node, f"{what}: a text is expected, not {self._shown(node)}")
        elif UNPRINTABLE.search(value):
            self.say(node, f"{what}: {value[:60]!r} holds a control character")
        else:
            return value
        return default

    def words(self, node: yaml.Node, what: str) -> tuple[tuple[str, str], ...]:
        """A list of texts, each with its place."""
        found = []
        for number, item in enumerate(self.items(node, what)):
            value = self.text(item, f"{what}[{number}]")
            if value:
                found.append((value, self.at(item)))
        return tuple(found)

    def names(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        """A list of texts without their places; one that stands there twice is said."""
        found: list[str] = []
        for word, place in self.words(node, what):
            if word in found:
                self.say(place, f"{what}: {word!r} stands here twice")
            else:
                found.append(word)
        return tuple(found)

    def flag(self, node: yaml.Node, what: str) -> bool:
        value = self._clean(node, what)
        if not isinstance(value, bool) and value is not UNCLEAN:
            self.say(node, f"{what}: true or false is expected, not {self._shown(node)}")
        return value is True

    def number(self, node: yaml.Node, what: str, low: float, high: float, default: float) -> float:
        """A finite number from *low* to *high*; *default* when it is none."""
        value = self._clean(node, what)
        if value is UNCLEAN:
            return default
        good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if not good or not math.isfinite(value):
            self.say(node, f"{what}: a number from {low:g} to {high:g} is expected, not {self._shown(node)}")
            return default
        return float(value)

    def whole(self, node: yaml.Node, what: str, low: int, high: int, default: int) -> int:
        value = self._clean(node, what)
        if value is UNCLEAN:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.say(node, f"{what}: a whole number from {low} to {high} is expected, not {self._shown(node)}")
            return default
        return value

    def _kind(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode):
            return self._shown(node)
        kind = "a mapping" if isinstance(node, yaml.MappingNode) else "a list"
        return kind if node.tag in (TAG + "map", TAG + "seq") else f"one with the tag {_tag(node)}"

    def _shown(self, node: yaml.Node) -> str:
        """The culprit as it is written, short."""
        if not isinstance(node, yaml.ScalarNode):
            return self._kind(node)
        if node.tag == TAG + "null":
            return "nothing"
        return repr(node.value[:60]) if node.tag == TAG + "str" else ascii(node.value[:60]).strip("'\"")


def _tag(node: yaml.Node) -> str:
    return repr("!!" + node.tag.removeprefix(TAG) if node.tag.startswith(TAG) else node.tag)


def lines_of(fields: Mapping[str, Field], label: str) -> dict[str, str]:
    """{key: "file:line"}."""
    return {key: f"{label}:{one.line}" for key, one in fields.items()}
