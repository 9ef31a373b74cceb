"""Starts what the tests need as real processes, and sees that nothing of it is left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def wait_for(condition: Callable[[], Any], limit_s: float, what: str = "the condition") -> Any:
    """The first true value of *condition*; looks often, and fails after *limit_s*."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} was not met within {limit_s} s"
        time.sleep(0.02)
    return value


def pids_with(words: str) -> list[int]:
    """The living processes whose command line holds *words*."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and words.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


@contextlib.contextmanager
def twin(folder: Path, off: str = "", plant: str = "", module: str = "twin") -> Iterator[subprocess.Popen[bytes]]:
    """A twin in *folder*, ready; at the end it is told to stop and nothing of it may live."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    assert alone or "resource_pressure_monitor" in off.split(","), (
        "it sees the CPU of the tests beside it: see `beside`"
    )
    command = [sys.executable, "-m", module, "--dir", str(folder), "--until-stdin-closes"]
    command += ["--safeguards-off", off] if off else []
    command += ["--plant", plant] if plant else []
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline().startswith(b"ready ")
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()
        wait_for(lambda: not pids_with(str(folder)), 3.0, "an end without orphans")


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to whoever asks for any port.

    Each process of a parallel run of the tests has a range of its own, so that none takes what another has chosen.
    """
    first = 20_000 + 2_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    for port in random.sample(range(first, first + 2_000), 2_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"every port from {first} to {first + 1_999} is in use")


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses every connection as long as the block lasts: it is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def locust(
    *words: str, out: Path, before: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """A headless run that hears SIGINT, also where the tests themselves were started in the background.

    *before* is a command that starts it: setpriv, prlimit, unshare.
    """
    command = [sys.executable, "-m", "locust", "-f", "locustfiles/grace.py", "--headless", "--out", str(out), *words]
    return subprocess.Popen(
        [*before, *command],
        env={**os.environ, **(variables or {})},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen[str], limit_s: float = 150.0) -> tuple[int, str]:
    """(exit code, everything that was printed)."""
    try:
        said, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
        raise AssertionError(f"it did not end in {limit_s} s:\n{said[-3000:]}") from None
    return process.returncode, said


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """*process* is told to stop when the block ends without having waited for it."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=30)


def run_folder(out: Path) -> Path:
    return wait_for(lambda: next(iter(out.glob("*/*/timeline.jsonl")), None), 30, "a run folder").parent


def wait_for_event(out: Path, kind: str, subject: str, limit_s: float = 60.0) -> Path:
    """Waits until the timeline tells of *kind* for *subject*; the run folder."""

    def told() -> Path | None:
        for path in out.glob("*/*/timeline.jsonl"):
            for line in path.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    row = json.loads(line)
                    if row["kind"] == kind and row["subject"] == subject:
                        return path.parent
        return None

    found: Path = wait_for(told, limit_s, f"{kind} of {subject}")
    return found


def findings(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "findings.json").read_text())
    return rows
