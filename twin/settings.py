"""What operators set while the platform runs: a file that kernels follow, and the copy of it that was approved."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from twin.config import Config
from twin.files import seen, sha256_of, write_whole

LOOK_EVERY_S = 0.2
LOGGED_EVERY_S = 1.0
log = logging.getLogger("settings")
FIRST = b"""# What the kernels follow while they run. A change must be approved, or it is taken back.
governance:
  approval_required: true  # a risky action waits for a person
  deny_from: 0.85  # from this risk on, nobody is asked
knowledge:
  trust_min: 0.0  # what is trusted less is not found
snapshots:
  every_s: 60.0
"""


class SettingsError(Exception):
    """Settings that cannot be followed; the text says which."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Each field is SECTION_NAME of the file."""

    governance_approval_required: bool = True
    governance_deny_from: float = 0.85
    knowledge_trust_min: float = 0.0
    snapshots_every_s: float = 60.0


RANGES = {"governance_deny_from": (0.0, 1.0), "knowledge_trust_min": (0.0, 1.0), "snapshots_every_s": (1.0, 86_400.0)}


def parse(data: bytes) -> Settings:
    """Raises SettingsError; a file that is half right is not followed at all."""
    try:
        document = yaml.safe_load(data)
    except Exception as error:  # damaged YAML can make its reader fail in any way
        raise SettingsError(f"it is no YAML: {type(error).__name__}") from None
    if not isinstance(document, dict) or not all(isinstance(one, dict) for one in document.values()):
        raise SettingsError("sections are expected, each with its settings")
    flat = {f"{section}_{name}": value for section, one in document.items() for name, value in one.items()}
    known = {one.name for one in fields(Settings)}
    if set(flat) != known:
        raise SettingsError(f"missing or unknown: {', '.join(sorted(map(str, set(flat) ^ known)))}")
    for name, value in flat.items():
        if name in RANGES:
            low, high = RANGES[name]
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise SettingsError(f"{name} is {value!r}: a number from {low:g} to {high:g} is expected")
        elif not isinstance(value, bool):
            raise SettingsError(f"{name} is {value!r}: true or false is expected")
    return Settings(**flat)


def write_first(config: Config) -> None:
    """The settings that the platform is delivered with, and their approval, unless there are some."""
    if not config.settings_file.exists():
        config.settings_file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(config.settings_file, FIRST)
    if not (approved_dir(config) / "approved.json").exists():
        approve(config)


def approved_dir(config: Config) -> Path:
    return config.snapshot_dir / "config"


def approve(config: Config) -> None:
    """What is in force now is what was meant. Raises SettingsError for a file that cannot be followed."""
    data = config.settings_file.read_bytes()
    parse(data)
    folder = approved_dir(config)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / config.settings_file.name, data)
    write_whole(folder / "approved.json", json.dumps({"sha256": sha256_of(data), "bytes": len(data)}).encode())


def approved_sha256(config: Config) -> str:
    """Raises SettingsError when nobody can say any more what was approved."""
    try:
        return str(json.loads((approved_dir(config) / "approved.json").read_bytes())["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"the approval cannot be read: {type(error).__name__}") from None


def approved_copy(config: Config) -> bytes:
    """The bytes that were approved, and no others. Raises SettingsError."""
    wanted = approved_sha256(config)
    try:
        data = (approved_dir(config) / config.settings_file.name).read_bytes()
    except OSError as error:
        raise SettingsError(f"the approved copy cannot be read: {error.strerror}") from None
    if sha256_of(data) != wanted:
        raise SettingsError("the approved copy is not what was approved")
    return data


def restore(config: Config) -> dict[str, Any]:
    """Puts the approved copy in its place and reads it back. Raises SettingsError."""
    data = approved_copy(config)
    try:
        config.settings_file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(config.settings_file, data)
        found = sha256_of(config.settings_file.read_bytes())
    except OSError as error:
        raise SettingsError(f"it cannot be restored: {error.strerror}") from None
    if found != sha256_of(data):
        raise SettingsError(f"it is {found[:12]} after it was restored")
    return {"sha256": found, "bytes": len(data)}


def drifted(now: bytes, approved: bytes) -> str:
    """In words, what *now* says that *approved* does not."""
    try:
        there, meant = asdict(parse(now)), asdict(parse(approved))
    except SettingsError as error:
        return str(error)
    different = [
        f"{name} is {there[name]!r}, approved is {meant[name]!r}" for name in there if there[name] != meant[name]
    ]
    return "; ".join(different) or "the same settings in other words"


class LiveSettings:
    """The settings as a kernel follows them: read again when the file changes; one that makes no sense is not."""

    def __init__(self, config: Config) -> None:
        self.path = config.settings_file
        self.problem = ""
        self.sha256 = ""  # of what is followed
        self._settings = Settings()
        self._seen: tuple[int, int, int] | None = None
        self._looked_s = -LOOK_EVERY_S
        self._logged_s = -LOGGED_EVERY_S

    def get(self, now_s: float, at_once: bool = False) -> Settings:
        if at_once or now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s, now = now_s, seen(self.path)
            if now != self._seen:
                self._seen = now
                self._read()
            if self.problem and now_s - self._logged_s >= LOGGED_EVERY_S:
                self._logged_s = now_s
                log.error("the settings are not followed: %s", self.problem)
        return self._settings

    def _read(self) -> None:
        try:
            data = self.path.read_bytes()
            self._settings = parse(data)
            self.sha256, self.problem = sha256_of(data), ""
        except (OSError, SettingsError) as error:
            self.problem = str(error)
