"""memory_pressure takes real memory, keeps the floor, and gives everything back. The sizes are small."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.helpers import memory_holder
from faults.helpers.memory_holder import AIM_POINTS, FLOOR_BYTES, MIB, Holder, Loop, Use, meminfo, use_of_machine
from faults.helpers.reading import helper_of
from faults.memory_pressure import MemoryPressure
from harness.catalog import CatalogError, build_fault
from harness.cgroup import CgroupError, hierarchy, limited, make_group, remove, used_bytes, used_percent
from harness.guardian_link import GuardianLink
from harness.model import Hold
from harness.process import read_process
from tests.contract.resources import Place, bring
from tests.processes import wait_for

LIMIT = 256 * MIB


@pytest.fixture
def group() -> Iterator[Path | None]:
    """A limited group; None where this user may make none (then the fault must fall back, which is tested too)."""
    try:
        one = make_group(LIMIT)
    except CgroupError:
        yield None
        return
    yield one
    remove(one)
    assert not one.exists()


def machine_percent() -> float:
    return use_of_machine([]).percent


def test_the_machine_has_less_available_and_gets_it_back(link: GuardianLink) -> None:
    """By what the kernel says of the machine and of the helper. Others use memory meanwhile: the loop makes it good."""
    asked = machine_percent() + 7.0
    force = bring(MemoryPressure(memory_percent=asked, duration_seconds=5), Place(), link)
    force.wait()
    wait_for(lambda: machine_percent() >= asked - 1.0, 10.0, "the asked use of the machine, read from outside")
    pid = helper_of(force.effect).process.pid
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident >= force.sample().detail["held_bytes"] / 2 > 0, "its pages are really there"
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000", "the helper is killed first"
    assert force.effect.facts["scope"] == "machine" and "scope_because" not in force.effect.facts
    before = meminfo()["AnonPages"]  # a hypervisor may keep what is freed for a while before it is available again
    force.heal_twice()
    wait_for(lambda: meminfo()["AnonPages"] < before - resident / 2, 5.0, "the memory back")


def test_of_a_cgroup_only_its_own_use_rises(group: Path | None, link: GuardianLink) -> None:
    target = Place({"memory_cgroup": group} if group else {})
    force = bring(MemoryPressure(memory_percent=60, duration_seconds=5, scope="target"), target, link)
    if group is None:
        assert force.effect.facts["scope"] == "machine" and "memory_cgroup" in force.effect.facts["scope_because"]
        force.heal_twice()
        return
    force.wait()
    assert 55 < used_percent(group) < 66, "read from outside"
    assert hierarchy(helper_of(force.effect).process.pid).own == group
    assert used_bytes(group) > 0.55 * LIMIT
    force.heal_twice()
    wait_for(lambda: used_percent(group) < 10, 5.0, "the group's memory back")


@pytest.mark.slow
def test_the_hold_follows_the_use_of_others(group: Path | None, link: GuardianLink) -> None:
    if group is None:
        return
    target = Place({"memory_cgroup": group})
    force = bring(MemoryPressure(memory_percent=50, duration_seconds=5, scope="target"), target, link)
    first = force.wait().detail["held_bytes"]
    other = GuardianLink(link.folder / "other", "other")
    second = bring(MemoryPressure(memory_percent=70, duration_seconds=5, scope="target"), target, other)
    second.wait()
    wait_for(lambda: force.sample().detail["held_bytes"] < first, 5.0, "that the first gives back")
    wait_for(lambda: 65 < used_percent(group) < 76, 5.0)
    second.heal_twice()
    other.close()
    wait_for(lambda: 46 < used_percent(group) < 55, 5.0, "that the first takes more again")
    force.heal_twice()


def test_beyond_the_floor_nothing_is_taken_and_that_is_said(group: Path | None, link: GuardianLink) -> None:
    if group is None:
        return
    target = Place({"memory_cgroup": group})
    force = bring(MemoryPressure(memory_percent=99, duration_seconds=5, scope="target"), target, link)
    sample = wait_for(lambda: one if (one := force.sample()).because else None, 10.0, "the reason")
    assert sample.because == "the floor of 48 MiB in a cgroup of 256 MiB is kept"
    assert sample.hold is Hold.HOLDS and sample.achieved < force.fault.asked.floor
    assert used_bytes(group) <= LIMIT - 40 * MIB
    assert read_process(force.effect.facts["pid"]), "and it has not been killed for it"
    force.heal_twice()


def test_a_killed_helper_is_a_lost_fault(link: GuardianLink) -> None:
    force = bring(MemoryPressure(memory_percent=machine_percent() + 6, duration_seconds=5), Place(), link)
    force.wait()
    force.kill_helper()
    force.heal_twice()


def test_a_target_without_a_group_gets_the_machine_and_is_told_why(tmp_path: Path) -> None:
    fault = MemoryPressure(memory_percent=50, duration_seconds=5, scope="target")
    group, why = fault._group(Place())  # type: ignore[arg-type]
    assert group == "" and "names no paths.memory_cgroup" in why
    group, why = fault._group(Place({"memory_cgroup": tmp_path}))  # type: ignore[arg-type]
    assert group == "" and "has no memory limit, or is gone" in why
    (tmp_path / "memory.max").write_text(f"{LIMIT}\n")
    group, why = fault._group(Place({"memory_cgroup": tmp_path}))  # type: ignore[arg-type]
    assert group == "" and "may not put a process into" in why


def test_a_scope_that_does_not_exist_is_refused() -> None:
    values = {"memory_percent": 50, "duration_seconds": 5, "scope": "targt"}
    with pytest.raises(CatalogError, match=r"memory_pressure.scope: no scope is called 'targt'. Did you mean 'target'"):
        build_fault("memory_pressure", values)
    assert build_fault("memory_pressure", {**values, "scope": "target"}).attain_limit_s == 60
    assert 60 <= build_fault("memory_pressure", {**values, "scope": "machine"}).attain_limit_s <= 600


# The loop by itself, on a machine that is told: no memory is touched.


class Told:
    """A machine of *total* bytes of which others use some."""

    def __init__(self, total: int, others: int) -> None:
        self.total, self.others = total, others
        self.loop: Loop | None = None

    def look(self) -> Use:
        held = self.loop.holder.held_bytes if self.loop else 0
        free = self.total - self.others - held
        return Use(self.total, self.others + held, free, free - FLOOR_BYTES, "the floor is kept")


class Nothing(Holder):
    def take(self) -> None:
        self.pieces.append(None)  # type: ignore[arg-type]

    def give_back(self) -> None:
        self.pieces.pop()


def settled(told: Told, percent: float, monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setattr(memory_holder, "Holder", Nothing)
    loop = told.loop = Loop(percent, told.look)
    assert any(not loop.step() for _ in range(2000)), "it comes to rest"
    return loop


def test_it_comes_to_rest_just_above_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = settled(Told(16 << 30, 2 << 30), 85.0, monkeypatch)
    assert 85.0 <= loop.look().percent <= 85.0 + 2 * AIM_POINTS and loop.limited_by == ""


def test_the_floor_is_never_crossed_and_what_it_prevents_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(4 << 30, 1 << 30)
    loop = settled(told, 95.0, monkeypatch)
    assert told.look().available_bytes >= FLOOR_BYTES
    assert loop.limited_by == "the floor is kept" and told.look().percent < 95.0
    assert told.look().room_bytes < loop.holder.piece_bytes, "all that may be taken is taken"
    told.others += 1 << 30
    for _ in itertools.takewhile(lambda _: loop.step(), range(2000)):
        pass
    assert told.look().available_bytes >= FLOOR_BYTES, "others have taken, so it has given back"


def test_what_others_take_and_give_back_is_made_good(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(16 << 30, 1 << 30)
    loop = settled(told, 50.0, monkeypatch)
    for others in (6 << 30, 2 << 30):
        told.others = others
        for _ in itertools.takewhile(lambda _: loop.step(), range(2000)):
            pass
        assert 50.0 <= told.look().percent <= 51.0
    assert loop.limited_by == ""


def test_a_limit_on_the_harness_itself_is_a_bound_as_well(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    for folder, limit in ((tmp_path, 100 * MIB), (inner, None)):
        for name, text in (("max", str(limit or "max")), ("current", f"{30 * MIB}"), ("stat", "inactive_file 0")):
            (folder / f"memory.{name}").write_text(text)
    bounds = limited(inner, tmp_path)
    assert bounds == [tmp_path], "the limit above holds below"
    use = use_of_machine(bounds)
    assert use.room_bytes == (100 - 30 - 48) * MIB
    assert use.floor == "the floor of 48 MiB in a cgroup of 100 MiB is kept"
    assert use_of_machine([]).room_bytes > use.room_bytes


def test_a_machine_that_gives_no_more_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(self: Holder) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(Nothing, "take", take)
    loop = settled(Told(16 << 30, 1 << 30), 50.0, monkeypatch)
    assert loop.limited_by == "the kernel gives no more memory: Cannot allocate memory"


def test_a_piece_is_resident_and_given_back() -> None:
    holder = Holder(4 * MIB, lock=True)
    before = resident()
    for _ in range(8):
        holder.take()
    assert resident() - before >= 30 * MIB and holder.held_bytes == 32 * MIB
    for _ in range(8):
        holder.give_back()
    assert resident() - before < 4 * MIB


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
