"""Mounts and files of a fault's own: found, taken back twice, and nothing else ever touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.mounts import Mount, may_mount, mount_of, mount_tmpfs, mounts, umount, uppermost
from harness.primitives import remove_file, unmount


def test_the_mount_that_holds_a_path_is_found(tmp_path: Path) -> None:
    assert mount_of(Path("/proc/self")).kind == "proc"
    assert tmp_path.is_relative_to(mount_of(tmp_path).point)
    with pytest.raises(FileNotFoundError):
        mount_of(tmp_path / "no such")


def test_a_mount_of_our_own_is_taken_back_twice(tmp_path: Path) -> None:
    point = tmp_path / "a place"
    point.mkdir()
    source = f"grace-chaos-{os.getpid()}"
    primitive = unmount.unmount(point, source)
    assert unmount.take_back(primitive, False) == ("gone", True), "before it is mounted"
    try:
        mount_tmpfs(point, source, 1 << 20)
    except PermissionError as error:
        assert "cannot be mounted" in str(error) and not may_mount()
        return
    assert may_mount()
    try:
        assert mount_of(point).source == source
        assert unmount.take_back(unmount.unmount(point, "another"), True) == ("gone", True)
        assert mount_of(point).source == source, "only the one with our mark"
        with (point / "open").open("w"):
            did, verified = unmount.take_back(primitive, True)
        assert verified and "still has a file open" in did
    finally:
        assert unmount.take_back(primitive, True) == ("gone", True)
    assert source not in {one.source for one in mounts()}


def test_what_somebody_mounts_over_ours_stays(tmp_path: Path) -> None:
    point, source = tmp_path / "place", f"grace-chaos-over-{os.getpid()}"
    point.mkdir()
    primitive = unmount.unmount(point, source)
    if not may_mount():
        with pytest.raises(PermissionError):
            mount_tmpfs(point, source, 1 << 20)
        return
    mount_tmpfs(point, source, 1 << 20)
    try:
        mount_tmpfs(point, "theirs", 1 << 20)
        try:
            (point / "precious").write_text("x")
            for _ in range(2):
                told = ("left alone: somebody has mounted over it or in it (tmpfs from theirs)", False)
                assert unmount.take_back(primitive, True) == told
                assert (point / "precious").exists() and mount_of(point).source == "theirs"
        finally:
            umount(point, lazily=True)
        assert unmount.take_back(primitive, True) == ("unmounted", True), "once theirs is gone"
    finally:
        assert unmount.take_back(primitive, True) == ("gone", True)


INFO = """\
20 1 0:1 / / rw - ext4 /dev/sda1 rw
30 20 0:2 / /state rw - tmpfs grace-chaos-1 rw
31 30 0:3 / /state rw - tmpfs theirs rw
40 20 0:4 / /a\\040b rw shared:7 - ext4 /dev/sdb1 rw
"""


@pytest.mark.parametrize("order", [1, -1])
def test_what_lies_uppermost_is_told_by_the_chain_and_not_by_the_order(tmp_path: Path, order: int) -> None:
    (tmp_path / "info").write_text("\n".join(INFO.splitlines()[::order]))
    told = mounts(tmp_path / "info")
    assert [one.source for one in uppermost(Path("/state"), told)] == ["theirs"]
    assert [one.source for one in uppermost(Path("/a b"), told)] == ["/dev/sdb1"]
    assert uppermost(Path("/nothing"), told) == []


def test_without_the_right_to_mount_theirs_is_left_alone_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was unmounted")

    ours = Mount(number=30, under=20, point=tmp_path, kind="tmpfs", source="ours")
    theirs = Mount(number=31, under=30, point=tmp_path, kind="xfs", source="/dev/sdc1")
    hidden = Mount(number=32, under=21, point=tmp_path, kind="ext4", source="beside")
    monkeypatch.setattr(unmount, "umount", never)
    inner = Mount(number=33, under=30, point=tmp_path / "sub", kind="ext4", source="inner")
    for other, named in ((theirs, "xfs from /dev/sdc1"), (hidden, "ext4 from beside"), (inner, "ext4 from inner")):
        monkeypatch.setattr(unmount, "mounts", lambda other=other: [ours, other])
        did, verified = unmount.take_back(unmount.unmount(tmp_path, "ours"), True)
        assert not verified and named in did
    monkeypatch.setattr(unmount, "mounts", lambda: [ours])
    with pytest.raises(AssertionError, match="it was unmounted"):
        unmount.take_back(unmount.unmount(tmp_path, "ours"), True)


def test_a_file_of_ours_is_removed_twice(tmp_path: Path) -> None:
    path = tmp_path / f"{remove_file.MARK}x"
    primitive = remove_file.remove_file(path)
    assert remove_file.take_back(primitive, False) == ("gone", True)
    path.write_text("x")
    assert remove_file.take_back(primitive, True) == ("removed", True)
    assert not path.exists()
    assert remove_file.take_back(primitive, True) == ("gone", True)


def test_no_other_file_is_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("x")
    link = tmp_path / f"{remove_file.MARK}link"
    link.symlink_to(precious)
    for path, why in ((precious, "no file of ours"), (link, "no regular file")):
        with pytest.raises(ValueError, match=why):
            remove_file.take_back(remove_file.remove_file(path), True)
    assert precious.exists() and link.is_symlink()
