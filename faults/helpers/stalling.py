"""Stalls workers of a target: puts the endless loop into their processes, and sees who is really in it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults.helpers.borrowing import NoBorrowing, way_into
from faults.helpers.pools import pool_of, processes_of
from faults.helpers.reading import rows
from harness.contracts import Hands, ProcessId, Target, TargetError, TargetLacks
from harness.model import Effect, Hold, Sample, Undo
from harness.primitives import end_loop
from harness.primitives.end_loop import NOTES, Note, looping, read_notes
from harness.process import same

BELT_S = 60.0  # the loops end by themselves so long after their time, should nobody end them
INJECTION_LIMIT_S = 10.0
BETWEEN_S = 1.0  # a thread that the target has interrupted has so long to come to its next piece of work
BURNING_LIMIT_S = 0.04
BURNING_LOOK_S = 0.004


@dataclass(frozen=True)
class Program:
    """What is run in a target: *name* is the class of *source* that does it, with a location, gate, notes and end."""

    source: str
    name: str


SOURCE = Path(__file__).with_name("endless.py")
ENDLESS = Program(SOURCE.read_text(encoding="ascii"), "Endless")


def prepare(target: Target, names: tuple[str, ...]) -> Undo:
    """Looks into each process, which takes the same rights as the injection. Raises TargetLacks where they lack."""
    processes = processes_of(target, names)
    for name, process in processes.items():
        try:
            way_into(process)
        except NoBorrowing as error:
            kind = TargetLacks if same(process) else TargetError
            raise kind(f"nothing can be put into {name} (pid {process.pid}): {error}") from None
    return Undo(primitives=tuple(end_loop.end_loop(process) for process in processes.values()))


def inject(
    undo: Undo, names: tuple[str, ...], location: str, stall_seconds: float, hands: Hands, program: Program = ENDLESS
) -> Effect:
    """Opens the gate, sends a thread of each process to read it, and waits until all have done so."""
    victims = dict(zip(names, (_process(one) for one in _loops(undo)), strict=True))
    gate = _gate(undo)
    began_s = time.monotonic()
    _open(gate, location, began_s + stall_seconds + BELT_S, victims[names[0]], program)
    text = f"try:\n exec(open({str(gate)!r}).read(), {{'__name__': 'endless'}})\nexcept OSError:\n pass\n"
    arguments = {"text": text, "processes": {name: asdict(process) for name, process in victims.items()}}
    helper = hands.start_helper("faults.helpers.borrower", arguments)
    deadline = began_s + INJECTION_LIMIT_S
    while True:
        lives = same(helper.process)
        told = rows(helper.output)
        problems = [str(row["error"]) for row in told if "error" in row]
        notes = read_notes(gate)
        problems += [f"{_name(victims, one.pid)}: {one.why}" for one in notes if one.what == "failed"]
        if problems:
            raise TargetError("; ".join(problems))
        patched = {one.pid: one for one in notes if one.what == "patched"}
        late = [name for name, process in victims.items() if process.pid not in patched]
        borrowed = {str(row["name"]): _without(row, "name", "at", "pressure") for row in told if "name" in row}
        if not late and (len(borrowed) == len(victims) or not lives):
            break
        if not lives and len(borrowed) < len(victims):
            hands.alive(helper)  # says so when it has died with its guardian
            raise TargetError(
                f"who was to put it into {', '.join(late)} has ended before that; see {helper.output}.err"
            )
        if time.monotonic() > deadline:
            raise TargetError(f"{', '.join(late or victims)} did not take the loop within {INJECTION_LIMIT_S:g} s")
        time.sleep(0.005)
    return Effect(
        facts={
            "mechanism": "a borrowed thread (ptrace)",
            "location": location,
            "gate": str(gate),
            "workers": {name: asdict(process) for name, process in victims.items()},
            "borrowed": borrowed,
            "took_ms": round(1000 * (time.monotonic() - began_s), 1),
        }
    )


def _open(gate: Path, location: str, until_s: float, victim: ProcessId, program: Program = ENDLESS) -> None:
    """The notes first: who finds the gate open must be able to write what it does."""
    notes = gate.with_name(gate.name + NOTES)
    notes.touch(mode=0o600, exist_ok=False)
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            owner = Path(f"/proc/{victim.pid}").stat()
            os.chown(notes, owner.st_uid, owner.st_gid)
    call = f"\n\n{program.name}({location!r}, {str(gate)!r}, {str(notes)!r}, {until_s!r}).start()\n"
    gate.write_text(program.source + call, encoding="utf-8")


def sample(target: Target, pool: str, effect: Effect) -> Sample:
    """Who is in the loop now, or was until the target ended its process; in percent of the whole pool.

    A thread counts that has noted that it is in the loop, and whose CPU clock runs. While the gate is there nobody
    leaves the loop but by an exception that the target has raised in it, such as its own time-out: that thread is on
    its way back into it, and its process counts for a moment.
    """
    gate = Path(effect.facts["gate"])
    workers = {name: ProcessId(**one) for name, one in effect.facts["workers"].items()}
    notes = read_notes(gate)
    gone = {name for name, process in workers.items() if not same(process)}
    looped = {one.pid for one in notes if one.what == "in"}
    lost = [name for name in gone if workers[name].pid not in looped]
    if lost:
        because = f"{', '.join(sorted(lost))} ended before anything of it was in the loop"
        return Sample(achieved=None, hold=Hold.LOST, because=because)
    if not gate.exists() and len(gone) < len(workers):
        return Sample(achieved=None, hold=Hold.LOST, because="the loop's gate is gone, and not by this run's heal")
    stalled = {name: _burning(workers[name].pid, notes) for name in workers if name not in gone}
    stalled = {name: threads for name, threads in stalled.items() if threads}
    successors = {name: asdict(new) for name in sorted(gone) if (new := _successor(target, name, workers[name]))}
    between = _between(workers, notes, time.monotonic()) - gone - set(stalled)
    achieved = 100.0 * (len(stalled) + len(between) + len(gone)) / len(pool_of(target, pool).processes)
    detail = {
        "looping": stalled,
        "interrupted": sorted(between),
        "loops_entered": sum(one.what == "in" for one in notes),
        "loops_left": sum(one.what == "out" for one in notes),
        "ended_by_the_target": sorted(gone),
        "successors": successors,
    }
    if len(successors) == len(workers):
        because = "; ".join(
            f"pid {workers[name].pid} is gone from /proc; {name} is now pid {new['pid']}"
            f" (started at tick {new['start_ticks']})"
            for name, new in successors.items()
        )
        return Sample(achieved=achieved, hold=Hold.TARGET, because=because, detail=detail)
    return Sample(achieved=achieved, detail=detail)


def _between(workers: Mapping[str, ProcessId], notes: list[Note], now_s: float) -> set[str]:
    """Those of which a thread has left the loop just now, and none is in it."""
    left = {one.pid for one in notes if one.what == "out" and now_s - one.at_s < BETWEEN_S}
    return {name for name, one in workers.items() if one.pid in left and not looping(one.pid, notes)}


def _burning(pid: int, notes: list[Note]) -> list[int]:
    """The threads of *pid* that are in the loop and take CPU time at this moment."""
    before = {thread: _cpu_ns(pid, thread) for thread in looping(pid, notes)}
    burning: set[int] = set()
    deadline = time.monotonic() + BURNING_LIMIT_S
    while len(burning) < len(before) and time.monotonic() < deadline:
        time.sleep(BURNING_LOOK_S)
        burning |= {thread for thread, was_ns in before.items() if _cpu_ns(pid, thread) > was_ns >= 0}
    return sorted(burning)


def _cpu_ns(pid: int, thread: int) -> int:
    """What *thread* has run so far; -1 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return -1


def _successor(target: Target, name: str, old: ProcessId) -> ProcessId | None:
    try:
        new = target.process(name)
    except TargetError:
        return None
    return new if new != old else None


def victims(undo: Undo) -> list[ProcessId]:
    """The workers, as they were planned."""
    return [_process(one) for one in _loops(undo)]


def _loops(undo: Undo) -> list[Mapping[str, Any]]:
    return [one for one in undo.primitives if one["op"] == end_loop.OP]


def _gate(undo: Undo) -> Path:
    return Path(str(_loops(undo)[0]["backup"]))


def _process(one: Mapping[str, Any]) -> ProcessId:
    return ProcessId(pid=one["pid"], start_ticks=one["start_ticks"], boot_id=one["boot_id"])


def _name(victims: Mapping[str, ProcessId], pid: int) -> str:
    return next((name for name, process in victims.items() if process.pid == pid), f"pid {pid}")


def _without(row: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in keys}
