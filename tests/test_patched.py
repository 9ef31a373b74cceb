"""The tests that need Locust in their own process, each file in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gevent import monkey

from tests.conftest import PATCHED
from tests.processes import ROOT

FILES = sorted(path.name for path in (Path(__file__).parent / "patched").glob("test_*.py"))


def test_no_other_test_patches_the_process_that_all_of_them_run_in() -> None:
    """Importing Locust does: from then on time.sleep, os.waitpid and the rest are gevent's, in every test."""
    assert not monkey.saved, "a test file imports Locust: its place is tests/patched"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.timeout(180)
def test_in_a_process_of_its_own(name: str) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/patched/{name}"]
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, PATCHED: "1"}, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
