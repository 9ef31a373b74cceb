"""Finds the pipe by which a kernel tells its supervisor that it lives, and leads it nowhere, from outside."""

from __future__ import annotations

import os
from pathlib import Path

from faults.helpers import stalling
from faults.helpers.borrowing import NoBorrowing, way_into
from harness.contracts import Hands, ProcessId, Target, TargetError, TargetLacks
from harness.model import Effect, Undo
from harness.primitives import end_loop
from harness.process import same

SUPERVISOR = "supervisor"  # what the manifest calls who hears the heartbeats
VOID = "/dev/null"
ACCESS = 0o3  # of the flags of a descriptor
SOURCES = tuple(Path(__file__).with_name(name) for name in ("endless.py", "muted.py"))


def pipe_to_supervisor(target: Target, kernel: str) -> int:
    """The descriptor of *kernel* whose other end the supervisor reads. Raises TargetLacks if it is not just one."""
    process = target.process(kernel)
    try:
        supervisor = target.process(SUPERVISOR)
    except TargetError as error:
        raise TargetLacks(f"nobody is known to hear the heartbeats of {kernel}: {error}") from None
    heard = {pipe for pipe, _ in _pipes(supervisor, os.O_RDONLY)}
    found = sorted(descriptor for pipe, descriptor in _pipes(process, os.O_WRONLY) if pipe in heard)
    if len(found) != 1:
        raise TargetLacks(f"{len(found)} pipes lead from {kernel} (pid {process.pid}) to its supervisor, not one")
    return found[0]


def _pipes(process: ProcessId, access: int) -> list[tuple[str, int]]:
    """(pipe, descriptor) of each end of a pipe that *process* holds with just this *access*."""
    found = []
    for entry in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            pipe = str(entry.readlink())
            flags = next(
                line.split()[1]
                for line in Path(f"/proc/{process.pid}/fdinfo/{entry.name}").read_text().splitlines()
                if line.startswith("flags:")
            )
        except OSError:
            continue  # closed meanwhile
        if pipe.startswith("pipe:") and int(flags, 8) & ACCESS == access:
            found.append((pipe, int(entry.name)))
    return found


def prepare(target: Target, kernel: str) -> Undo:
    """Touches nothing. Raises TargetLacks where it cannot be done."""
    process = target.process(kernel)
    pipe_to_supervisor(target, kernel)
    try:
        way_into(process)
    except NoBorrowing as error:
        kind = TargetLacks if same(process) else TargetError
        raise kind(f"nothing can be put into {kernel} (pid {process.pid}): {error}") from None
    return Undo(primitives=(end_loop.end_loop(process),))


def inject(target: Target, undo: Undo, kernel: str, seconds: float, hands: Hands) -> Effect:
    descriptor = pipe_to_supervisor(target, kernel)
    sources = "\n".join(path.read_text(encoding="ascii") for path in SOURCES)
    program = stalling.Program(source=sources, name="Muted")
    effect = stalling.inject(undo, (kernel,), str(descriptor), seconds, hands, program)
    facts = {key: value for key, value in effect.facts.items() if key not in ("workers", "location")}
    return Effect(facts={**facts, **effect.facts["workers"][kernel], "descriptor": descriptor})


def leads_to(effect: Effect) -> str:
    """Where the descriptor leads now, as /proc tells it; "" when the process is gone."""
    try:
        return str(Path(f"/proc/{effect.facts['pid']}/fd/{effect.facts['descriptor']}").readlink())
    except OSError:
        return ""
