"""One cell of the matrix: a fault, the step of its life at which somebody dies, and who dies."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.catalog import CatalogError, nearest
from harness.killmatrix.recipes import RECIPES
from harness.killmatrix.world import World
from harness.process import read_process
from harness.undo_log import NAME

# Of the undo log, and INJECTED: it is done, and the log does not say so yet.
STATES = ("PLANNED", "ARMED", "INJECTED", "ACTIVE", "HEALING", "STUCK", "HEALED")
VICTIMS = ("harness", "guardian", "both")
STEPS = ("READY", "ARMED", "INJECTED", "ACTIVE", "STUCK", "HEALED")  # STUCK: only where that is aimed at
BEFORE = {"PLANNED": "READY", "HEALING": "ACTIVE"}  # the step after which the log's row is waited for
IN_FORCE = ("INJECTED", "ACTIVE")  # where the fault must be seen from outside, or its end would show nothing
CLEAN_S = 2.0
SEEN_LIMIT_S = 1.0
STEP_LIMIT_S = 30.0
END_LIMIT_S = 15.0  # who survives the kill has healed and ended by then
SOAK_S = 1.6  # a life held for a second, and a little of what comes after it


@dataclass(frozen=True, kw_only=True)
class Cell:
    """*state* is where the kill is aimed at; "" = at a random moment, from *seed*."""

    fault: str
    state: str
    killed: str
    seed: int = 0

    @property
    def kills(self) -> bool:
        return RECIPES[self.fault].kills

    def __str__(self) -> str:
        return f"{self.fault} × {self.state or f'random ({self.seed})'} × {self.killed}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a kill has left.

    left: what was not as before. heal_s: from the last kill until all was, and stayed so until nobody was left to do
    anything; or (both killed) what `heal` took. changed: something was seen to be different, so that there was
    something to take back.
    """

    cell: Cell
    hit: str  # the last state in the undo log when they died
    heal_s: float | None
    left: tuple[str, ...]
    changed: bool

    @property
    def clean(self) -> bool:
        return not self.left


def all_cells(faults: Sequence[str]) -> list[Cell]:
    return [Cell(fault=f, state=s, killed=k) for f in faults for s in STATES for k in VICTIMS]


def diagonal(seed: int, faults: Sequence[str]) -> list[Cell]:
    """A seeded choice: one cell a fault and victim. Every state occurs where there are faults enough."""
    generator = random.Random(seed)
    states = list(STATES)
    generator.shuffle(states)
    return [
        Cell(fault=fault, state=states[(number + shift) % len(states)], killed=killed)
        for number, fault in enumerate(faults)
        for shift, killed in enumerate(VICTIMS)
    ]


def soak(seed: int, count: int, faults: Sequence[str]) -> list[Cell]:
    generator = random.Random(seed)
    return [
        Cell(
            fault=generator.choice(faults), state="", killed=generator.choice(VICTIMS), seed=generator.randrange(2**31)
        )
        for _ in range(count)
    ]


def usable(only: str = "") -> list[str]:
    """The faults that this user can have done; with *only* (FAULT,...) those alone. Raises CatalogError."""
    wanted = [word.strip() for word in only.split(",") if word.strip()]
    for word in wanted:
        if word not in RECIPES:
            raise CatalogError(f"no fault of the matrix is called {word!r}.{nearest(word, RECIPES)}")
    mine = [name for name, recipe in RECIPES.items() if not recipe.root or os.geteuid() == 0]
    if only and not set(mine) & set(wanted):
        raise CatalogError(f"{only}: root is needed")
    return [name for name in mine if not wanted or name in wanted]


def run(cell: Cell) -> Outcome:
    """Lives the fault's life in a new world, kills, and looks until all is as it was for good, or the time is up."""
    folder = Path(tempfile.mkdtemp(prefix="grace-matrix-"))
    world = World(folder / "world")
    life = Life(world, cell)
    try:
        before = world.look()
        life.start()
        life.reach()
        # where the kill must come at once, nothing is looked at before it
        now = before if cell.state in BEFORE else world.look()
        seen_by_s = time.monotonic() + SEEN_LIMIT_S
        while cell.state in IN_FORCE and now == before and time.monotonic() < seen_by_s:
            now = world.look()  # such as a process that has been killed, and is still ending
        if cell.state in IN_FORCE and now == before:
            left = ("nothing: the fault did nothing at all",)
            return Outcome(cell=cell, hit=cell.state, heal_s=None, left=left, changed=False)
        world.clear()  # whoever is left can heal it from here on
        life.kill()
        return settle(cell, world, life, before, changed=bool(differences(before, now, cell.kills)))
    finally:
        life.close()
        world.close()
        shutil.rmtree(folder, ignore_errors=True)


