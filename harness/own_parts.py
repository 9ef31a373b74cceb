"""Parts of a user's own, beside this project: GRACE_PARTS names the folders that hold them.

It is a variable and no option because it must reach every process: Locust, its workers, those of a suite, the guardian,
the helpers of a fault. Nothing is ever loaded from a folder that it does not name.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from harness.catalog import CatalogError, nearest

VARIABLE = "GRACE_PARTS"
# folder → (package, the name at the end of a file, what that must have)
KINDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "faults": (
        "faults",
        "FAULT",
        ("prepare", "inject", "sample", "subject", "asked", "duration_field", "min_duration_s"),
    ),
    "checks": ("harness.checks", "CHECK", ("check",)),
    "observers": ("harness.observers", "OBSERVER", ("every_s", "observe", "close")),
    "reports": ("reports", "REPORTER", ("filename", "render")),
}
NEEDED_FIELDS = {"faults": "target", "checks": "claim"}


def folders() -> list[Path]:
    """What the variable names, several with ':' between them."""
    return [Path(one).resolve() for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]


def extended(path: Iterable[str], kind: str) -> list[str]:
    """The `__path__` of a package of parts, with the user's own folders of that kind behind it."""
    return [*path, *(str(folder / kind) for folder in folders() if (folder / kind).is_dir())]


def own_parts() -> dict[str, str]:
    """{file: its SHA-256} of all that is the user's own; a verdict rests on it as on the rest."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for _, path in _files()}


def names(kind: str) -> set[str]:
    """Stems of the user's own parts of *kind*, a key of KINDS."""
    return {path.stem for one, path in _files() if one == kind}


def before(command: str) -> str:
    """*command* as it must be typed for the same parts to be there."""
    named = os.pathsep.join(map(str, folders()))
    return f"{VARIABLE}={shlex.quote(named)} {command}" if named else command


def check() -> None:
    """Loads every part of the user's own. Raises CatalogError with all that is wrong, a line each."""
    problems = [problem for folder in folders() for problem in _wrong_folder(folder)]
    seen: dict[tuple[str, str], Path] = {}
    for kind, path in _files():
        package = KINDS[kind][0]
        home = Path(next(iter(importlib.import_module(package).__path__))) / path.name
        other = home if home.exists() else seen.get((kind, path.stem))
        if other is not None:
            whose = "comes with this version" if other == home else f"stands in {other.parent.parent}"
            problems.append(f"{path}: a part called {path.stem!r} {whose}: give this one another name")
            continue
        seen[kind, path.stem] = path
        problems += _wrong_file(kind, path)
    if problems:
        raise CatalogError("\n".join(problems))


def _files() -> Iterator[tuple[str, Path]]:
    """(kind, file); one whose name begins with '_' belongs to another and is no part itself."""
    for folder in folders():
        for kind in KINDS:
            yield from ((kind, path) for path in sorted((folder / kind).glob("*.py")) if path.name[0] != "_")


def _wrong_folder(folder: Path) -> list[str]:
    if not folder.is_dir():
        return [f"{VARIABLE}: {folder} is not a folder"]
    if any((folder / kind).is_dir() for kind in KINDS):
        return []
    inside = [one.name for one in folder.iterdir() if one.is_dir()]
    near = nearest(inside[0] if inside else "", KINDS)
    return [f"{VARIABLE}: {folder} has no folder of parts{f', only {inside[0]!r}' if inside else ''}.{near}"]


def _wrong_file(kind: str, path: Path) -> list[str]:
    package, name, needed = KINDS[kind]
    try:
        part: Any = getattr(importlib.import_module(f"{package}.{path.stem}"), name, None)
    except (Exception, SystemExit) as error:  # whatever somebody's file does when it is loaded is said where it stands
        return [f"{path}:{_line_in(path, error)}: cannot be loaded: {type(error).__name__}: {error}"]
    if part is None:
        return [f"{path}: {name} = Class is missing at its end"]
    lacks = [one for one in needed if not hasattr(part, one)]
    field = NEEDED_FIELDS.get(kind)
    if field and not (is_dataclass(part) and field in {one.name for one in fields(part)}):
        lacks.append(f"the field {field!r} of a dataclass")
    length = getattr(part, "duration_field", "") if kind == "faults" else ""
    if length and length not in getattr(part, "__dataclass_fields__", {}):
        lacks.append(f"the field {length!r} that its duration_field names")
    return [f"{path}: {name} lacks {', '.join(lacks)}: see harness/contracts.py"] if lacks else []


def _line_in(path: Path, error: BaseException) -> int:
    """The line of *path* at which it failed."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
