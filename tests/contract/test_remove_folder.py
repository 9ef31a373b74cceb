"""remove_folder: the folder of a target that is gone goes too, and no other folder ever does."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import embedded
from harness.embedded import EmbeddedTwin, TwinFailed, keep_folder, own_disk
from harness.model import Undo
from harness.mounts import may_mount, mounts
from harness.primitives.remove_folder import MARK, YOUNG_S, abandoned, remove_folder, users
from harness.sweep import sweep
from harness.undo import heal
from tests.processes import ROOT, wait_for


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
    assert twin.keeper and twin.keeper.returncode == 0, "its keeper has done its work: it was not killed at it"
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


def test_its_disk_and_its_folder_go_with_the_last_who_holds_them_back(folder: Path) -> None:
    point, source = folder / "audit", folder.name
    own = not own_disk(point, source)
    assert own == may_mount()
    keeper, held = keep_folder(folder, point if own else None)
    holder = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=held)
    os.close(held)
    (point / "entry").write_text("x")
    assert holder.stdin and keeper.poll() is None and any(one.source == source for one in mounts()) == own
    holder.kill()
    holder.communicate()
    assert keeper.wait(timeout=5) == 0
    assert not any(one.source == source for one in mounts()) and not folder.exists()


KILLED = """
import signal, os
from harness.embedded import EmbeddedTwin
twin = EmbeddedTwin()
twin.wait()
print(twin.folder, flush=True)
if {keeper_too}:
    os.kill(twin.keeper.pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(keeper_too: bool) -> Path:
    """The folder of a twin whose harness was killed, when it has ended."""
    command = [sys.executable, "-c", KILLED.format(keeper_too=keeper_too)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == -9
    folder = Path(done.stdout.strip())
    wait_for(lambda: not users(folder), 10.0, "the end of all that worked in it")
    return folder


@pytest.mark.slow
def test_a_harness_that_is_killed_leaves_no_keys_behind() -> None:
    folder = killed(keeper_too=False)
    wait_for(lambda: not folder.exists(), 10.0, "that the folder is gone, keys and all")
    assert not any(one.source == folder.name for one in mounts())


@pytest.mark.slow
def test_what_was_killed_with_its_keeper_is_swept_at_the_next_start(tmp_path: Path) -> None:
    folder = killed(keeper_too=True)
    assert (folder / "run" / "keys.json").exists()
    assert folder not in abandoned(folder.stat().st_mtime + YOUNG_S), "it may be one that is just being started"
    os.utime(folder, (0, 0))
    swept = {one.fault_id: one for one in sweep(tmp_path)}
    assert swept[folder.name].verified and not folder.exists()
    assert not any(one.source == folder.name for one in mounts())


def test_only_what_nobody_works_in_is_swept(folder: Path) -> None:
    later_s = folder.stat().st_mtime + YOUNG_S + 1
    assert folder in abandoned(later_s)
    lock = os.open(folder / "run" / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)  # as a twin does, also one that no process list shows here
    assert folder not in abandoned(later_s)
    os.close(lock)
    assert folder in abandoned(later_s)


def test_a_machine_that_cannot_hold_one_is_told_and_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No room, no folder at all, no process more: each is a line, and a failure that no run takes for a verdict."""
    made, real = [], tempfile.mkdtemp

    def mkdtemp(**how: str) -> str:
        made.append(Path(real(**how)))
        return str(made[-1])

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "ROOM_MB_MIN", 1 << 40)
        with pytest.raises(TwinFailed, match=r"has no room: .* MB left, .* are needed: TMPDIR=FOLDER names another"):
            EmbeddedTwin()
    for number in (1, 2):
        with pytest.raises(TwinFailed, match=r"could not be started: .*Resource temporarily unavailable"):
            forked_out(monkeypatch, number)
    monkeypatch.setattr(tempfile, "mkdtemp", refused)
    with pytest.raises(TwinFailed, match="the embedded Grace has no folder: Read-only file system"):
        EmbeddedTwin()
    assert len(made) == 3 and not any(one.exists() for one in made)
    assert not {one.source for one in mounts()} & {one.name for one in made}


def test_a_place_that_fills_up_under_a_twin_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin: Any = object.__new__(EmbeddedTwin)
    twin.folder = folder
    assert twin.trouble == ""
    monkeypatch.setattr(embedded, "ROOM_LEFT_MB_MIN", 1 << 40)
    assert f"{folder.parent} has " in twin.trouble and "the embedded Grace has no room" in twin.trouble


def refused(**_: object) -> str:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def forked_out(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Starts a twin whose process *number* may not be forked: first its keeper, then itself."""
    real, begun = subprocess.Popen, []

    def popen(*words: Any, **how: Any) -> Any:
        begun.append(words)
        if len(begun) == number:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return real(*words, **how)

    with monkeypatch.context() as patch:
        patch.setattr(embedded.subprocess, "Popen", popen)
        EmbeddedTwin()
