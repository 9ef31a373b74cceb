"""Mounts and files of a fault's own: found, taken back twice, and nothing else ever touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.mounts import may_mount, mount_of, mount_tmpfs, mounts
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
