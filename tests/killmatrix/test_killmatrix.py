"""No fault outlives the harness: a seeded diagonal of the matrix, and each kind of remains seen red."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.helpers.borrowing import run_in
from faults.helpers.stalling import SOURCE
from harness import catalog
from harness.catalog import CatalogError
from harness.killmatrix.cells import (
    STATES,
    VICTIMS,
    Cell,
    Outcome,
    all_cells,
    diagonal,
    differences,
    run,
    settle,
    soak,
    usable,
)
from harness.killmatrix.recipes import RECIPES
from harness.killmatrix.table import table
from harness.killmatrix.world import World
from harness.model import Undo
from harness.primitives.kill_marked import MARKER_VARIABLE
from harness.primitives.remove_file import remove_file
from harness.process import process_state, read_process
from harness.undo import heal
from harness.undo_log import STATES as LOGGED
from tests.processes import wait_for

SEED = 20261125


@pytest.mark.slow
@pytest.mark.beside
@pytest.mark.parametrize("cell", diagonal(SEED, usable()), ids=str)
def test_nothing_is_left(cell: Cell) -> None:
    outcome = run(cell)
    assert outcome.clean, outcome.left


@pytest.mark.slow
@pytest.mark.beside
@pytest.mark.parametrize("cell", soak(SEED, 6, usable()), ids=str)
def test_nothing_is_left_by_a_kill_at_any_moment(cell: Cell) -> None:
    outcome = run(cell)
    assert outcome.clean, outcome.left


def test_every_fault_has_a_recipe_and_every_recipe_a_fault() -> None:
    sent = {name for name, kind in catalog.faults().items() if getattr(kind, "of_generator", False)}
    assert {recipe.type for recipe in RECIPES.values()} == set(catalog.faults()) - sent
    for recipe in RECIPES.values():
        catalog.build_fault(recipe.type, dict(recipe.params))


def test_the_diagonal_misses_no_fault_no_state_and_no_victim() -> None:
    for seed in range(20):
        cells = diagonal(seed, usable())
        assert {cell.fault for cell in cells} == set(usable())
        assert {cell.state for cell in cells} == set(STATES) and {cell.killed for cell in cells} == set(VICTIMS)
    assert diagonal(1, usable()) == diagonal(1, usable()) and soak(1, 9, usable()) == soak(1, 9, usable())
    assert len(all_cells(usable())) == len(usable()) * len(STATES) * len(VICTIMS)


def test_the_states_are_those_of_the_log_and_one_that_it_does_not_tell_yet() -> None:
    assert set(STATES) == {*LOGGED, "INJECTED"}


def test_one_fault_alone_can_be_asked_for() -> None:
    assert usable("kernel_pause, cpu_spike") == ["cpu_spike", "kernel_pause"]
    with pytest.raises(CatalogError, match="Did you mean 'kernel_pause'"):
        usable("kernel_pauze")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path / "world")
    yield one
    one.close()


def test_a_world_at_rest_does_not_change(world: World) -> None:
    assert differences(world.look(), world.look()) == ()


def test_a_process_left_stopped_is_seen(world: World) -> None:
    before = world.look()
    os.kill(world.children[0].pid, signal.SIGSTOP)
    wait_for(lambda: process_state(world.children[0].pid) == "T", 2)
    assert differences(before, world.look()) == ("stopped: True, was False",)


@pytest.mark.parametrize(
    "harm",
    [
        lambda root: (root / "model.bin").write_bytes((root / "model.bin").read_bytes()[:-1]),
        lambda root: (root / "state.json").unlink(),
        lambda root: (root / "state.json").chmod(0o600),
        lambda root: (root / "left.tmp").touch(),
        lambda root: (root / "links" / "victim.addr").write_text("tcp:127.0.0.1:9\n"),
    ],
)
def test_a_file_left_other_than_it_was_is_seen(world: World, harm: object) -> None:
    before = world.look()
    harm(world.root)  # type: ignore[operator]
    found = differences(before, world.look())
    assert len(found) == 1 and found[0].startswith("file ")


def test_a_loop_left_in_the_worker_is_seen(world: World, tmp_path: Path) -> None:
    """And one that has ended, but for the function's own code or for the thread that watches over it."""
    before = world.look()
    process = read_process(world.children[2].pid)
    gate = tmp_path / "gate"
    gate.touch()
    assert process and before["worker"] == "execute, 2 threads"
    text = SOURCE.read_text() + f"\nendless = Endless('__main__:execute', {str(gate)!r}, '', time.monotonic() + 60)\n"
    run_in(
        process, f"import sys\nnames = {{}}\nexec({text!r}, names)\nsys.endless = names['endless']\nsys.endless.start()"
    )
    wait_for(lambda: "worker: 'grace_chaos_loop, 3 threads'" in str(differences(before, world.look())), 3)
    run_in(process, "import sys\nsys.endless.restore()")
    wait_for(lambda: "worker: 'execute, 3 threads'" in str(differences(before, world.look())), 3)
    gate.unlink()
    wait_for(lambda: differences(before, world.look()) == (), 3)


def test_a_helper_left_alive_is_seen(world: World) -> None:
    before = world.look()
    variables = {**os.environ, MARKER_VARIABLE: f"{world.run.name}/f"}
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    helper = subprocess.Popen(command, stdin=subprocess.PIPE, env=variables)
    try:
        wait_for(lambda: differences(before, world.look()) == (f"helpers: ['{helper.pid}'], was []",), 3)
    finally:
        helper.communicate()


