"""The harness's end of the guardian: asks, waits for the answer, and heals by itself when the guardian is lost."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contracts import Gates, Helper, ProcessId, TargetError, Told
from harness.model import Undo
from harness.primitives.kill_marked import OP as KILL_MARKED
from harness.primitives.kill_marked import kill_marked
from harness.undo import heal
from harness.undo_log import NAME, UndoLog, read_undo_log

ANSWER_LIMIT_S = 10.0
LEAVE_LIMIT_S = 10.0  # a guardian that is told goodbye heals what is left, and has ended by then
LOST_LIMIT_S = 1.0  # one that is lost already is given no more than this


class GuardianLost(Exception):
    """The guardian died or does not answer: nothing more may be injected."""


class GuardianLink:
    """One guardian process for one run. Its methods may be called from several greenlets; they take turns."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.folder = folder
        self.run_id = run_id
        (folder / "faults").mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        ours.settimeout(ANSWER_LIMIT_S)
        self._link = ours
        self._lines = ours.makefile("rb")
        self._turn = threading.Lock()
        self._undos: dict[str, Undo] = {}
        self._complete: set[str] = set()  # faults whose injection has come to its end
        self.lost = ""
        number = theirs.fileno()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "harness.guardian", str(number), str(folder), run_id],
                pass_fds=(number,),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._lines.close()
            ours.close()
            raise GuardianLost(f"it could not be started: {error.strerror or error}") from None
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _ask(self, op: str, **request: Any) -> dict[str, Any]:
        line = json.dumps({"op": op, **request}).encode() + b"\n"
        with self._turn:
            try:
                self._link.sendall(line)
                answer = self._lines.readline()
            except OSError as error:
                self.lost = self.lost or f"{type(error).__name__}: {error}"
                raise GuardianLost(self.lost) from error
        if not answer:
            self.lost = self.lost or "the guardian has ended"
            raise GuardianLost(self.lost)
        parsed: dict[str, Any] = json.loads(answer)
        if not parsed.pop("ok"):
            raise OSError(parsed["error"])
        return parsed

    def marker(self, fault_id: str) -> str:
        return f"{self.run_id}/{fault_id}"

    def arm(self, fault_id: str, undo: Undo, deadline_s: float) -> Undo:
        """On disk, fsynced, when this returns: the undo with all that only a run knows, for the injection to use.

        Helpers of the fault are always part of its undo. They end first, unless the fault has put a kill_marked
        where it wants it: a proxy must not end before the way to it is taken back.
        """
        primitives = [self._grounded(fault_id, one) for one in undo.primitives]
        if not any(one["op"] == KILL_MARKED for one in primitives):
            primitives.append(kill_marked(self.marker(fault_id)))
        armed = self._undos[fault_id] = Undo(primitives=tuple(primitives))
        self._complete.discard(fault_id)
        self._ask("arm", fault_id=fault_id, undo=primitives, deadline_s=deadline_s)
        return armed

    def _grounded(self, fault_id: str, primitive: Mapping[str, Any]) -> dict[str, Any]:
        """*primitive* with the fault's marker, and with its backup (a bare name) in the run's folder."""
        one = dict(primitive)
        if one["op"] == KILL_MARKED:
            one["marker"] = self.marker(fault_id)
        if "backup" in one:
            one["backup"] = str((self.folder / "faults" / f"{fault_id}.{one['backup']}").resolve())
        return one

    def active(self, fault_id: str) -> None:
        self._complete.add(fault_id)
        self._ask("active", fault_id=fault_id)

    def lease(self) -> None:
        """Says that the harness lives; every second or so."""
        self._ask("lease")

    def heal(self, fault_id: str) -> list[dict[str, Any]]:
        """By the guardian, or here when it is lost; what each primitive did and whether that is verified."""
        try:
            results: list[dict[str, Any]] = self._ask("heal", fault_id=fault_id)["results"]
        except (GuardianLost, OSError):
            results = []
        if not results and fault_id in self._undos:  # it is lost, or has taken the fault back before: read back here
            results = heal(self._undos.get(fault_id, Undo()), fault_id in self._complete)
            healed = all(result["verified"] for result in results)
            with contextlib.suppress(OSError):
                log = UndoLog(self.folder)
                log.write("HEALED" if healed else "STUCK", fault_id, results=results, by="harness")
                log.close()
        return results

    def hands(self, fault_id: str, gates: Gates | None = None) -> FaultHands:
        return FaultHands(self, fault_id, gates)

    def close(self) -> None:
        """Says goodbye; the guardian heals whatever is left and ends. One that hangs is ended, and healed for here.

        Left alive it would hold its log, so that no sweep touched it, and heal once more whenever it went on.
        """
        limit_s = LOST_LIMIT_S if self.lost else LEAVE_LIMIT_S
        try:
            with self._turn:
                self._link.sendall(b'{"op":"bye"}\n')
        except OSError:
            self.lost = self.lost or "the guardian has ended"
        try:
            self.process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.lost = self.lost or "the guardian did not end"
            with contextlib.suppress(OSError):
                for fault_id in read_undo_log(self.folder / NAME).open:
                    self.heal(fault_id)
        self._lines.close()
        self._link.close()


@dataclass(frozen=True)
class FaultHands:
    """contracts.Hands for one fault."""

    link: GuardianLink
    fault_id: str
    gates: Gates | None = None

    def start_helper(self, module: str, arguments: Mapping[str, Any]) -> Helper:
        output = self.link.folder / "faults" / f"{self.fault_id}.jsonl"
        answer = self.link._ask(
            "spawn", fault_id=self.fault_id, module=module, arguments=dict(arguments), output=str(output)
        )
        return Helper(process=ProcessId(**answer["process"]), output=output)

    def alive(self, helper: Helper) -> bool:
        return bool(self.link._ask("alive", pid=helper.process.pid)["alive"])

    def open_gate(self, params: Mapping[str, Any]) -> None:
        if self.gates is None:
            raise TargetError("there is no load generator here that could send it")
        self.gates.open(self.fault_id, params)

    def traffic(self) -> Told:
        return self.gates.told(self.fault_id) if self.gates else Told(problem="there is no load generator")