def settle(cell: Cell, world: World, life: Life, before: Mapping[str, Any], changed: bool) -> Outcome:
    """What became of the world after the kill. *changed*: whether it was seen to be different before."""
    hit = _last_state(world.run / NAME)
    started_s = time.monotonic()
    if cell.killed == "both":
        command = [sys.executable, "-m", "harness.cli", "heal", str(world.run)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False, timeout=60)
        done_s = time.monotonic()
        left = differences(before, world.look(), cell.kills)
        heal_s = None if left else done_s - started_s
        return Outcome(cell=cell, hit=hit, heal_s=heal_s, left=left, changed=changed)
    clean_s: float | None = None  # since when every look was clean
    while True:
        ended = life.ended()  # asked first: whoever goes on may still do something after a look
        left = differences(before, world.look(), cell.kills)
        late_s = time.monotonic() - started_s
        changed = changed or bool(left)
        clean_s = None if left else late_s if clean_s is None else clean_s
        if not left and not ended and late_s > END_LIMIT_S:
            left = (f"{life.survivor} goes on {END_LIMIT_S:g} s after the kill",)
        if (ended and not left) or (left and late_s > CLEAN_S):
            return Outcome(cell=cell, hit=hit, heal_s=clean_s if not left else None, left=left, changed=changed)
        time.sleep(0.01)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], kills: bool = False) -> tuple[str, ...]:
    """What is not as before, in words. *kills*: the fault itself kills, and that is the target's to mend."""
    passed_over = {"alive", "cgroups of the victim"} if kills else set()
    return tuple(
        f"{name}: {now.get(name, '')!r}, was {before.get(name, '')!r}"
        for name in {**before, **now}
        if name not in passed_over and now.get(name) != before.get(name)
    )


def _last_state(log: Path) -> str:
    """The last state of the fault in the log; "" when there is none."""
    with contextlib.suppress(OSError):
        for line in reversed(log.read_bytes().split(b"\n")):
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if row["fault_id"]:
                    return str(row["state"])
    return ""


class Life:
    """The process that does the fault, and its guardian."""

    def __init__(self, world: World, cell: Cell) -> None:
        self.world = world
        self.cell = cell
        self.process: subprocess.Popen[str] | None = None
        self.guardian = 0

    def start(self) -> None:
        run_id = self.world.run.name
        command = [sys.executable, "-m", "harness.killmatrix.life", str(self.world.manifest), str(self.world.run)]
        manner = {"": ["straight"], "STUCK": ["stuck", str(self.world.obstacle)]}
        command += [run_id, self.cell.fault, *manner.get(self.cell.state, [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.guardian = int(self.read("READY")["guardian"])
        self.world.owners |= {self.process.pid, self.guardian}
        self.world.own |= {self.process.pid, self.guardian}

    def read(self, wanted: str) -> dict[str, Any]:
        assert self.process and self.process.stdout
        line = self.process.stdout.readline()
        told: dict[str, Any] = json.loads(line) if line else {"at": "its end"}
        if told["at"] != wanted:
            raise RuntimeError(f"{self.cell}: {wanted} was expected, it is at {told}")
        return told

    def go(self) -> None:
        assert self.process and self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def reach(self) -> None:
        """Comes to the state at which the kill is due."""
        if not self.cell.state:
            time.sleep(random.Random(self.cell.seed).uniform(0.0, SOAK_S))
            return
        until = BEFORE.get(self.cell.state, self.cell.state)
        for step in STEPS[1 : STEPS.index(until) + 1]:
            if step != "STUCK" or until == "STUCK":
                self.go()
                self.read(step)
        if self.cell.state in BEFORE:
            self.go()
            self._wait_for_row()

    def _wait_for_row(self) -> None:
        """Without a pause: the row is in the file before it is fsynced, and that is when the kill must come."""
        wanted, log = f'"state": "{self.cell.state}"'.encode(), self.world.run / NAME
        deadline = time.monotonic() + STEP_LIMIT_S
        while not log.exists() or wanted not in log.read_bytes():
            assert self.process
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{self.cell}: the log never told of {self.cell.state}")

    def kill(self) -> None:
        """The guardian first: it must not have the time to heal what the harness left."""
        assert self.process
        if self.cell.killed in ("guardian", "both"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.guardian, signal.SIGKILL)
        if self.cell.killed in ("harness", "both"):
            self.process.kill()

    @property
    def survivor(self) -> str:
        return "the guardian" if self.cell.killed == "harness" else "the harness"

    def ended(self) -> bool:
        """Whether nobody is left: the guardian heals and ends on its own, so does the process when it loses it."""
        assert self.process
        return self.process.poll() is not None and read_process(self.guardian) is None

    def close(self) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.communicate()
        deadline = time.monotonic() + STEP_LIMIT_S
        while self.guardian and read_process(self.guardian) and time.monotonic() < deadline:
            time.sleep(0.01)
