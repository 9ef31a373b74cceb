"""No fault outlives the harness: a seeded diagonal of the matrix, and each kind of remains seen red."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import catalog
from harness.killmatrix.cells import STATES, VICTIMS, Cell, Outcome, all_cells, diagonal, differences, run, soak, usable
from harness.killmatrix.recipes import RECIPES
from harness.killmatrix.table import table
from harness.killmatrix.world import World
from harness.primitives.kill_marked import MARKER_VARIABLE
from harness.process import process_state
from tests.processes import wait_for

SEED = 20261125


@pytest.mark.slow
@pytest.mark.parametrize("cell", diagonal(SEED), ids=str)
def test_nothing_is_left(cell: Cell) -> None:
    outcome = run(cell)
    assert outcome.clean, outcome.left


@pytest.mark.slow
@pytest.mark.parametrize("cell", soak(SEED, 6), ids=str)
def test_nothing_is_left_by_a_kill_at_any_moment(cell: Cell) -> None:
    outcome = run(cell)
    assert outcome.clean, outcome.left


def test_every_fault_has_a_recipe_and_every_recipe_a_fault() -> None:
    assert {recipe.type for recipe in RECIPES.values()} == set(catalog.faults())
    for recipe in RECIPES.values():
        catalog.build_fault(recipe.type, dict(recipe.params))


def test_the_diagonal_misses_no_fault_no_state_and_no_victim() -> None:
    for seed in range(20):
        cells = diagonal(seed)
        assert {cell.fault for cell in cells} == set(usable())
        assert {cell.state for cell in cells} == set(STATES) and {cell.killed for cell in cells} == set(VICTIMS)
    assert diagonal(1) == diagonal(1) and soak(1, 9) == soak(1, 9)
    assert len(all_cells()) == len(usable()) * len(STATES) * len(VICTIMS)


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


def test_a_helper_left_alive_is_seen(world: World) -> None:
    before = world.look()
    variables = {**os.environ, MARKER_VARIABLE: f"{world.run.name}/f"}
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    helper = subprocess.Popen(command, stdin=subprocess.PIPE, env=variables)
    try:
        wait_for(lambda: differences(before, world.look()) == (f"helpers: ['{helper.pid}'], was []",), 3)
    finally:
        helper.communicate()


def test_a_dead_victim_is_not_taken_for_remains(world: World) -> None:
    before = world.look()
    world.children[0].kill()
    world.children[0].wait()
    assert world.look() != before and differences(before, world.look()) == ()


def test_the_table_says_what_was_left() -> None:
    cell = Cell(fault="kernel_pause", state="ACTIVE", killed="both")
    clean = Outcome(cell=cell, hit="ACTIVE", heal_s=0.3, left=())
    dirty = Outcome(cell=cell, hit="ACTIVE", heal_s=None, left=("stopped: True, was False",))
    text = table([clean, dirty])
    assert "1 of 2 kills left nothing behind" in text and "| 300 (300) |" in text
    assert "LEFT BEHIND by kernel_pause × ACTIVE × both (in ACTIVE): stopped: True, was False" in text
