"""Snapshots of the platform's state: what kernels begin with, sealed key by key, with the one before as a backup."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twin.config import Config
from twin.files import sha256_of, write_whole

SEALS = "checksums"
KEYS = ("memory_index", "governance_rules", "taken_at")
EMPTY_INDEX: dict[str, Any] = {"last_row": 0, "entries": 0, "categories": {}}


class SnapshotError(Exception):
    """A snapshot that cannot be used; the text says why."""


def seal(value: Any) -> str:
    """The SHA-256 of a value as canonical JSON."""
    return sha256_of(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def sealed(values: Mapping[str, Any]) -> bytes:
    document = {**values, SEALS: {key: seal(value) for key, value in values.items()}}
    return json.dumps(document, indent=1).encode()


def read(path: Path) -> dict[str, Any]:
    """The document, whatever its keys hold. Raises SnapshotError."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise SnapshotError(f"it cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise SnapshotError("it is no JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get(SEALS), dict):
        raise SnapshotError("it has no checksums")
    return document


def damage(document: Mapping[str, Any]) -> list[str]:
    """Each key that is missing, or is not what its checksum was made of."""
    missing = [f"{key} is missing" for key in KEYS if key not in document]
    keys = [key for key in document if key != SEALS]
    return missing + [f"{key} has another checksum" for key in keys if document[SEALS].get(key) != seal(document[key])]


def trouble(path: Path) -> str:
    """Why the snapshot at *path* cannot be used as a whole; "" when it can."""
    try:
        return "; ".join(damage(read(path)))
    except SnapshotError as error:
        return str(error)


def begin_with(config: Config, key: str) -> Any:
    """What a kernel begins with: *key* of the snapshot, else of the one before it; None when neither is whole."""
    for path in (config.state_snapshot, backup_of(config)):
        try:
            document = read(path)
        except SnapshotError:
            continue
        if key in document and document[SEALS].get(key) == seal(document[key]):
            return document[key]
    return None


def backup_of(config: Config) -> Path:
    return config.state_snapshot.with_name("state.backup.json")


def take(config: Config, values: Mapping[str, Any]) -> dict[str, Any]:
    """A new snapshot; the one before stays as the backup, if it is whole: a backup of damage is worth nothing."""
    path, backup = config.state_snapshot, backup_of(config)
    data = sealed({**values, "taken_at": round(time.time(), 3)})
    if not trouble(path):
        write_whole(backup, path.read_bytes())
    write_whole(path, data)
    if trouble(backup):
        write_whole(backup, data)
    return {"sha256": sha256_of(data), "bytes": len(data)}
