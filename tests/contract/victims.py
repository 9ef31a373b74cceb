"""Small processes to do things to, where a whole twin would only take longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.contracts import ProcessId, TargetError, WorkerPool
from harness.process import read_process


def wait_for(condition: Callable[[], object], limit_s: float = 2.0) -> None:
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


class Pool:
    """A target with a pool of workers, `crew`: real processes of *python*, each with a thread that does its pieces."""

    bus = None
    kernels = ()

    def __init__(
        self,
        folder: Path,
        *,
        function: str = "execute",
        limit_s: float = 0.0,
        python: str = sys.executable,
        names: tuple[str, ...] = ("crew_1", "crew_2"),
    ) -> None:
        self.folder, self.function, self.limit_s, self.python = folder, function, limit_s, python
        files = {name: {"pid_file": str(folder / f"{name}.pid")} for name in names}
        self.workers = {"crew": WorkerPool(processes=files, function=f"jobs:{function}")}
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        for name in names:
            self.start(name)
        for name in names:
            wait_for(lambda name=name: self.done(name), 10.0)  # type: ignore[misc]

    def start(self, name: str) -> None:
        """Also in the place of one that is gone, as the target's own playbook would."""
        program = Path(__file__).with_name("pool_worker.py")
        words = [str(program), str(self.folder), name, self.function, str(self.limit_s)]
        self.children[name] = subprocess.Popen([self.python, *words])
        pid = str(self.children[name].pid)
        wait_for(lambda: _text(self.folder / f"{name}.pid") == pid, 10.0)

    def process(self, name: str) -> ProcessId:
        found = read_process(int(_text(self.folder / f"{name}.pid") or 0)) if name in self.children else None
        if found is None:
            raise TargetError(f"no process {name}")
        return found

    def done(self, name: str) -> list[str]:
        """The pieces that the worker has done, a line each."""
        return _text(self.folder / f"{name}.done").split("\n")[:-1]

    def goes_on(self, name: str) -> None:
        before = len(self.done(name))
        wait_for(lambda: len(self.done(name)) > before + 2, 5.0)

    def nothing_lost(self, name: str) -> None:
        """Every piece was done, in order, once, and with the right result."""
        lines = self.done(name)
        assert lines == [f"{number} {number * 2 + 1}" for number in range(1, len(lines) + 1)]

    def state(self, name: str) -> str:
        """What its threads are at, by its own word."""
        state = self.folder / f"{name}.state"
        state.unlink(missing_ok=True)
        self.children[name].send_signal(signal.SIGUSR1)
        wait_for(state.exists, 5.0)
        return state.read_text().strip()

    def close(self) -> None:
        for child in self.children.values():
            child.kill()
            child.wait()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
