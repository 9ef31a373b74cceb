"""remove_folder: the folder of a target that is gone goes too, and no other folder ever does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import embedded
from harness.embedded import EmbeddedTwin, keep_disk, own_disk
from harness.model import Undo
from harness.mounts import may_mount, mounts
from harness.primitives.remove_folder import MARK, remove_folder, users
from harness.undo import heal
from tests.processes import wait_for


@pytest.fixture
def folder() -> Iterator[Path]:
    one = Path(tempfile.mkdtemp(prefix=MARK))
    (one / "run").mkdir()
    (one / "run" / "keys.json").write_text("secret")
    yield one
    subprocess.run(["rm", "-rf", str(one)], check=True)


def healed(path: Path) -> dict[str, object]:
    return heal(Undo(primitives=(remove_folder(path),)))[0]


def test_it_is_removed_once_and_gone_is_well(folder: Path) -> None:
    assert healed(folder)["verified"] and not folder.exists()
    assert healed(folder) == {"op": "remove_folder", "did": "gone", "verified": True}


def test_a_folder_that_is_in_use_stays(folder: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.stdin.read()", "--dir", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        wait_for(lambda: users(folder), 5, "a process that has its command line")
        told = healed(folder)
        assert (told["did"], told["verified"]) == (f"still in use by pid {process.pid}", False) and folder.exists()
    finally:
        process.communicate()
    assert healed(folder)["verified"]


@pytest.mark.parametrize("name", ["other", f"{MARK}x"])
def test_no_other_folder_is_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    told = healed(tmp_path / name)
    assert "is no folder of ours" in str(told["did"]) and not told["verified"] and (tmp_path / name).exists()


@pytest.mark.slow
def test_a_twin_takes_its_folder_and_its_group_along() -> None:
    twin = EmbeddedTwin()
    paths = twin.wait().paths
    assert (twin.folder / "run" / "keys.json").exists()
    assert paths["immutable_log"].parent == twin.log_disk
    assert paths.get("audit_disk") == (None if twin.without_disk else twin.log_disk)
    assert bool(twin.without_disk) != any(one.point == twin.log_disk for one in mounts())
    twin.stop()
    assert not twin.folder.exists() and (twin.group is None or not twin.group.exists())
    assert not any(one.source == twin.folder.name for one in mounts())


def test_without_a_disk_of_its_own_it_is_said_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("not here")

    monkeypatch.setattr(embedded, "mount_tmpfs", refuse)
    for allowed, why in ((False, "this user may not mount one"), (True, "not here")):
        monkeypatch.setattr(embedded, "may_mount", lambda allowed=allowed: allowed)
        point = tmp_path / why
        assert own_disk(point, "grace-twin-x") == f"the immutable log has no disk of its own: {why}"
        assert point.is_dir(), "then it is an ordinary folder"


def test_its_disk_goes_with_the_last_who_holds_it_back(tmp_path: Path) -> None:
    point, source = tmp_path / "audit", f"grace-twin-{os.getpid()}"
    if own_disk(point, source):
        assert not may_mount()
        return
    keeper, held = keep_disk(point)
    holder = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(held,))
    os.close(held)
    (point / "entry").write_text("x")
    assert holder.stdin and keeper.poll() is None and any(one.source == source for one in mounts())
    holder.kill()
    holder.communicate()
    assert keeper.wait(timeout=5) == 0
    assert not any(one.source == source for one in mounts()) and list(point.iterdir()) == []
