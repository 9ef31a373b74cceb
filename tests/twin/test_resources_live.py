"""Resources run short for an embedded twin: it sees that and says so, and that it is over. Nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.disk_io_saturation import DiskIoSaturation
from faults.memory_pressure import MemoryPressure
from harness.cgroup import hierarchy, limit_bytes, used_percent
from harness.contracts import ProcessId
from harness.embedded import MEMORY_BYTES, EmbeddedTwin
from harness.guardian_link import GuardianLink
from harness.loopback import Client
from harness.mounts import may_mount, mounts
from harness.target import ManifestTarget, load_target
from tests.contract.resources import Force, bring
from tests.processes import ROOT, wait_for

pytestmark = [pytest.mark.slow]


@pytest.fixture
def twin() -> Iterator[tuple[EmbeddedTwin, ManifestTarget]]:
    one = EmbeddedTwin()
    yield one, one.wait()
    one.stop()
    assert one.group is None or not one.group.exists()


@pytest.fixture
def link(tmp_path: Path) -> Iterator[GuardianLink]:
    one = GuardianLink(tmp_path, f"live-{os.getpid()}-{tmp_path.name}")
    yield one
    one.close()


def test_all_kernels_share_one_limit(twin: tuple[EmbeddedTwin, ManifestTarget]) -> None:
    one, target = twin
    if one.group is None:
        assert one.without_group and "memory_cgroup" not in target.paths
        return
    assert target.paths["memory_cgroup"] == one.group and limit_bytes(one.group) == MEMORY_BYTES
    for name in target.kernels:
        process: ProcessId = target.process(name)
        assert hierarchy(process.pid).own == one.group, name


def engaged(target: ManifestTarget, resource: str) -> bool:
    """Whether the twin itself says that its monitor is engaged on *resource*."""
    client = Client(target.base_url, timeout_s=5.0)
    told = client.get_json(target.signals["safeguards"]["url"])
    client.close()
    monitor = next(row for row in told["safeguards"] if row["name"] == "resource_pressure_monitor")
    return any(incident["subject"] == resource for incident in monitor["engaged"])


def seen(force: Force, target: ManifestTarget, resource: str) -> None:
    """The monitor engages on *resource* while the fault is in force, and releases it after."""
    force.wait(60.0)
    wait_for(lambda: force.sample() and engaged(target, resource), 10.0, f"that the monitor engages on {resource}")
    force.heal_twice()
    wait_for(lambda: not engaged(target, resource), 20.0, "that it releases")


def test_its_monitor_sees_its_own_memory_run_short(
    twin: tuple[EmbeddedTwin, ManifestTarget], link: GuardianLink
) -> None:
    one, target = twin
    if one.group is None:
        return
    assert not engaged(target, "memory")
    force = bring(MemoryPressure(memory_percent=90, duration_seconds=5, scope="target"), target, link)
    force.wait(60.0)
    assert used_percent(one.group) > 85
    seen(force, target, "memory")


def test_its_monitor_sees_its_disk_busy(twin: tuple[EmbeddedTwin, ManifestTarget], link: GuardianLink) -> None:
    target = twin[1]
    assert not engaged(target, "disk")
    seen(bring(DiskIoSaturation(busy_percent=98, duration_seconds=5), target, link), target, "disk")


HARNESS = """
import time
from harness.embedded import EmbeddedTwin
twin = EmbeddedTwin()
target = twin.wait()
print(twin.group or "")
print(twin.folder, flush=True)
time.sleep(60)
"""


def test_a_killed_harness_leaves_no_group_no_mount_and_no_folder() -> None:
    harness = subprocess.Popen([sys.executable, "-c", HARNESS], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert harness.stdout
    name = harness.stdout.readline().strip()
    assert not name or Path(name).is_dir()
    folder = Path(harness.stdout.readline().strip())
    source = folder.name
    assert may_mount() == any(one.source == source for one in mounts()) and (folder / "run" / "keys.json").exists()
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    harness.stdout.close()
    if name:
        wait_for(lambda: not Path(name).exists(), 10.0, "that the group is gone")
    wait_for(lambda: not any(one.source == source for one in mounts()), 10.0, "that the mount is gone")
    wait_for(lambda: not folder.exists(), 10.0, "that its folder is gone, with its keys")


def test_a_twin_that_stays_has_the_same_limit_and_takes_it_along(tmp_path: Path) -> None:
    def twin_is(action: str) -> subprocess.CompletedProcess[str]:
        words = f"import sys; from harness.cli import main; sys.argv[1:] = ['twin', '{action}', '--dir', '{tmp_path}']"
        command = [sys.executable, "-c", f"{words}; sys.exit(main())"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    up = twin_is("up")
    assert up.returncode == 0, up.stderr
    group = load_target(tmp_path / "target.yaml").paths.get("memory_cgroup")
    assert twin_is("down").returncode == 0
    if group is None:
        assert "no limit of its own" in up.stderr
        return
    wait_for(lambda: not group.exists(), 5.0, "that the group goes with it")
