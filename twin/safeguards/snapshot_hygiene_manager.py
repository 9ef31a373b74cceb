"""Snapshot hygiene manager: sees that the snapshot of the state, or its backup, could not be begun with."""

from __future__ import annotations

from twin.config import Config
from twin.files import HashedFile
from twin.snapshots import backup_of, trouble
from twin.wholeness import Wholeness


class SnapshotHygieneManager:
    """Reads a snapshot again when its bytes are others, and checks each key against its checksum."""

    name = "snapshot_hygiene_manager"
    playbook = "snapshot_regenerate"

    def __init__(self, config: Config) -> None:
        self.wholeness = Wholeness()
        paths = {"state_snapshot": config.state_snapshot, "state_backup": backup_of(config)}
        self.files = {name: HashedFile(path) for name, path in paths.items()}
        self._known: dict[str, tuple[str, str]] = {}  # subject → (hash, what is wrong with these bytes)

    def problems(self, now_s: float) -> dict[str, str]:
        """{snapshot: what is wrong with it}."""
        found = {}
        for subject, file in self.files.items():
            sha256 = file.sha256(now_s)
            if not sha256 or self._known.get(subject, ("", ""))[0] != sha256:
                self._known[subject] = (sha256, trouble(file.path))
            found[subject] = self._known[subject][1]
        return found
