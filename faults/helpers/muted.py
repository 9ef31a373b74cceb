"""A pipe of a process leads nowhere, for as long as a gate is there: runs inside the target, not here.

faults/helpers/muting.py puts faults/helpers/endless.py and then this text into the gate, so Endless is at hand there:
the gate, the notes and the watcher are its own. What is done is done to the descriptor: it becomes one of /dev/null,
while another keeps the pipe open, for whoever reads it must not see its end.
"""

import os

MYPY = False
if MYPY:
    from typing import Any

    from faults.helpers.endless import Endless


class Muted(Endless):
    """*location* is the number of the descriptor."""

    kept: int = -1
    void: "Any" = None

    def find(self) -> "Any":
        os.fstat(int(self.location))
        return int(self.location)

    def patch(self) -> None:
        descriptor = self.function
        void = os.open("/dev/null", os.O_WRONLY)
        try:
            self.kept = os.dup(descriptor)
            self.void = os.fstat(void)
            os.dup2(void, descriptor, os.get_inheritable(descriptor))
        finally:
            os.close(void)

    def restore(self) -> None:
        """Unless the target has put something else there meanwhile."""
        if self.kept < 0:
            return
        try:
            if os.fstat(self.function).st_rdev == self.void.st_rdev:
                os.dup2(self.kept, self.function, os.get_inheritable(self.function))
        finally:
            os.close(self.kept)
            self.kept = -1
