"""The files that a target lives by, as they are on the disk: an edge whenever one of them holds other bytes."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from harness.contracts import Target, View
from harness.model import Kind, Reading

WATCHED = ("models", "state_snapshot", "config")  # names of the manifest's paths: files, or folders of files
FILES_MAX = 100
FILE_BYTES_MAX = 16 << 20
SETTINGS_BYTES_MAX = 64 << 10
SEALS = "checksums"
COUNT_EVERY_S = 1.0
Seen = tuple[int, int, int, int]


@dataclass(frozen=True)
class Known:
    """A file at the last look; sha256 "" is one that is not there, or is no plain file."""

    seen: Seen
    sha256: str
    size_bytes: int
    keys: Mapping[str, Any]  # of a sealed document: key → {valid, entries}
    values: Mapping[str, Any] | None = None  # of settings: SECTION.NAME → what it says


GONE = Known((0, 0, 0, 0), "", 0, {})


class FileHashes:
    """Looks at dates and sizes, and reads a file when they have changed. Subject is the file's or the path's name.

    files_seen is how many of them are there, once a second.
    """

    every_s: ClassVar[float] = 0.1

    def __init__(self, target: Target) -> None:
        self.paths = {name: target.paths[name] for name in WATCHED if name in target.paths}
        self.known: dict[Path, tuple[str, Known]] | None = None
        self.counted_s = -COUNT_EVERY_S

    @staticmethod
    def missing(target: Target) -> str:
        """What the manifest lacks for this observer; "" for nothing."""
        return "" if any(name in target.paths for name in WATCHED) else f"paths.{WATCHED[0]}"

    def observe(self, view: View) -> Iterable[Reading]:
        before, first = self.known or {}, self.known is None
        now = dict.fromkeys(before, ("", GONE)) | dict(self._look(before))
        at_s = view.now_s()
        self.known = {path: (name or before[path][0], one) for path, (name, one) in now.items()}
        if at_s - self.counted_s >= COUNT_EVERY_S:
            self.counted_s = at_s
            there = sum(bool(one.sha256) for _, one in self.known.values())
            yield Reading(at_s=at_s, name="files_seen", value=float(there))
        for path, (subject, one) in self.known.items() if not first else ():
            old = before.get(path, (subject, GONE))[1]
            if one.sha256 != old.sha256:
                detail = {
                    "path": str(path),
                    "from": old.sha256,
                    "sha256": one.sha256,
                    "bytes": one.size_bytes,
                    **({"keys_from": old.keys, "keys": one.keys} if one.keys or old.keys else {}),
                    **({} if one.values is None else {"values": one.values}),
                }
                yield Reading(at_s=at_s, name="file_hashes", subject=subject, kind=Kind.FILE_CHANGED, detail=detail)

    def _look(self, before: Mapping[Path, tuple[str, Known]]) -> Iterable[tuple[Path, tuple[str, Known]]]:
        for name, base in self.paths.items():
            folder = base.is_dir()
            files = sorted(base.iterdir())[:FILES_MAX] if folder else [base]
            for path in files:
                if folder and path.name.startswith("."):
                    continue  # somebody's file in the making
                subject = path.name if folder else name
                yield path, (subject, _known(path, before.get(path, (subject, GONE))[1]))

    def close(self) -> None:
        pass


def _known(path: Path, before: Known) -> Known:
    try:
        about = path.lstat()
    except OSError:
        return GONE
    if not stat.S_ISREG(about.st_mode) or about.st_size > FILE_BYTES_MAX:
        return GONE
    seen = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if seen == before.seen:
        return before
    try:
        data = path.read_bytes()
    except OSError:
        return GONE
    values = settings(data) if path.suffix in (".yaml", ".yml") else None
    return Known(seen, hashlib.sha256(data).hexdigest(), len(data), sealed_keys(data), values)


def settings(data: bytes) -> dict[str, Any]:
    """What a file of settings says, each scalar under its dotted name; {} of what cannot be read."""
    try:
        document = yaml.safe_load(data) if len(data) <= SETTINGS_BYTES_MAX else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return dict(_flat(document)) if isinstance(document, dict) else {}


def _flat(document: Mapping[Any, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, str | int | float | bool | None):
            yield f"{before}{name}", value


def sealed_keys(data: bytes) -> dict[str, Any]:
    """Of a JSON object that holds its keys' checksums under `checksums`: what each key is worth; {} of anything else.

    A checksum is the SHA-256 of the value as JSON with sorted keys and without blanks. A key that has a checksum
    and is not there is not valid.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    seals = document.get(SEALS) if isinstance(document, dict) else None
    if not isinstance(seals, dict):
        return {}
    names = {*document, *seals} - {SEALS}
    return {name: _worth(document, seals, name) for name in sorted(names)}


def _worth(document: Mapping[str, Any], seals: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    valid = name in document and seals.get(name) == hashlib.sha256(text.encode()).hexdigest()
    return {"valid": valid, "entries": len(value) if isinstance(value, dict | list) else 1}


OBSERVER = FileHashes
