"""Model corruption: a model that the target answers by is damaged on the disk, as by a crash while it was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from faults.file_corruption import FileCorruption


@dataclass(frozen=True, kw_only=True)
class ModelCorruption(FileCorruption):
    """Damages *corrupt_files* below the target's path `models`, by *corruption_type*. See FileCorruption."""

    target: str = "models"
    corruption_type: str = "truncate"

    target_ends_it: ClassVar[bool] = True
    defaults: ClassVar[Mapping[str, Any]] = {"corrupt_files": ["classifier_model.pkl"], "duration_seconds": 45}


FAULT = ModelCorruption
