"""Memory cgroups, v1 and v2: which one a process is in, what it may use and does use, a new one, the end of one.

Free of faults and gevent: the guardian takes groups back with it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path

from harness.process import read_process

MARK = "grace-chaos-"
REMOVE_S = 10.0
LEAVE_S = 0.5
_numbers = itertools.count(1)


class CgroupError(Exception):
    """This machine or this user cannot do it; the text says what, and why."""


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """Where the memory controller is: the folder of all its groups, and of the group that this process is in."""

    version: int  # 1 or 2
    top: Path
    own: Path


def hierarchy(pid: int | str = "self", proc: Path = Path("/proc")) -> Hierarchy:
    """Of process *pid*. Raises CgroupError where there is no memory controller."""
    try:
        mounts = (proc / "self" / "mountinfo").read_text().splitlines()
        groups = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError as error:
        raise CgroupError(f"the cgroups of process {pid} cannot be read: {error.strerror}") from None
    for version, kind, option in ((1, "cgroup", "memory"), (2, "cgroup2", "")):
        for root, top in _mounts(mounts, kind, option):
            path = _path(groups, version)
            inside = Path(path).is_relative_to(root)
            own = top / (Path(path).relative_to(root) if inside else "")
            if path and (version == 1 or "memory" in _words(top / "cgroup.controllers")):
                return Hierarchy(version=version, top=top, own=own)
    raise CgroupError("no cgroup hierarchy with a memory controller is mounted")


def _mounts(lines: list[str], kind: str, option: str) -> list[tuple[str, Path]]:
    """(root inside the hierarchy, mount point) of the mounts of *kind* whose options hold *option*."""
    found = []
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, (kind_here, _, options) = left.split(), right.split()[:3]
        if kind_here == kind and (not option or option in options.split(",")):
            found.append((fields[3], Path(fields[4])))
    return found


def _path(lines: list[str], version: int) -> str:
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if ("memory" in controllers.split(",")) if version == 1 else (number == "0"):
            return path
    return ""


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def limit_bytes(group: Path) -> int | None:
    """What *group* may use; None when it has no limit."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        words = _words(group / name)
        if words:
            value = None if words[0] == "max" else int(words[0])
            return None if value is None or value >= 2**60 else value
    return None


def limited(group: Path, top: Path) -> list[Path]:
    """*group* and those above it, up to *top*, that have a limit: each of them holds for whoever is in *group*."""
    line = [one for one in (group, *group.parents) if one.is_relative_to(top)]
    return [one for one in line if limit_bytes(one) is not None]


def used_bytes(group: Path) -> int:
    """What *group* uses and could not give up at once: its usage without the file cache that nobody has asked for."""
    for name, inactive in (("memory.current", "inactive_file"), ("memory.usage_in_bytes", "total_inactive_file")):
        words = _words(group / name)
        if words:
            rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            return max(0, int(words[0]) - int(rows.get(inactive, 0)))
    raise CgroupError(f"{group}: its memory usage cannot be read")


def used_percent(group: Path) -> float:
    """used_bytes() of its limit. Raises CgroupError when it has none."""
    limit = limit_bytes(group)
    if not limit:
        raise CgroupError(f"{group} has no memory limit, so no percentage of it can be told")
    return 100 * used_bytes(group) / limit


def join(group: Path, pid: int = 0) -> None:
    """Moves process *pid* (0: this one) into *group*. Raises OSError."""
    (group / "cgroup.procs").write_text(f"{pid or os.getpid()}\n")


def make_group(limit: int) -> Path:
    """A new group that may use *limit* bytes, no swap; named after this process. Raises CgroupError.

    Groups that a process which is gone has left, empty, are removed first.
    """
    here = hierarchy()
    parent = _parent(here)
    sweep(here.top)
    me = read_process(os.getpid())
    assert me
    group = parent / f"{MARK}{me.pid}-{me.start_ticks}-{next(_numbers)}"
    try:
        group.mkdir()
    except OSError as error:
        raise CgroupError(f"no memory cgroup can be made in {parent}: {error.strerror}") from None
    files = ("memory.max", "memory.swap.max") if here.version == 2 else ("memory.limit_in_bytes", "")
    try:
        (group / files[0]).write_text(f"{limit}\n")
        with contextlib.suppress(OSError):  # a kernel without swap accounting has no such file
            if here.version == 2:
                (group / files[1]).write_text("0\n")
            else:
                (group / "memory.memsw.limit_in_bytes").write_text(f"{limit}\n")
    except OSError as error:
        remove(group)
        raise CgroupError(f"{group}: a limit of {limit} bytes cannot be set: {error.strerror}") from None
    return group


def _parent(here: Hierarchy) -> Path:
    """Where a group can be made. In v2 that is the nearest group above that hands the controller down."""
    if here.version == 1:
        return here.own
    one = here.own
    while one.is_relative_to(here.top):
        writable = os.access(one, os.W_OK) and os.access(one / "cgroup.procs", os.W_OK)
        if writable and "memory" in _words(one / "cgroup.subtree_control"):
            return one
        one = one.parent
    raise CgroupError(f"no group from {here.own} upwards hands its memory controller down to this user")


def sweep(top: Path) -> int:
    """Removes the empty groups anywhere below *top* whose maker is gone; how many."""
    removed = 0
    for group in list(top.rglob(f"{MARK}*")):
        pid, _, rest = group.name.removeprefix(MARK).partition("-")
        maker = read_process(int(pid)) if pid.isdigit() else None
        if maker is None or str(maker.start_ticks) != rest.partition("-")[0]:
            with contextlib.suppress(OSError):
                group.rmdir()
                removed += 1
    return removed


def remove(group: Path) -> int:
    """Removes *group*: kills nothing, moves who is left to the group above (or our own); how many. Raises OSError.

    Who is about to end has LEAVE_S to do so: to move a process costs more than that.
    """
    moved = 0
    started_s = time.monotonic()
    while group.exists():
        try:
            group.rmdir()
        except FileNotFoundError:
            break
        except OSError:
            if time.monotonic() > started_s + REMOVE_S:
                raise
            if time.monotonic() > started_s + LEAVE_S:
                moved += _move_out(group)
            time.sleep(0.01)
    return moved


def _move_out(group: Path) -> int:
    moved = 0
    for pid in _words(group / "cgroup.procs"):
        with contextlib.suppress(ProcessLookupError):
            try:
                join(group.parent, int(pid))
            except OSError:  # in the second version a group that hands controllers down takes no process
                join(hierarchy().own, int(pid))
            moved += 1
    return moved
