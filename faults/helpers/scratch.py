"""A file of a helper's own that nobody else sees: it has no name, so that it is gone with its last descriptor."""

from __future__ import annotations

import errno
import os
from pathlib import Path

NOT_HERE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)


def open_scratch(path: Path, flags: int = 0) -> int:
    """A descriptor for reading and writing, with *flags*, of a new file beside *path*.

    Nameless from the start where the file system can do that; else it is made at *path* and unlinked at once (so
    *path* is part of the fault's undo). Raises OSError; EINVAL when the file system does not take *flags*.
    """
    try:
        return os.open(path.parent, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC | flags, 0o600)
    except OSError as error:
        if error.errno not in NOT_HERE:
            raise
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | flags, 0o600)
    os.unlink(path)  # noqa: PTH108
    return descriptor
