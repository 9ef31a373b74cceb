"""The guardian: a process of its own that holds the undo of every fault and heals when the harness is gone.

Started by harness/guardian_link.py as `python -m harness.guardian FD FOLDER RUN_ID`. It answers one
JSON object a line over a socket. It heals everything on end of file (the harness died, even by SIGKILL), when no
line has come for LEASE_S (the harness hangs), when a fault outlives its deadline, and on SIGTERM. What it will
undo stands in FOLDER/undo.log (harness/undo_log.py), fsynced, before it is done.

Helpers are its children: they die with its main thread (PR_SET_PDEATHSIG), so it is single-threaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.model import Undo
from harness.primitives.kill_marked import GUARDIAN_VARIABLE, MARKER_VARIABLE
from harness.process import read_process
from harness.undo import heal
from harness.undo_log import UndoLog, opened_by, pid_namespace

LEASE_S = 10.0
LEAVE_LIMIT_S = 5.0
AGAIN_S = 1.0  # a fault that could not be healed, or may yet be injected, is taken back again so often
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent_pid: int) -> None:
    """This process gets SIGKILL when the thread that started it ends; at once, if it has ended already."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


class Guardian:
    """Holds {fault id: undo, deadline, helpers} and takes requests until the harness leaves."""

    def __init__(self, link: socket.socket, folder: Path, run_id: str) -> None:
        self.link = link
        self.run_id = run_id
        self.log = UndoLog(folder)
        me = read_process(os.getpid())
        assert me is not None
        self.me = f"{me.pid}:{me.start_ticks}:{me.boot_id}:{pid_namespace()}"
        self.log.write("OPENED", "", **opened_by(me))
        self.undos: dict[str, Undo] = {}
        self.complete: set[str] = set()  # faults whose injection has come to its end
        self.interrupted: set[str] = set()  # taken back while the harness was at their injection
        self.deadlines: dict[str, float] = {}
        self.helpers: dict[int, subprocess.Popen[bytes]] = {}
        self.buffer = b""
        self._answers: dict[str, Callable[..., dict[str, Any]]] = {
            "arm": self.arm,
            "active": self.active,
            "spawn": self.spawn,
            "alive": self.alive,
            "heal": self.heal,
        }
        self.lease_until = time.monotonic() + LEASE_S

    # Requests. Each returns what is answered.

    def arm(self, fault_id: str, undo: list[dict[str, Any]], deadline_s: float) -> dict[str, Any]:
        self.log.write("PLANNED", fault_id, undo=undo, deadline_s=deadline_s)
        self.undos[fault_id] = Undo(primitives=tuple(undo))
        self.deadlines[fault_id] = time.monotonic() + deadline_s
        self.log.write("ARMED", fault_id)
        return {}

    def active(self, fault_id: str) -> dict[str, Any]:
        if fault_id not in self.undos or fault_id in self.interrupted:
            raise ValueError(f"{fault_id} was taken back while it was being injected")
        self.complete.add(fault_id)
        self._note("ACTIVE", fault_id)
        return {}

    def spawn(self, fault_id: str, module: str, arguments: dict[str, Any], output: str) -> dict[str, Any]:
        if fault_id not in self.undos:
            raise ValueError(f"{fault_id} is not armed: a helper is never started before its undo is on disk")
        me = os.getpid()
        with Path(f"{output}.err").open("ab") as errors, Path(output).open("ab") as out:
            child = subprocess.Popen(
                [sys.executable, "-m", module, json.dumps(arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env={**os.environ, MARKER_VARIABLE: f"{self.run_id}/{fault_id}", GUARDIAN_VARIABLE: self.me},
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(me),
            )
        self.helpers[child.pid] = child
        process = read_process(child.pid)
        if process is None:
            raise OSError(f"the helper {module} ended at once; see {output}.err")
        return {"process": asdict(process)}

    def alive(self, pid: int) -> dict[str, Any]:
        child = self.helpers.get(pid)
        return {"alive": child is not None and child.poll() is None}

    def heal(self, fault_id: str, final: bool = True) -> dict[str, Any]:
        """Takes *fault_id* back. Not *final*: the harness may still be at its injection, and what it does after this
        must be taken back as well, so the fault stays open until the harness says so or is gone.
        """
        undo = self.undos.get(fault_id, Undo())
        self._note("HEALING", fault_id)
        results = heal(undo, fault_id in self.complete)
        for child in self.helpers.values():
            child.poll()
        healed = all(result["verified"] for result in results)
        if healed and (final or fault_id in self.complete):
            self._note("HEALED", fault_id, results=results)
            self.undos.pop(fault_id, None)
            self.deadlines.pop(fault_id, None)
            self.interrupted.discard(fault_id)
            return {"results": results}
        if not healed:
            self._note("STUCK", fault_id, results=results)
        elif fault_id in self.undos:
            self.interrupted.add(fault_id)
        self.deadlines[fault_id] = time.monotonic() + AGAIN_S
        return {"results": results}

    def _note(self, state: str, fault_id: str, **detail: Any) -> None:
        """A row that may be missing: without it the fault is healed once more, which does no harm.

        A disk that the fault itself has filled must not keep the guardian from healing.
        """
        with contextlib.suppress(OSError):
            self.log.write(state, fault_id, **detail)

    def heal_all(self, final: bool) -> None:
        for fault_id in list(self.undos):
            self.heal(fault_id, final)

    def leave(self) -> None:
        """Heals what is left, for as long as it takes within LEAVE_LIMIT_S; what is stuck then stands in the log."""
        deadline = time.monotonic() + LEAVE_LIMIT_S
        self.heal_all(final=True)
        while self.undos and time.monotonic() < deadline:
            time.sleep(0.2)
            self.heal_all(final=True)

    # The loop

    def serve(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self.link, selectors.EVENT_READ)
        while True:
            ready = selector.select(timeout=0.25)
            if ready and not self._read():
                self.leave()
                return
            now = time.monotonic()
            if now > self.lease_until:
                self.heal_all(final=False)
                self.lease_until = now + LEASE_S
            for fault_id, deadline in list(self.deadlines.items()):
                if now > deadline:
                    self.heal(fault_id, final=False)

    def _read(self) -> bool:
        """Answers what has come; False when the harness is gone or has said goodbye."""
        try:
            data = self.link.recv(65536)
        except ConnectionError:
            return False
        if not data:
            return False
        self.lease_until = time.monotonic() + LEASE_S
        self.buffer += data
        while b"\n" in self.buffer:
            line, self.buffer = self.buffer.split(b"\n", 1)
            request = json.loads(line)
            op = request.pop("op")
            if op == "bye":
                return False
            answer: dict[str, Any] = {"ok": True}
            try:
                if op != "lease":
                    answer |= self._answers[op](**request)
            except Exception as error:
                answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            try:
                self.link.sendall(json.dumps(answer).encode() + b"\n")
            except ConnectionError:
                return False
        return True


def main() -> None:
    descriptor, folder, run_id = sys.argv[1:4]
    guardian = Guardian(socket.socket(fileno=int(descriptor)), Path(folder), run_id)

    def leave(_number: int, _frame: object) -> None:
        guardian.leave()
        os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    guardian.serve()


if __name__ == "__main__":
    main()
