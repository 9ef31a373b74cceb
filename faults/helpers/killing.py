"""Ends processes for good: those very ones that were prepared, and no successor, for only they passed the limits."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from harness.contracts import ProcessId, TargetError
from harness.model import Effect, Undo
from harness.primitives import gone
from harness.process import same, send


def prepare(victims: Mapping[str, ProcessId]) -> Undo:
    """Names the victims, so that the limits see whom it is aimed at."""
    return Undo(primitives=tuple(gone.gone(process) for process in victims.values()))


def victims(undo: Undo) -> dict[str, ProcessId]:
    """{pid as text: who it is}, as they were planned."""
    found = [one for one in undo.primitives if one["op"] == gone.OP]
    return {
        str(one["pid"]): ProcessId(pid=one["pid"], start_ticks=one["start_ticks"], boot_id=one["boot_id"])
        for one in found
    }


def inject(undo: Undo, names: Iterable[str], method: str = "SIGKILL") -> Effect:
    """Sends *method* to the processes of *undo*, which are those of *names* in the same order."""
    victims = [one for one in undo.primitives if one["op"] == gone.OP]
    processes = {
        name: ProcessId(pid=one["pid"], start_ticks=one["start_ticks"], boot_id=one["boot_id"])
        for name, one in zip(names, victims, strict=True)
    }
    number = signal.Signals[method]
    missed = [name for name, process in processes.items() if not send(process, number)]
    if missed:
        raise TargetError(f"{', '.join(missed)}: gone before the {method} came")
    killed = {name: asdict(process) for name, process in processes.items()}
    return Effect(facts={"mechanism": method, "killed": killed})


def left(effect: Effect) -> list[str]:
    """Those that live still, as themselves."""
    killed: Mapping[str, Mapping[str, Any]] = effect.facts["killed"]
    return [name for name, one in killed.items() if same(ProcessId(**one))]
