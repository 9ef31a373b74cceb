"""Small processes to do things to, where a whole twin would only take longer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

from harness.contracts import ProcessId
from harness.process import read_process


def wait_for(condition: Callable[[], bool], limit_s: float = 2.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        os.sched_yield()


class Victim:
    """A target of one process."""

    bus = None
    kernels = ("victim",)

    def __init__(self) -> None:
        self.child = subprocess.Popen([sys.executable, "-c", "import time\nwhile True: time.sleep(0.05)"])
        wait_for(lambda: read_process(self.child.pid) is not None)

    def process(self, name: str) -> ProcessId:
        found = read_process(self.child.pid)
        assert found
        return found
