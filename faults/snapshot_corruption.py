"""Snapshot corruption: keys of the snapshot that the target would begin with hold something else."""

from __future__ import annotations

from dataclasses import dataclass

from faults.file_corruption import FileCorruption


@dataclass(frozen=True, kw_only=True)
class SnapshotCorruption(FileCorruption):
    """Overwrites *corrupt_keys* of the target's path `state_snapshot`; its checksums stay. See FileCorruption."""

    target: str = "state_snapshot"
    corruption_type: str = "key_overwrite"


FAULT = SnapshotCorruption
