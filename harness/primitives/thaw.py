"""Takes a process out of a cgroup that froze it: thaws it, moves it home, and removes the cgroup.

The cgroup was made for this one process, so whatever is found in it (the process, what it forked) goes home along.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.contracts import ProcessId
from harness.primitives import wait_until
from harness.process import read_process

OP = "thaw"
PREFIX = "grace-chaos-"  # no cgroup of another name is ever thawed or removed


def thaw(process: ProcessId, cgroup: Path, home: Path) -> dict[str, Any]:
    """The primitive for *process*, which will be frozen in *cgroup* and came from the cgroup *home*."""
    return {"op": OP, "cgroup": str(cgroup), "home": str(home), **asdict(process)}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    cgroup, home = Path(primitive["cgroup"]), Path(primitive["home"])
    if not cgroup.name.startswith(PREFIX):
        raise ValueError(f"{cgroup} is not a cgroup of this harness")
    if not cgroup.exists():
        return "gone", True
    set_frozen(cgroup, False)
    moved = 0

    def emptied() -> bool:
        nonlocal moved
        moved += _move_all(cgroup, home)
        return _removed(cgroup)

    done = wait_until(emptied)
    at_home = read_process(int(primitive["pid"])) is None or not cgroup.exists()
    return f"thawed, {moved} moved home", done and at_home


def set_frozen(cgroup: Path, on: bool) -> None:
    """Asks for it; is_frozen() says when it is so. Raises OSError."""
    if (cgroup / "cgroup.freeze").exists():
        (cgroup / "cgroup.freeze").write_text("1" if on else "0")
    else:
        (cgroup / "freezer.state").write_text("FROZEN" if on else "THAWED")


def is_frozen(cgroup: Path) -> bool:
    """What the kernel says of *cgroup*: in version 2 a frozen process shows as sleeping, so /proc cannot tell."""
    try:
        if (cgroup / "cgroup.events").exists():
            return "frozen 1" in (cgroup / "cgroup.events").read_text()
        return (cgroup / "freezer.state").read_text().strip() == "FROZEN"
    except OSError:
        return False


def members(cgroup: Path) -> list[int]:
    try:
        return [int(line) for line in (cgroup / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _move_all(cgroup: Path, home: Path) -> int:
    """Moves every process of *cgroup* home (to the nearest cgroup above that still exists); how many."""
    while not (home / "cgroup.procs").exists() and home != home.parent:
        home = home.parent
    moved = 0
    for pid in members(cgroup):
        try:
            (home / "cgroup.procs").write_text(str(pid))
            moved += 1
        except ProcessLookupError:
            continue  # it has ended meanwhile
    return moved


def _removed(cgroup: Path) -> bool:
    try:
        cgroup.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True
