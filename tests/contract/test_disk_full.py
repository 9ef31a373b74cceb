"""disk_full fills a file system that is the target's own, never the machine's, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults import disk_full
from faults.disk_full import DiskFull
from faults.helpers import disk_filler
from faults.helpers.disk_filler import MIB, Filler
from harness.contracts import TargetError, TargetLacks
from harness.guardian_link import GuardianLink
from harness.model import Undo
from harness.mounts import may_mount, mount_of, mount_tmpfs, mounts, umount
from harness.primitives.unmount import unmount
from tests.contract.resources import Place, bring
from tests.processes import wait_for


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path | None]:
    """A small file system of the target's own; None for a user who may not mount."""
    point = tmp_path / "state"
    point.mkdir()
    try:
        mount_tmpfs(point, "tests", 32 * MIB)
    except PermissionError:
        yield None
        return
    yield point
    umount(point, lazily=True)


def fill(path: str = "state", **more: Any) -> DiskFull:
    return DiskFull(path=path, duration_seconds=5, **more)


def refused(folder: Path) -> bool:
    """Whether the kernel gives a writer no more space."""
    try:
        (folder / "probe").write_bytes(bytes(2 * MIB))
    except OSError as error:
        return error.errno == errno.ENOSPC
    finally:
        (folder / "probe").unlink(missing_ok=True)
    return False


def test_no_space_is_left_and_then_it_is_back(own: Path | None, link: GuardianLink) -> None:
    if own is None:
        return
    (own / "precious").write_bytes(b"x" * MIB)
    before = os.statvfs(own).f_bavail
    assert not refused(own)
    force = bring(fill(), Place({"state": own}), link)
    assert force.wait().achieved >= 99.5
    assert refused(own), "what another writes finds no space"
    assert force.effect.facts["kind"] == "tmpfs" and [one.name for one in own.iterdir()] == ["precious"]
    force.heal_twice()
    assert os.statvfs(own).f_bavail == before and (own / "precious").read_bytes() == b"x" * MIB
    assert not refused(own)


def test_a_degree_is_held_while_others_write(own: Path | None, link: GuardianLink) -> None:
    if own is None:
        return
    force = bring(fill(disk_percent=60), Place({"state": own}), link)
    held = force.wait().detail["held_bytes"]
    (own / "other").write_bytes(bytes(8 * MIB))
    sample = wait_for(lambda: one if (one := force.sample()).detail["held_bytes"] < held else None, 5.0, "giving back")
    assert 55 <= sample.detail["disk_percent"] <= 86
    space = os.statvfs(own)
    wait_for(lambda: 58 <= 100 - 100 * os.statvfs(own).f_bavail / space.f_blocks <= 62, 5.0, "60 % from outside")
    force.heal_twice()


def test_a_killed_helper_is_a_lost_fault_and_holds_nothing(own: Path | None, link: GuardianLink) -> None:
    if own is None:
        return
    force = bring(fill(), Place({"state": own}), link)
    force.wait()
    force.kill_helper()
    wait_for(lambda: not refused(own), 2.0, "space again, as the file had no name")
    force.heal_twice()


def test_a_mount_of_its_own_comes_and_goes(tmp_path: Path, link: GuardianLink) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    place = Place({"cache": folder})
    if not may_mount():
        with pytest.raises(TargetLacks, match="this user may not mount"):
            fill("cache", mount_mib=8).prepare(place)  # type: ignore[arg-type]
        return
    force = bring(fill(str(folder), mount_mib=8), place, link)
    force.wait()
    assert mount_of(folder).point == folder and refused(folder)
    force.heal_twice()
    assert folder not in {one.point for one in mounts()} and list(folder.iterdir()) == []


def test_the_root_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path("/")
    for folder in (root, root / "usr"):
        with pytest.raises(TargetError, match="on the root file system, which is never filled"):
            fill("all").prepare(Place({"all": folder}))  # type: ignore[arg-type]
    monkeypatch.setattr("sys.argv", ["", f'{{"path": "{root}x", "disk_percent": 100, "limit_s": 5}}'])
    with pytest.raises(SystemExit, match="root file system"):
        disk_filler.main()


def test_a_shared_file_system_is_refused(own: Path | None) -> None:
    if own is None:
        return
    inner = own / "inner"
    inner.mkdir()
    with pytest.raises(TargetError, match="shares the file system of"):
        fill("inner").prepare(Place({"inner": inner}))  # type: ignore[arg-type]


def test_without_the_right_to_mount_it_says_so_before_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for right, why in ((lambda: False, "this user may not mount"), (lambda: True, "")):
        monkeypatch.setattr(disk_full, "may_mount", right)
        fault, place = fill(mount_mib=8), Place({"state": tmp_path})
        if why:
            with pytest.raises(TargetLacks, match=why):
                fault.prepare(place)  # type: ignore[arg-type]
        else:
            assert [one["op"] for one in fault.prepare(place).primitives] == ["unmount", "remove_file"]  # type: ignore[arg-type]


def test_only_what_the_manifest_names_is_filled(tmp_path: Path) -> None:
    place = Place({"state": tmp_path})
    with pytest.raises(TargetLacks, match=r"name no 'stat'. Did you mean 'state'"):
        fill("stat").prepare(place)  # type: ignore[arg-type]
    with pytest.raises(TargetLacks, match="paths name no"):
        fill(str(tmp_path.parent)).prepare(place)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="no folder of this machine"):
        fill("gone").prepare(Place({"gone": tmp_path / "gone"}))  # type: ignore[arg-type]
    (tmp_path / "precious").write_text("x")
    with pytest.raises(TargetError, match="would hide what the target has"):
        fill(mount_mib=8).prepare(place)  # type: ignore[arg-type]


def test_the_magnitude_is_what_df_says() -> None:
    assert fill().asked.floor == 99.5 and fill(disk_percent=90).asked.floor == 85.0
    assert fill().subject == "disk"


def test_who_lives_by_that_disk_is_no_bystander() -> None:
    assert fill().kernels == () and fill(target="immutable_log").kernels == ("immutable_log",)


def test_a_floor_of_memory_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filler = Filler(tmp_path / "x", 100.0)
    monkeypatch.setattr(disk_filler, "meminfo", lambda: {"MemAvailable": disk_filler.FLOOR_BYTES + MIB})
    assert not filler.step() and filler.held_bytes == 0
    assert filler.limited_by == "the floor of 512 MiB of available memory is kept"
    os.close(filler.descriptor)


def test_a_mount_that_cannot_be_made_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(disk_full, "mount_tmpfs", forbidden)
    undo = Undo(primitives=(unmount(tmp_path, "x"), {"op": "remove_file", "path": str(tmp_path / ".grace-chaos-x")}))
    with pytest.raises(PermissionError):
        fill().inject(Place(), undo, None)  # type: ignore[arg-type]
