"""The witness of a corruption: bytes that differ, unless a sealed document is whole again with others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from faults.helpers import damaged_files
from harness.model import Effect, Undo
from harness.primitives.restore_file import OP


def sealed(**values: Any) -> str:
    text = {name: json.dumps(one, sort_keys=True, separators=(",", ":")) for name, one in values.items()}
    sums = {name: hashlib.sha256(one.encode()).hexdigest() for name, one in text.items()}
    return json.dumps({**values, "checksums": sums})


def seen(path: Path, before: str, *later: str) -> list[float | None]:
    """The witness's count at each state that the file takes."""
    path.write_text(before)
    primitive = {"op": OP, "path": str(path), "sha256": hashlib.sha256(before.encode()).hexdigest()}
    witness = damaged_files.witness(Undo(primitives=(primitive,)))
    found = []
    for text in later:
        path.write_text(text)
        found.append(witness.sample(Effect()))
    return found


def test_a_regenerated_snapshot_is_damaged_no_more(tmp_path: Path) -> None:
    before, again = sealed(index=1), sealed(index=2)
    damaged = before.replace('"index": 1', '"index": 7')
    assert seen(tmp_path / "state.json", before, damaged, again) == [1.0, 0.0]


def test_other_bytes_without_seals_stay_damaged(tmp_path: Path) -> None:
    assert seen(tmp_path / "model.pkl", "right", "wrong", "other", "right") == [1.0, 1.0, 0.0]
