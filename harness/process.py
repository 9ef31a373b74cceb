"""Who a process is, for good, and how to signal it without ever hitting another: pidfd, start time, boot id."""

from __future__ import annotations

import os
import signal
import time
from functools import cache
from pathlib import Path

from harness.contracts import ProcessId

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command name (which may hold anything); None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return text[text.rindex(")") + 2 :].split()


def read_process(pid: int) -> ProcessId | None:
    """The identity of the process that has *pid* now; None when there is none, or only a zombie."""
    fields = _stat_fields(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return ProcessId(pid=pid, start_ticks=int(fields[19]), boot_id=boot_id())


def pid_of_file(path: Path) -> int:
    """The pid that a file holds; 0 when it holds none."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def pids_of_words(words: str) -> list[int]:
    """The processes whose command line holds *words*."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if words in line:
                found.append(int(entry.name))
    return found


def process_state(pid: int) -> str:
    """The state letter of /proc (R S D T t Z X ...); "" when there is no such process."""
    fields = _stat_fields(pid)
    return fields[0] if fields else ""


def same(process: ProcessId) -> bool:
    """Whether *process* still lives, as itself."""
    return read_process(process.pid) == process


def age_s(process: ProcessId) -> float:
    """Seconds since *process* began, by its start time in /proc, which counts from boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.start_ticks / TICKS_A_SECOND


def resident_mb(process: ProcessId) -> float | None:
    """How much memory it has in RAM, pages that it shares with others among it; None when it is gone."""
    try:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * PAGE_BYTES / 2**20


def ancestors() -> set[int]:
    """The pids of this process's parent, its parent's parent and so on; pid 1 is not among them."""
    found: set[int] = set()
    pid = os.getppid()
    while pid > 1 and pid not in found:
        found.add(pid)
        fields = _stat_fields(pid)
        pid = int(fields[1]) if fields else 0
    return found


def refuse_harm(process: ProcessId) -> None:
    """Raises ValueError for those that no fault is ever aimed at: pid 1, this process, and all of its parents.

    Every way of stopping or ending a process passes here, whatever the fault's undo says of its victims.
    """
    if process.pid <= 1 or process.pid == os.getpid():
        raise ValueError(f"pid {process.pid} is never a target")
    if process.pid in ancestors():
        raise ValueError(f"pid {process.pid} is never a target: it is a parent of this process")


def send(process: ProcessId, number: signal.Signals) -> bool:
    """Sends a signal to *process* and to no other. False: it is gone (also when its pid has a new owner).

    The descriptor is taken before the identity is compared, so that the pid cannot change hands in between.
    Raises ValueError for pid 1 and for this process, and for its parents unless the signal lets them go on.
    """
    if number is not signal.SIGCONT or process.pid <= 1 or process.pid == os.getpid():
        refuse_harm(process)
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not same(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
