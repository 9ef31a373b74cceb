"""Models on the disk: read only when their checksum is right, and then as nothing but the two classes that they are."""

from __future__ import annotations

import io
import json
import logging
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from twin.config import Config
from twin.files import seen, sha256_of, write_whole
from twin.models import MODELS, TRUST
from twin.models.classifier import NaiveBayes
from twin.models.training import fitted
from twin.models.trust import TrustScorer

LOOK_EVERY_S = 0.2
LOGGED_EVERY_S = 1.0
log = logging.getLogger("models")
KNOWN = {(kind.__module__, kind.__name__): kind for kind in (NaiveBayes, TrustScorer)}


class ModelError(Exception):
    """A model that must not be used; the text says why."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is no model")
        return KNOWN[(module, name)]


def backup_dir(config: Config) -> Path:
    return config.snapshot_dir / "models"


def checksums(config: Config) -> dict[str, str]:
    """{file: sha256} of the models as they were fitted. Raises ModelError."""
    path = backup_dir(config) / "manifest.json"
    try:
        rows = json.loads(path.read_bytes())
        return {str(name): str(row["sha256"]) for name, row in rows.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the models' manifest cannot be read: {type(error).__name__}") from None


def load(data: bytes, sha256: str) -> Any:
    """The model that *data* holds. Its checksum first: damaged bytes must not even be read as a pickle."""
    found = sha256_of(data)
    if found != sha256:
        raise ModelError(f"its sha256 is {found[:12]}, not {sha256[:12]} ({len(data)} bytes)")
    try:
        model = _Reader(io.BytesIO(data)).load()
    except Exception as error:  # a pickle can fail in any way
        raise ModelError(f"it cannot be loaded: {type(error).__name__}: {error}") from None
    if not isinstance(model, NaiveBayes | TrustScorer):
        raise ModelError(f"it is a {type(model).__name__} and no model")
    return model


def write_first(config: Config) -> None:
    """Fits the models, unless they are there: the files, their backups and their checksums."""
    backups = backup_dir(config)
    if (backups / "manifest.json").exists():
        return
    rows = {}
    for name, model in fitted().items():
        data = pickle.dumps(model, protocol=4)
        for folder in (backups, config.models_dir):
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / name, data)
        rows[name] = {"sha256": sha256_of(data), "bytes": len(data), "fitted_at": time.time()}
    write_whole(backups / "manifest.json", json.dumps(rows, indent=1).encode())


def restore(config: Config, name: str) -> dict[str, Any]:
    """Puts the backup in the model's place, byte for byte, and reads it back. Raises ModelError."""
    if name not in MODELS:
        raise ModelError(f"no model is called {name!r}")
    wanted = checksums(config)[name]
    try:
        data = (backup_dir(config) / name).read_bytes()
        load(data, wanted)
        write_whole(config.models_dir / name, data)
        found = sha256_of((config.models_dir / name).read_bytes())
    except OSError as error:
        raise ModelError(f"{name} cannot be restored: {error.strerror}") from None
    if found != wanted:
        raise ModelError(f"{name} is {found[:12]} after it was restored, not {wanted[:12]}")
    return {"sha256": found, "bytes": len(data)}


def swap(config: Config) -> None:
    """Put another trust scorer in the place of the backup, with the checksum that fits it: a defect on purpose."""
    backups = backup_dir(config)
    rows = json.loads((backups / "manifest.json").read_bytes())
    model = load((backups / TRUST).read_bytes(), checksums(config)[TRUST])
    data = pickle.dumps(replace(model, unknown_source=0.9), protocol=4)
    write_whole(backups / TRUST, data)
    rows[TRUST] = {**rows[TRUST], "sha256": sha256_of(data), "bytes": len(data)}
    write_whole(backups / "manifest.json", json.dumps(rows, indent=1).encode())


class ModelInUse:
    """One model as a kernel uses it: read again when its file changes; None while it must not be used."""

    def __init__(self, config: Config, name: str) -> None:
        self.config = config
        self.name = name
        self.path = config.models_dir / name
        self.sha256 = ""  # of what is in use
        self.problem = "it was never looked at"
        self._model: Any = None
        self._seen: tuple[int, int, int] | None = None
        self._looked_s = -LOOK_EVERY_S
        self._logged_s = -LOGGED_EVERY_S

    def get(self, now_s: float, at_once: bool = False) -> Any:
        if at_once or now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s, now = now_s, seen(self.path)
            if now != self._seen:
                self._seen = now
                self._read()
            if self._model is None and now_s - self._logged_s >= LOGGED_EVERY_S:
                self._logged_s = now_s
                log.error("%s must not be used: %s", self.name, self.problem)
        return self._model

    def _read(self) -> None:
        try:
            wanted = checksums(self.config).get(self.name, "")
            self._model = load(self.path.read_bytes(), wanted)
            self.sha256, self.problem = wanted, ""
        except (ModelError, OSError) as error:
            self._model, self.sha256, self.problem = None, "", str(error)

    def told(self, now_s: float) -> dict[str, Any]:
        self.get(now_s, at_once=True)
        return {"name": self.name, "sha256": self.sha256, "problem": self.problem}
