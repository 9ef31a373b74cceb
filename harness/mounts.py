"""What is mounted where, and mounting a small file system of our own: straight from the kernel, by no command."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
MOUNTINFO = Path("/proc/self/mountinfo")
MNT_DETACH = 2
CAP_SYS_ADMIN = 21
MS_NOSUID, MS_NODEV = 2, 4


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A line of /proc/self/mountinfo."""

    number: int
    under: int  # the number of the mount that it is mounted on: for a second one at the same point, of the first
    point: Path
    kind: str  # "ext4", "tmpfs", ...
    source: str


def mounts(table: Path = MOUNTINFO) -> list[Mount]:
    """All of them, in the order in which the kernel tells them."""
    found = []
    for line in table.read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, source, *_ = right.split()
        number, under, _, _, written, *_ = left.split()
        point = re.sub(r"\\([0-7]{3})", lambda told: chr(int(told[1], 8)), written)  # a blank is written \040
        found.append(Mount(number=int(number), under=int(under), point=Path(point), kind=kind, source=source))
    return found


def uppermost(point: Path, all_mounts: Sequence[Mount]) -> list[Mount]:
    """What is to be seen at *point*: of the mounts right there, those that no other of them is mounted on.

    One at most, but for a point within a mount that is itself covered: then nobody can tell which of them is seen.
    """
    there = [one for one in all_mounts if one.point == point]
    covered = {one.under for one in there}
    return [one for one in there if one.number not in covered]


def mount_of(path: Path) -> Mount:
    """The mount that holds *path* (which must exist)."""
    real = path.resolve(strict=True)
    told = mounts()
    point = max((one.point for one in told if real.is_relative_to(one.point)), key=lambda one: len(one.parts))
    return uppermost(point, told)[-1]


def may_mount() -> bool:
    """Whether this process has the right to mount (CAP_SYS_ADMIN): root in a container often has not."""
    status = Path("/proc/self/status").read_text()
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
    return bool(effective >> CAP_SYS_ADMIN & 1)


def mount_tmpfs(point: Path, source: str, size_bytes: int) -> None:
    """Raises OSError; PermissionError for a user who may not mount."""
    options = f"size={size_bytes},mode=0777".encode()
    done = _libc.mount(source.encode(), os.fsencode(point), b"tmpfs", MS_NOSUID | MS_NODEV, options)
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"a tmpfs cannot be mounted on {point}: {os.strerror(number)}")


def umount(point: Path, lazily: bool = False) -> None:
    """Raises OSError; EBUSY while somebody has a file open there, unless *lazily*."""
    if _libc.umount2(os.fsencode(point), MNT_DETACH if lazily else 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{point} cannot be unmounted: {os.strerror(number)}")
