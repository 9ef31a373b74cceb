"""Unmounts a file system of ours: the one at that place that carries our mark as its source, and no other.

The kernel unmounts what lies uppermost at a place, and lazily all that is mounted within. When somebody has mounted
something over ours or in it, ours stays until theirs is gone, and is not healed so long.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.mounts import mounts, umount, uppermost

OP = "unmount"


def unmount(point: Path, source: str) -> dict[str, Any]:
    """The primitive for what is mounted on *point* from *source*, a name that nobody else uses."""
    return {"op": OP, "point": str(point), "source": source}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    point, source = Path(str(primitive["point"])), str(primitive["source"])

    def there() -> bool:
        return any(one.point == point and one.source == source for one in mounts())

    if not there():
        return "gone", True
    told = mounts()
    within = [one for one in told if one.point != point and one.point.is_relative_to(point)]
    others = [one for one in (*uppermost(point, told), *within) if one.source != source]
    if others:
        named = ", ".join(f"{one.kind} from {one.source}" for one in others)
        return f"left alone: somebody has mounted over it or in it ({named})", False
    did = "unmounted"
    try:
        umount(point)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        umount(point, lazily=True)
        did = "unmounted, though somebody still has a file open there"
    return did, not there()
