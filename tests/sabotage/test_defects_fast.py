"""The fast part of the table of planted defects, as its command runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_seeded_part_of_the_table_is_red(tmp_path: Path) -> None:
    paths = {"--state": "s.jsonl", "--keep": "k", "--out": "t.md"}
    words = ["--fast", *(word for key, name in paths.items() for word in (key, str(tmp_path / name)))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.defects", *words], cwd=ROOT, capture_output=True, text=True, timeout=580
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len((tmp_path / "s.jsonl").read_text().splitlines()) >= 3
