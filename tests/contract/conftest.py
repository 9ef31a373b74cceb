"""A small victim for faults, and a guardian for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.guardian_link import GuardianLink
from tests.contract.victims import Victim


@pytest.fixture
def victim() -> Iterator[Victim]:
    one = Victim()
    yield one
    one.child.kill()
    one.child.wait()


@pytest.fixture
def link(tmp_path: Path) -> Iterator[GuardianLink]:
    one = GuardianLink(tmp_path, f"test-{os.getpid()}-{tmp_path.name}")
    yield one
    one.close()
