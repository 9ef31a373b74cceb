"""File corruption: files of the target hold other bytes than were written, as by a bad disk or a crash in mid-write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from faults.helpers import damaged_files
from faults.helpers.corruption import KINDS, Wound
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Magnitude, Sample, Undo


@dataclass(frozen=True, kw_only=True)
class FileCorruption:
    """Damages *corrupt_files*, names below the path *target* of the manifest, or that path itself.

    *corruption_type*: truncate (to *keep_percent*), bit_flip (in *corrupt_bytes* bytes), random_bytes (a run of
    *corrupt_bytes*), key_overwrite (*corrupt_keys* become *corrupt_value*, or random text), overwrite (all of it by
    other bytes), zero. *seed* decides where. Asked and measured is how many files were damaged. The target has
    *duration_seconds* to mend all of them, which ends the fault; else they are given back. The subject is the first
    file's name.
    """

    target: str
    corrupt_files: tuple[str, ...] = ()
    corruption_type: str = "bit_flip"
    keep_percent: float = 50.0
    corrupt_bytes: int = 1024
    corrupt_keys: tuple[str, ...] = ()
    corrupt_value: Any = None
    seed: int = 1
    duration_seconds: float = 60.0

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0

    witness: ClassVar[str] = "the files' bytes, hashed by the harness"

    def __post_init__(self) -> None:
        if self.corruption_type not in KINDS:
            raise ValueError(f"corruption_type: none is called {self.corruption_type!r}. Known: {', '.join(KINDS)}")
        for name in ("corrupt_files", "corrupt_keys"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(one, str) and one for one in value):
                raise ValueError(f"{name}: a list of names is expected, not {value!r}")
        if bool(self.corrupt_keys) != (self.corruption_type == "key_overwrite"):
            raise ValueError("corrupt_keys: key_overwrite needs them, and nothing else takes them")
        if not isinstance(self.corrupt_bytes, int) or not isinstance(self.seed, int):
            raise ValueError("corrupt_bytes, seed: whole numbers are expected")

    @property
    def subject(self) -> str:
        return self.corrupt_files[0] if self.corrupt_files else self.target

    @property
    def asked(self) -> Magnitude:
        count = float(len(self.corrupt_files) or 1)
        return Magnitude(name="corrupted", value=count, unit="files", tolerance=0.0)

    @property
    def wound(self) -> Wound:
        return Wound(
            seed=self.seed,
            keep_percent=self.keep_percent,
            corrupt_bytes=self.corrupt_bytes,
            corrupt_keys=tuple(self.corrupt_keys),
            corrupt_value=self.corrupt_value,
        )

    def prepare(self, target: Target) -> Undo:
        paths = damaged_files.files_of(target, self.target, self.corrupt_files)
        return damaged_files.prepare(paths, self.corruption_type, self.wound)

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        return damaged_files.inject(undo, self.corruption_type, self.wound)

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return damaged_files.witness(undo)

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return damaged_files.sample(undo, effect, self.corruption_type, self.wound)


FAULT = FileCorruption