def test_a_process_that_works_on_the_folder_is_seen_without_a_marker(world: World) -> None:
    before = world.look()
    stray = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", str(world.run)], stdin=subprocess.PIPE
    )
    try:
        wait_for(lambda: differences(before, world.look()) == (f"helpers: ['{stray.pid}'], was []",), 3)
        world.own.add(stray.pid)
        assert differences(before, world.look()) == (), "who lives the fault's life is no helper"
    finally:
        stray.communicate()


@pytest.mark.parametrize(("number", "how"), [(signal.SIGSTOP, "stopped"), (signal.SIGKILL, "gone")])
def test_harm_to_another_than_the_victim_is_seen(world: World, number: signal.Signals, how: str) -> None:
    """Also where the fault itself kills: it was never aimed at this one."""
    before = world.look()
    world.children[1].send_signal(number)
    wanted = f"others: ['{how}', 'lives', 'lives'], was ['lives', 'lives', 'lives']"
    wait_for(lambda: differences(before, world.look(), kills=True) == (wanted,), 3)


@pytest.mark.parametrize("removes", [True, False])
def test_a_stuck_fault_that_nobody_tries_again_is_seen(world: World, removes: bool) -> None:
    """What was in the way is gone, and a file of the fault's own is there: to be removed."""
    before = world.look()
    world.obstacle.symlink_to("nowhere")
    assert any("in-the-way" in one for one in differences(before, world.look()))
    world.clear()
    if removes:
        assert all(one["verified"] for one in heal(Undo(primitives=(remove_file(world.obstacle),))))
    assert (differences(before, world.look()) == ()) is removes
    world.clear()
    assert (differences(before, world.look()) == ()) is removes, "nothing is put there where nothing was"


def test_a_cgroup_left_for_the_living_victim_is_seen_and_a_strangers_is_not(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The freezer's group is named after whom it froze, who lives on; a twin that stays has one of its own, too."""
    monkeypatch.setattr("harness.killmatrix.world.CGROUPS", tmp_path / "cgroups")
    before = world.look()
    (tmp_path / "cgroups" / "memory" / "grace-chaos-1-77-1").mkdir(parents=True)
    assert differences(before, world.look()) == ()
    left = tmp_path / "cgroups" / "unified" / f"grace-chaos-{world.children[0].pid}-77"
    left.mkdir(parents=True)
    assert differences(before, world.look()) == (f"cgroups: {[str(left)]}, was []",)


def test_a_dead_victim_is_excused_where_the_fault_itself_kills_and_nowhere_else(world: World) -> None:
    """A heal that ends the paused process has not given it back."""
    before = world.look()
    world.children[0].kill()
    world.children[0].wait()
    assert world.look() != before and differences(before, world.look(), kills=True) == ()
    assert "alive: False, was True" in differences(before, world.look(), kills=False)
    assert [name for name, recipe in RECIPES.items() if recipe.kills] == ["kernel_kill", "worker_dropout"]


class Survivor:
    """Who goes on after the kill, instead of killmatrix.cells.Life: does *acts* at their times, then has ended.

    The times count from when it is first asked, which is when the time of the kill counts from.
    """

    survivor = "the guardian"

    def __init__(self, acts: dict[float, Callable[[], object]]) -> None:
        self.began_s, self.acts = 0.0, dict(sorted(acts.items()))

    def ended(self) -> bool:
        self.began_s = self.began_s or time.monotonic()
        for at_s in [one for one in self.acts if time.monotonic() - self.began_s >= one]:
            self.acts.pop(at_s)()
        return not self.acts


def settled(world: World, acts: dict[float, Callable[[], object]], changed: bool = False) -> Outcome:
    cell = Cell(fault="kernel_pause", state="ARMED", killed="harness")
    return settle(cell, world, Survivor(acts), world.look(), changed)  # type: ignore[arg-type]


def test_what_a_survivor_does_after_the_first_clean_look_is_seen(world: World) -> None:
    late = world.root / "late.tmp"
    outcome = settled(world, {0.5: late.touch, 0.6: lambda: None})
    assert not outcome.clean and outcome.left[0].startswith("file late.tmp") and outcome.heal_s is None


def test_clean_is_counted_from_the_look_after_which_nothing_came(world: World) -> None:
    late = world.root / "late.tmp"
    outcome = settled(world, {0.2: late.touch, 0.6: late.unlink, 1.0: lambda: None})
    assert outcome.clean and outcome.changed and outcome.heal_s is not None and 0.6 <= outcome.heal_s < 1.0


def test_a_survivor_that_does_not_end_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.killmatrix.cells.CLEAN_S", 0.1)
    monkeypatch.setattr("harness.killmatrix.cells.END_LIMIT_S", 0.2)
    outcome = settled(world, {60.0: lambda: None})
    assert outcome.left == ("the guardian goes on 0.2 s after the kill",) and not outcome.changed


def test_the_table_says_what_was_left() -> None:
    cell = Cell(fault="kernel_pause", state="ACTIVE", killed="both")
    clean = Outcome(cell=cell, hit="ACTIVE", heal_s=0.3, left=(), changed=True)
    idle = Outcome(cell=cell, hit="PLANNED", heal_s=0.0, left=(), changed=False)
    dirty = Outcome(cell=cell, hit="ACTIVE", heal_s=None, left=("stopped: True, was False",), changed=True)
    text = table([clean, idle, idle, dirty])
    assert "3 of 4 kills left nothing behind" in text and "2 of them met something changed" in text
    assert "| kernel_pause | 4, 2 | – | – | 300 (300), 1 |" in text, "kills that met nothing have no time"
    assert "LEFT BEHIND by kernel_pause × ACTIVE × both (in ACTIVE): stopped: True, was False" in text
