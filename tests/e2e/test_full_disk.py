"""MF05_full_disk_no_log for a user who may not mount: what it says then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.disks import says_nothing, without_the_right
from tests.processes import finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MF05 = ("--scenario", "MF05_full_disk_no_log", "--time-scale", "0.1")


@pytest.mark.beside
def test_without_the_right_to_mount_it_says_nothing_and_why(tmp_path: Path) -> None:
    """Whoever runs this: the right is dropped before the run begins."""
    code, said = finish(locust(*MF05, out=tmp_path, before=without_the_right()))
    says_nothing(code, said, run_folder(tmp_path))
