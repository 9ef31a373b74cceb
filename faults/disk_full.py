"""Disk full: a file system of the target's own, or one made for it, has no space left."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from faults.helpers.reading import helper_facts, sample_mean
from faults.helpers.witness import Level
from harness.catalog import nearest
from harness.contracts import Hands, Target, TargetError, TargetLacks, Witness
from harness.model import Effect, Magnitude, Sample, Undo
from harness.mounts import Mount, may_mount, mount_of, mount_tmpfs
from harness.primitives.remove_file import MARK, remove_file
from harness.primitives.unmount import unmount

BELT_S = 30.0  # the helper ends by itself this long after its time, should nobody end it
MIB = 2**20
MACHINE = "machine"


@dataclass(frozen=True, kw_only=True)
class DiskFull:
    """Fills *path* to *disk_percent* (100: until the kernel says that no space is left) for *duration_seconds*.

    *target* is the kernel that lives by that disk, if it is one's own: what needs that kernel is hurt by the fault.
    *path* is a name of the manifest's paths, or one of the folders that they name. It must be a mount point, so that
    nobody else's space is taken; the root file system is refused. With *mount_mib* an empty folder there gets a file
    system in memory of that size, which is filled and unmounted again.
    """

    target: str = MACHINE
    path: str
    disk_percent: float = 100.0
    duration_seconds: float
    mount_mib: float = 0.0

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0
    attain_limit_s: ClassVar[float] = 60.0

    witness: ClassVar[str] = "statvfs of the file system, asked by the harness"

    @property
    def subject(self) -> str:
        return "disk"

    @property
    def kernels(self) -> tuple[str, ...]:
        """What is hurt by design: no bystander of this fault."""
        return () if self.target == MACHINE else (self.target,)

    @property
    def asked(self) -> Magnitude:
        tolerance = 0.5 if self.disk_percent == 100 else 5.0
        return Magnitude(name="disk", value=self.disk_percent, unit="%", tolerance=tolerance)

    def taken_mb(self, target: Target) -> float:
        return self.mount_mib or shutil.disk_usage(self._folder(target)).free / MIB

    def caveat(self, target: Target) -> str:
        """What stands in the plan when it would not be done as things are now; "" when it would."""
        try:
            self.prepare(target)
        except TargetLacks:
            return ""  # that is said in another place
        except TargetError as error:
            return f"cannot be done as things are: {error}"
        return ""

    def prepare(self, target: Target) -> Undo:
        folder = self._folder(target)
        name = uuid.uuid4().hex
        removal = remove_file(folder / f"{MARK}{name}")
        if not self.mount_mib:
            _refuse_shared(folder)
            return Undo(primitives=(removal,))
        if any(folder.iterdir()):
            raise TargetError(f"{folder} is not empty: a mount there would hide what the target has in it")
        if not may_mount():
            raise TargetLacks(f"this user may not mount a file system on {folder}")
        return Undo(primitives=(unmount(folder, f"grace-chaos-{name}"), removal))

    def _folder(self, target: Target) -> Path:
        named = {name: path.resolve() for name, path in target.paths.items()}
        folder = named.get(self.path) or Path(self.path).resolve()
        if folder not in named.values():
            raise TargetLacks(f"the manifest's paths name no {self.path!r}.{nearest(self.path, named)}")
        if not folder.is_dir():
            raise TargetError(f"{folder} is no folder of this machine")
        return folder

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        removal = next(one for one in undo.primitives if one["op"] == "remove_file")
        mount = next((one for one in undo.primitives if one["op"] == "unmount"), None)
        if mount:
            mount_tmpfs(Path(mount["point"]), mount["source"], int(self.mount_mib * MIB))
        path = Path(removal["path"])
        arguments = {
            "path": str(path),
            "disk_percent": self.disk_percent,
            "limit_s": self.duration_seconds + self.attain_limit_s + BELT_S,
        }
        helper = hands.start_helper("faults.helpers.disk_filler", arguments)
        there = mount_of(path.parent)
        facts = {"mechanism": "one reserved file", "mount": str(there.point), "kind": there.kind}
        return Effect(facts={**facts, "holds": _held_by(there, target.paths), **helper_facts(helper)})

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        folder = self._folder(target)
        return Level(lambda _: used_percent(folder))

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return sample_mean(effect, hands, "disk_percent", window_s=1.0)


def used_percent(folder: Path) -> float:
    """Of what an ordinary user may fill, as df tells it."""
    told = os.statvfs(folder)
    used = told.f_blocks - told.f_bfree
    return 100 * used / max(1, used + told.f_bavail)


def _held_by(mount: Mount, paths: Mapping[str, Path]) -> list[str]:
    """The names of the manifest's paths that are on this file system; one that is not there is on none."""
    return sorted(name for name, path in paths.items() if path.exists() and mount_of(path) == mount)


def _refuse_shared(folder: Path) -> None:
    """Raises TargetError unless *folder* is a file system of its own, and not the machine's."""
    point = mount_of(folder).point
    if folder.stat().st_dev == Path("/").stat().st_dev:
        raise TargetError(f"{folder} is on the root file system, which is never filled; give it a mount of its own")
    if point != folder:
        raise TargetError(f"{folder} shares the file system of {point}, which the manifest's paths do not name")


FAULT = DiskFull
