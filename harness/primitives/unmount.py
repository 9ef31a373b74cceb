"""Unmounts a file system of ours: the one at that place that carries our mark as its source, and no other."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.mounts import mounts, umount

OP = "unmount"


def unmount(point: Path, source: str) -> dict[str, Any]:
    """The primitive for what is mounted on *point* from *source*, a name that nobody else uses."""
    return {"op": OP, "point": str(point), "source": source}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    point, source = Path(str(primitive["point"])), str(primitive["source"])

    def there() -> bool:
        return any(one.point == point and one.source == source for one in mounts())

    did = "gone"
    if there():
        try:
            umount(point)
            did = "unmounted"
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            umount(point, lazily=True)
            did = "unmounted, though somebody still has a file open there"
    return did, not there()
