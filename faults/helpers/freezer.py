"""The cgroup freezer of this machine: whether a process can be put into one, and how."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from harness.contracts import ProcessId
from harness.primitives.thaw import PREFIX, is_frozen, members, set_frozen
from harness.process import refuse_harm, same

FREEZE_LIMIT_S = 1.0
MOUNTS = Path("/proc/self/mounts")


class NoFreezer(Exception):
    """There is none to be had; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a process is to be frozen: *cgroup*, to be made below *home*, where it is now."""

    version: int  # of cgroups: 1 or 2
    home: Path
    cgroup: Path


def place(process: ProcessId, version: int, mounts: Path = MOUNTS) -> Place:
    """Touches nothing. Raises NoFreezer in words.

    A frozen process of version 2 still dies of SIGKILL; one of version 1 does so only when it is thawed.
    """
    root = _mount(version, mounts)
    if root is None:
        raise NoFreezer(f"no cgroup freezer of version {version} is mounted")
    home = root / _own(process, version).lstrip("/")
    if not (home / "cgroup.procs").exists():
        raise NoFreezer(f"{home} is not to be seen from here")
    if not os.access(home, os.W_OK) or not os.access(home / "cgroup.procs", os.W_OK):
        raise NoFreezer(f"{home} may not be written (root is needed)")
    cgroup = home / f"{PREFIX}{process.pid}-{process.start_ticks}"
    return Place(version=version, home=home, cgroup=cgroup)


def _mount(version: int, mounts: Path) -> Path | None:
    for line in mounts.read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        if version == 2 and kind == "cgroup2":
            return Path(where)
        if version == 1 and kind == "cgroup" and "freezer" in options.split(","):
            return Path(where)
    return None


def _own(process: ProcessId, version: int) -> str:
    """The cgroup of *process* as /proc tells it."""
    try:
        lines = Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
    except OSError:
        raise NoFreezer(f"pid {process.pid} is gone") from None
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if (version == 2 and number == "0") or (version == 1 and "freezer" in controllers.split(",")):
            return path
    raise NoFreezer(f"pid {process.pid} is in no cgroup of version {version}")


def freeze(process: ProcessId, where: Place) -> None:
    """Puts *process* into the cgroup and freezes it; it is frozen when this returns. Raises OSError, ValueError."""
    refuse_harm(process)
    where.cgroup.mkdir()
    (where.cgroup / "cgroup.procs").write_text(str(process.pid))
    if not same(process):
        raise ProcessLookupError(f"pid {process.pid} has another owner now")
    set_frozen(where.cgroup, True)
    deadline = time.monotonic() + FREEZE_LIMIT_S
    while not (is_frozen(where.cgroup) and process.pid in members(where.cgroup)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{where.cgroup} did not freeze in {FREEZE_LIMIT_S:.0f} s")
        time.sleep(0.002)
