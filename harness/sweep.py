"""Takes back what runs before this one have left: from their undo logs, by their helpers' markers, their folders."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.contracts import ProcessId
from harness.model import Undo
from harness.primitives.kill_marked import GUARDIAN_VARIABLE, MARKER_VARIABLE
from harness.primitives.remove_folder import abandoned, remove_folder
from harness.primitives.unmount import unmount
from harness.process import read_process, same, send
from harness.undo import heal
from harness.undo_log import NAME, SWEEP, UndoLog, pid_namespace, read_undo_log


@dataclass(frozen=True, kw_only=True)
class Swept:
    """One fault, one helper without a guardian, or one embedded Grace's folder, and what became of it."""

    where: str  # the run's folder name, "helper", or "folder"
    fault_id: str
    did: str
    verified: bool
    foreign: bool = False  # of another pid namespace: nothing here can tell

    def __str__(self) -> str:
        return f"{self.where} {self.fault_id}: {self.did}" + ("" if self.verified else " (STUCK)")


def sweep(folder: Path) -> list[Swept]:
    """Heals what the logs below *folder* show as open, ends helpers whose guardian is gone, removes folders of twins.

    A log whose guardian lives is left alone: its run goes on. Idempotent; what is healed is written to the log.
    """
    logs = sorted(folder.rglob(NAME)) if folder.is_dir() else []
    return [*(one for log in logs for one in _from_log(log)), *_orphans(), *_folders(time.time())]


def stuck(folder: Path) -> list[str]:
    """The faults of the runs below *folder* that even another try does not show to be healed, in words."""
    logs = sorted(folder.rglob(NAME)) if folder.is_dir() else []
    return [str(one) for log in logs for one in _from_log(log) if not one.verified and not one.foreign]


def _from_log(path: Path) -> Iterator[Swept]:
    try:
        content = read_undo_log(path)
    except OSError as error:
        yield Swept(where=path.parent.name, fault_id="*", did=f"its log cannot be read: {error}", verified=False)
        return
    if content.foreign and content.open:
        why = f"its pids are of another pid namespace ({content.namespace}): heal it there"
        yield Swept(where=path.parent.name, fault_id=", ".join(content.open), did=why, verified=False, foreign=True)
    if content.foreign or content.held:
        return
    for one in content.open.values():
        results = heal(one.undo, one.complete)
        healed = all(result["verified"] for result in results)
        with contextlib.suppress(OSError):  # a full or read-only disk: it is healed all the same, and will be again
            log = UndoLog(path.parent)
            log.write("HEALED" if healed else "STUCK", one.fault_id, results=results, by=SWEEP)
            log.close()
        did = "; ".join(f"{result['op']}: {result['did']}" for result in results)
        yield Swept(where=path.parent.name, fault_id=one.fault_id, did=f"was {one.state}; {did}", verified=healed)


def _orphans() -> Iterator[Swept]:
    """Helpers die with their guardian; one that did not, for whatever reason, is found by its marker."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError, ValueError):
            variables = dict(row.split(b"=", 1) for row in (entry / "environ").read_bytes().split(b"\0") if b"=" in row)
            marker, guardian = variables.get(MARKER_VARIABLE.encode()), variables.get(GUARDIAN_VARIABLE.encode())
            process = read_process(int(entry.name))
            if marker is None or guardian is None or process is None or held(guardian.decode()):
                continue
            ended = send(process, signal.SIGKILL)
            did = f"pid {process.pid} had lost its guardian" + (", killed" if ended else ", gone")
            yield Swept(where="helper", fault_id=marker.decode(errors="replace"), did=did, verified=True)


def _folders(now_s: float) -> Iterator[Swept]:
    """An embedded Grace's folder is removed when it ends, by a process that may have been killed along with the run."""
    for folder in abandoned(now_s):
        results = heal(Undo(primitives=(remove_folder(folder), unmount(folder / "audit", folder.name))))
        did = "; ".join(f"{result['op']}: {result['did']}" for result in results)
        yield Swept(where="folder", fault_id=folder.name, did=did, verified=all(one["verified"] for one in results))


def held(guardian: str) -> bool:
    """Whether the guardian of GUARDIAN_VARIABLE ("PID:START_TICKS:BOOT_ID:PID_NAMESPACE") lives, or is not ours to
    judge because its pid is of another namespace. Raises ValueError.
    """
    pid, start_ticks, boot, namespace = guardian.split(":", 3)
    if namespace != pid_namespace():
        return True
    return same(ProcessId(pid=int(pid), start_ticks=int(start_ticks), boot_id=boot))
