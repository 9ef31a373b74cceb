"""Config corruption: the configuration that the target follows is damaged, or says something that nobody approved."""

from __future__ import annotations

from dataclasses import dataclass

from faults.file_corruption import FileCorruption


@dataclass(frozen=True, kw_only=True)
class ConfigCorruption(FileCorruption):
    """Damages the target's path `config`: by default it is torn, with *corrupt_keys* it drifts. See FileCorruption."""

    target: str = "config"
    corruption_type: str = ""

    def __post_init__(self) -> None:
        if not self.corruption_type:
            object.__setattr__(self, "corruption_type", "key_overwrite" if self.corrupt_keys else "truncate")
        super().__post_init__()


FAULT = ConfigCorruption
