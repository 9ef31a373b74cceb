"""disk_io_saturation keeps its rate on a real device, and says when nothing of it reaches one."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

import psutil
import pytest

from faults.disk_io_saturation import DiskIoSaturation
from faults.helpers import disk_pacer
from faults.helpers.disk_pacer import FILE_BYTES, Device, open_file, refuse_without_room
from faults.helpers.reading import helper_of
from faults.helpers.scratch import open_scratch
from harness.catalog import CatalogError, build_fault
from harness.contracts import TargetError
from harness.guardian_link import GuardianLink
from harness.model import Hold
from tests.contract.resources import Place, bring
from tests.processes import wait_for

MEMORY = Path("/dev/shm")


def descriptors(pid: int) -> list[str]:
    found = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(one.readlink()))
    return found


@pytest.mark.slow
def test_the_device_does_what_is_asked_and_nothing_is_left(tmp_path: Path, link: GuardianLink) -> None:
    state = tmp_path / "state"
    state.mkdir()
    device = Device(state.stat().st_dev)
    before = device.count().operations
    fault = DiskIoSaturation(io_ops_per_second=200, duration_seconds=5)
    force = bring(fault, Place({"state": state, "root": tmp_path}), link)
    sample = force.wait()
    assert sample.detail["opened"] == "O_DIRECT" and sample.detail["device"] == device.name
    assert wait_for(lambda: device.count().operations - before > 400, 5.0, "operations of the device itself")
    assert 0 <= sample.detail["device_busy_percent"] <= 100 and sample.detail["op_ms_mean"] > 0
    assert any(str(state) in one for one in descriptors(helper_of(force.effect).process.pid)), "on the target's disk"
    assert list(state.iterdir()) == [], "the file has no name"
    force.heal_twice()
    assert list(state.iterdir()) == []


def test_a_killed_helper_is_a_lost_fault(tmp_path: Path, link: GuardianLink) -> None:
    force = bring(DiskIoSaturation(io_ops_per_second=100, duration_seconds=5), Place({"root": tmp_path}), link)
    force.wait()
    force.kill_helper()
    force.heal_twice()
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


@pytest.mark.slow
def test_what_never_reaches_a_disk_does_not_count(link: GuardianLink) -> None:
    """A file system in memory takes any number of operations: none of them is a fault of a disk."""
    force = bring(DiskIoSaturation(io_ops_per_second=20_000, duration_seconds=5), Place({"root": MEMORY}), link)
    sample = wait_for(lambda: one if (one := force.sample()).because else None, 10.0, "the reason")
    assert "does not reach a disk" in sample.because
    assert sample.detail["own_rate"] > 1000 and sample.achieved < force.fault.asked.floor
    force.heal_twice()


@pytest.mark.slow
def test_a_device_is_kept_busy_to_a_degree(tmp_path: Path, link: GuardianLink) -> None:
    fault = DiskIoSaturation(busy_percent=40, duration_seconds=5)
    assert (fault.asked.unit, fault.asked.floor) == ("%", 35.0)
    force = bring(fault, Place({"root": tmp_path}), link)
    sample = force.wait(30.0)
    assert sample.detail["device_busy_percent"] > 0
    force.heal_twice()


@pytest.mark.slow
def test_a_device_is_busy_to_95_percent_as_another_witness_tells(tmp_path: Path, link: GuardianLink) -> None:
    """With a part of one core: what keeps a disk busy must not be the machine's shortage of CPU."""
    device = Device(tmp_path.stat().st_dev)
    force = bring(DiskIoSaturation(busy_percent=95, duration_seconds=5), Place({"state": tmp_path}), link)
    sample = force.wait(20.0)
    assert "1 MiB" in force.effect.facts["mechanism"] and sample.detail["op_ms_mean"] > 0
    pid = helper_of(force.effect).process.pid
    before, spent_s, began_s = device.count().busy_ms, cpu_s(pid), time.monotonic()
    wait_for(lambda: time.monotonic() - began_s > 4, 6)
    elapsed_s = time.monotonic() - began_s
    busy = (device.count().busy_ms - before) / 10 / elapsed_s
    assert 88 <= busy <= 101, f"the device was busy to {busy:.1f} %"
    assert (cpu_s(pid) - spent_s) / elapsed_s < 0.4
    force.heal_twice()


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def test_more_than_the_disk_can_do_is_below_what_is_asked(tmp_path: Path, link: GuardianLink) -> None:
    force = bring(DiskIoSaturation(io_ops_per_second=500_000, duration_seconds=5), Place({"root": tmp_path}), link)
    sample = wait_for(lambda: one if (one := force.sample()).because else None, 10.0, "the reason")
    assert sample.because.startswith("the disk does no more with") and sample.hold is Hold.HOLDS
    assert sample.achieved < force.fault.asked.floor
    force.heal_twice()


def test_a_disk_without_room_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    refuse_without_room(tmp_path / "x")
    monkeypatch.setattr(disk_pacer, "FLOOR_BYTES", free - FILE_BYTES // 2)
    with pytest.raises(SystemExit, match="always stay free"):
        refuse_without_room(tmp_path / "x")


def test_where_direct_operations_are_refused_they_are_synchronous(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(path: Path, flags: int = 0) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return open_scratch(path, flags)

    monkeypatch.setattr(disk_pacer, "open_scratch", refuses)
    descriptor, how = open_file(tmp_path / "x")
    os.close(descriptor)
    assert how == "O_DSYNC, as O_DIRECT is refused here"
    monkeypatch.undo()
    descriptor, how = open_file(tmp_path / "x")
    os.close(descriptor)
    assert how == "O_DIRECT"


def test_a_scratch_file_has_no_name_even_where_it_needs_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def old(path: object, flags: int, *rest: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path, flags, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", old)
    descriptor = open_scratch(tmp_path / "named")
    assert os.pwrite(descriptor, b"x", 0) == 1 and list(tmp_path.iterdir()) == []
    os.close(descriptor)
    with pytest.raises(FileNotFoundError):
        open_scratch(tmp_path / "no" / "such")


def test_what_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="nothing is asked for"):
        DiskIoSaturation(duration_seconds=5).prepare(Place())  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="no folder of this machine"):
        place = Place({"state": tmp_path / "no"})
        DiskIoSaturation(io_ops_per_second=5, duration_seconds=5).prepare(place)  # type: ignore[arg-type]
    with pytest.raises(CatalogError, match="busy_percent: above 0 and at most 100"):
        build_fault("disk_io_saturation", {"duration_seconds": 5, "busy_percent": 101})


def test_a_file_whose_device_is_not_listed_is_witnessed_by_all_disks() -> None:
    device = Device(os.makedev(0, 9999))
    assert device.name.startswith("all disks together") and device.count().operations > 0
