"""Pressure stall information: read as the kernel writes it, and nothing where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import pressure
from harness.pressure import read_pressure

TOLD = """some avg10=1.50 avg60=0.46 avg300=1.03 total=12226842
full avg10=0.25 avg60=0.00 avg300=0.00 total=0
"""


def test_the_last_ten_seconds_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "PRESSURE", tmp_path)
    assert read_pressure() == {}, "a kernel without it"
    (tmp_path / "io").write_text(TOLD)
    (tmp_path / "cpu").write_text(TOLD.splitlines()[0])
    assert read_pressure() == {"cpu_some": 1.5, "io_some": 1.5, "io_full": 0.25}


def test_this_kernel_tells_all_or_nothing() -> None:
    told = read_pressure()
    assert not told or {"cpu_some", "memory_some", "memory_full", "io_some", "io_full"} <= set(told)
    assert all(0 <= value <= 100 for value in told.values())
