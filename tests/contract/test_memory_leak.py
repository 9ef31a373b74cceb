"""memory_leak: memory goes evenly, all of it is really held, a floor is kept, and nothing of it stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from faults.helpers.memory_holder import MIB, Use
from faults.helpers.memory_leaker import Leak
from faults.helpers.reading import helper_of, rows
from faults.memory_leak import MemoryLeak
from harness.guardian_link import GuardianLink
from harness.limits import Limits, takes_too_much
from tests.contract.resources import Place, bring
from tests.processes import wait_for

LEAK = MemoryLeak(megabytes=64, over_seconds=2)


def rss_mb(pid: int) -> float:
    lines = dict(line.split(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(lines["VmRSS"].split()[0]) / 1000


def test_it_grows_to_what_was_asked_and_all_of_it_goes(link: GuardianLink) -> None:
    force = bring(LEAK, Place(), link)
    helper = helper_of(force.effect)
    wait_for(lambda: rows(helper.output), 10.0, "the first row")
    sample = force.wait(15.0)
    assert (sample.achieved or 0.0) >= 60.8 == LEAK.asked.floor
    wait_for(lambda: rss_mb(helper.process.pid) > 64, 5.0, "that it is really held")
    held = [row["held_mb"] for row in rows(helper.output)]
    assert held == sorted(held) and len(set(held)) > 4, "a slope and no step"
    force.heal_twice()


def test_a_leak_that_loses_its_helper_is_lost(link: GuardianLink) -> None:
    force = bring(replace(LEAK, megabytes=4), Place(), link)
    force.wait(15.0)
    force.kill_helper()
    force.heal_twice()


def use(room_mib: int) -> Use:
    return Use(1 << 30, 1 << 20, 1 << 29, room_mib * MIB, "the floor is kept")


def test_what_is_due_is_taken_and_no_more() -> None:
    leak = Leak(100, 10.0, lambda: use(1000))
    for since_s, least_mb in ((0.0, 0.0), (1.0, 10.0), (5.0, 50.0), (10.0, 100.0), (99.0, 100.0)):
        leak.step(since_s)
        assert least_mb <= leak.holder.held_bytes / 10**6 < least_mb + 4.2
    assert leak.limited_by == ""


def test_a_floor_is_never_broken_and_is_said() -> None:
    leak = Leak(100, 10.0, lambda: use(2))
    leak.step(10.0)
    assert leak.holder.held_bytes == 0 and leak.limited_by == "the floor is kept"
    leak.look = lambda: use(1000)
    leak.step(1.0)
    leak.look = lambda: use(-1)
    before = leak.holder.held_bytes
    leak.step(10.0)
    assert leak.holder.held_bytes == before - 4 * MIB


def test_its_size_is_known_beforehand_and_its_time_is_scaled() -> None:
    assert LEAK.duration_field == "over_seconds" and LEAK.attain_limit_s == 22.0
    assert takes_too_much(Limits(taken_mb_max=63), LEAK, None).startswith("it would take 64 MB")
