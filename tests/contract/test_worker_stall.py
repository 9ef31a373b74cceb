"""worker_stall: a real endless loop in a real thread of a process that runs already, and it is gone without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from faults.code_patch import FAULT as CODE_PATCH
from faults.helpers import stalling
from faults.helpers.borrowing import NoBorrowing, run_in
from faults.worker_stall import WorkerStall
from harness.catalog import CatalogError, build_fault
from harness.contracts import TargetError, TargetLacks
from harness.guardian_link import GuardianLink, GuardianLost
from harness.limits import protected
from harness.model import Hold, Sample, Undo
from harness.primitives.end_loop import NOTES, end_loop, left, read_notes
from harness.process import same
from harness.undo import heal
from tests.contract.resources import Force, bring
from tests.contract.victims import Pool
from tests.processes import wait_for

STALL = WorkerStall(target="crew", stall_seconds=60)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def start(**values: Any) -> Pool:
        folder = tmp_path / f"pool-{len(pools)}"
        folder.mkdir()
        pools.append(Pool(folder, **values))
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


def stands_still(pool: Pool, name: str) -> bool:
    """No piece is done in the time in which another process would do five."""
    before = pool.done(name)
    subprocess.run([sys.executable, "-c", "import time\ntime.sleep(0.1)"], check=True)
    return pool.done(name) == before


def full(force: Force) -> Sample:
    return force.wait(5.0)


def test_it_burns_in_the_workers_threads_and_nothing_is_lost(make: Callable[..., Pool], link: GuardianLink) -> None:
    pool = make()
    before = {name: pool.process(name) for name in pool.workers["crew"].processes}
    force = bring(STALL, pool, link)
    assert force.effect.facts["mechanism"] == "a borrowed thread (ptrace)" and force.effect.facts["took_ms"] < 5000
    sample = full(force)
    assert sample.achieved == 100.0 == STALL.asked.value
    assert set(sample.detail["looping"]) == set(before)
    for name, threads in sample.detail["looping"].items():
        assert all(Path(f"/proc/{before[name].pid}/task/{thread}").exists() for thread in threads)
        assert before[name].pid not in threads, "the worker's thread, not the one that was borrowed"
        assert stands_still(pool, name)
    force.heal_twice()
    for name, process in before.items():
        assert same(process), "it is the same process as ever"
        pool.goes_on(name)
        pool.nothing_lost(name)
        threads, frames, *names = pool.state(name).split()
        assert (threads, frames) == ("2", "2") and not {"watch", "call", "grace_chaos_loop"} & set(names)
    assert force.sample().hold is Hold.LOST, "a gate that somebody has taken away is no fault any more"


def test_half_of_them(make: Callable[..., Pool], link: GuardianLink) -> None:
    pool = make(names=("crew_1", "crew_2", "crew_3"))
    force = bring(replace(STALL, share_percent=50), pool, link)
    sample = full(force)
    assert set(sample.detail["looping"]) == {"crew_1", "crew_2"} and sample.achieved == pytest.approx(200 / 3)
    pool.goes_on("crew_3")
    force.heal_twice()


@pytest.mark.parametrize("function", ["wrapped", "shop.execute"])
def test_into_a_closure_and_into_a_method(make: Callable[..., Pool], link: GuardianLink, function: str) -> None:
    pool = make(names=("crew_1",), function=function)
    location = "jobs:Shop.execute" if function == "shop.execute" else ""
    force = bring(replace(STALL, location=location), pool, link)
    full(force)
    assert stands_still(pool, "crew_1")
    force.heal_twice()
    pool.goes_on("crew_1")
    pool.nothing_lost("crew_1")


def test_a_time_out_of_the_targets_own_comes_through(make: Callable[..., Pool], link: GuardianLink) -> None:
    """The thread leaves the loop by the exception, and meets it again at its next piece: the code is still there."""
    pool = make(names=("crew_1",), limit_s=0.3)
    force = bring(STALL, pool, link)
    wait_for(lambda: sum("interrupted" in line for line in pool.done("crew_1")) >= 2, 5, "two interruptions")
    sample = full(force)
    seen = [force.sample() for _ in range(40)]
    assert all(one.achieved == 100.0 for one in seen), "interrupted for a moment is stalled all the same"
    assert sample.detail["loops_left"] >= 2 and sample.detail["loops_entered"] > sample.detail["loops_left"]
    force.heal_twice()
    pool.goes_on("crew_1")
    whole = [line for line in pool.done("crew_1") if "interrupted" not in line]
    assert all(int(line.split()[1]) == int(line.split()[0]) * 2 + 1 for line in whole)


def test_interrupted_and_then_without_work_is_not_stalled(make: Callable[..., Pool], link: GuardianLink) -> None:
    pool = make(names=("crew_1",))
    force = bring(replace(STALL, location="jobs:wrapped"), pool, link)
    gate, pid = Path(force.effect.facts["gate"]), pool.process("crew_1").pid
    notes = gate.with_name(gate.name + NOTES)
    for age_s, achieved, between in ((0.2, 100.0, ["crew_1"]), (5.0, 0.0, [])):
        at_s = time.monotonic() - age_s
        with notes.open("w") as file:
            file.write(f"in {pid} {pid} {at_s - 1}\nout {pid} {pid} {at_s}\n")
        sample = force.sample()
        assert (sample.achieved, sample.detail["interrupted"]) == (achieved, between)


def test_a_stopped_worker_burns_nothing(make: Callable[..., Pool], link: GuardianLink) -> None:
    pool = make(names=("crew_1",))
    force = bring(STALL, pool, link)
    full(force)
    pool.children["crew_1"].send_signal(signal.SIGSTOP)
    wait_for(lambda: force.sample().achieved == 0.0, 3, "that the note alone does not count")
    stuck = link.heal("f")
    assert not all(one["verified"] for one in stuck) and "is in the loop" in str(stuck)
    pool.children["crew_1"].send_signal(signal.SIGCONT)
    wait_for(lambda: all(one["verified"] for one in link.heal("f")), 5, "the end of the loop")
    pool.goes_on("crew_1")


def ended(force: Force, count: int) -> Sample | None:
    sample = force.sample()
    return sample if len(sample.detail["ended_by_the_target"]) == count else None


def test_the_target_ends_it_by_new_processes(make: Callable[..., Pool], link: GuardianLink) -> None:
    pool = make()
    force = bring(STALL, pool, link)
    full(force)
    old = pool.process("crew_1")
    for number, name in enumerate(("crew_1", "crew_2")):
        pool.children[name].kill()
        pool.children[name].wait()
        sample = wait_for(partial(ended, force, number + 1), 3)
        assert sample.hold is Hold.HOLDS and sample.achieved == 100.0, "gone is not yet replaced"
        pool.start(name)
    sample = force.sample()
    new = pool.process("crew_1")
    assert sample.hold is Hold.TARGET
    assert f"pid {old.pid} is gone from /proc; crew_1 is now pid {new.pid}" in sample.because
    pool.goes_on("crew_1")
    force.heal_twice()


def test_gone_before_it_ever_looped_is_a_lost_fault(make: Callable[..., Pool], link: GuardianLink) -> None:
    pool = make(names=("crew_1",))
    force = bring(replace(STALL, location="jobs:wrapped"), pool, link)
    pool.goes_on("crew_1")
    assert force.sample().achieved == 0.0, "nobody calls that function"
    pool.children["crew_1"].kill()
    pool.children["crew_1"].wait()
    sample = force.sample()
    assert sample.hold is Hold.LOST and "crew_1 ended before anything of it was in the loop" in sample.because
    force.heal_twice()


def test_gone_before_the_injection(make: Callable[..., Pool], link: GuardianLink) -> None:
    pool = make(names=("crew_1",))
    undo = link.arm("f", STALL.prepare(pool), 60)  # type: ignore[arg-type]
    pool.children["crew_1"].kill()
    pool.children["crew_1"].wait()
    pool.start("crew_1")
    with pytest.raises(TargetError, match="gone"):
        STALL.inject(pool, undo, link.hands("f"))  # type: ignore[arg-type]
    assert all(one["verified"] for one in link.heal("f"))
    pool.goes_on("crew_1")


def test_a_heal_that_comes_first_leaves_nothing_to_patch(make: Callable[..., Pool], link: GuardianLink) -> None:
    """A thread that is sent after the gate has gone does nothing, though it may have read what stands in the gate."""
    pool = make(names=("crew_1",))
    undo = link.arm("f", STALL.prepare(pool), 60)  # type: ignore[arg-type]
    gate = Path(undo.primitives[0]["backup"])
    stalling._open(gate, "jobs:execute", float("inf"), pool.process("crew_1"))
    text = gate.read_text().replace("inf)", "float('inf'))")
    assert all(one["verified"] for one in link.heal("f")) and not gate.exists()
    late = gate.with_name("late")
    late.write_text(text)
    run_in(pool.process("crew_1"), f"exec(open({str(late)!r}).read(), {{}})")
    notes = wait_for(lambda: [one for one in read_notes(gate) if one.what == "failed"], 3)
    assert "taken back already" in notes[0].why and left(pool.process("crew_1").pid, read_notes(gate)) == ""
    pool.goes_on("crew_1")
    pool.nothing_lost("crew_1")


def test_the_harness_and_its_guardian_killed(make: Callable[..., Pool], tmp_path: Path) -> None:
    """What a later `heal` needs stands in the undo log; and without one the loops end by themselves."""
    pool = make(names=("crew_1",))
    other = GuardianLink(tmp_path, f"test-{os.getpid()}-x")
    force = bring(STALL, pool, other)
    full(force)
    other.process.kill()
    other.process.wait()
    assert stands_still(pool, "crew_1")
    assert all(one["verified"] for one in heal(force.undo))
    pool.goes_on("crew_1")
    other.close()
    short = stalling.SOURCE.read_text() + "\nend = Endless('x:y', '/', '', time.monotonic() - 1).shut()\n"
    names: dict[str, Any] = {}
    exec(short, names)
    assert names["end"], "past its time it is shut, whatever the gate says"


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("nowhere:execute", "no module nowhere is loaded"),
        ("jobs:exekute", "no attribute 'exekute'"),
        ("time:sleep", "time:sleep is no function that is written in Python"),
    ],
)
def test_what_is_not_there_is_said(make: Callable[..., Pool], link: GuardianLink, location: str, words: str) -> None:
    pool = make(names=("crew_1",))
    fault = replace(STALL, location=location)
    undo = link.arm("f", fault.prepare(pool), 60)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match=f"crew_1: .*{words}"):
        fault.inject(pool, undo, link.hands("f"))  # type: ignore[arg-type]
    assert all(one["verified"] for one in link.heal("f"))
    pool.goes_on("crew_1")


def test_twice_at_once_is_refused(make: Callable[..., Pool], link: GuardianLink) -> None:
    pool = make(names=("crew_1",))
    force = bring(STALL, pool, link)
    full(force)
    undo = link.arm("g", STALL.prepare(pool), 60)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="jobs:execute loops already"):
        STALL.inject(pool, undo, link.hands("g"))  # type: ignore[arg-type]
    assert all(one["verified"] for one in link.heal("g"))
    assert stands_still(pool, "crew_1"), "the first one is still in force"
    force.heal_twice()
    pool.goes_on("crew_1")


def test_a_target_that_cannot_be_patched_is_not_applicable(
    make: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make(names=("crew_1",))
    with pytest.raises(TargetLacks, match=r"no pool of workers 'crw'\. Did you mean 'crew'"):
        WorkerStall(target="crw").prepare(pool)  # type: ignore[arg-type]

    def refused(process: object) -> None:
        raise NoBorrowing("this user may not trace it")

    with monkeypatch.context() as patched:
        patched.setattr(stalling, "way_into", refused)
        with pytest.raises(TargetLacks, match=r"nothing can be put into crew_1 \(pid \d+\): this user may not"):
            STALL.prepare(pool)  # type: ignore[arg-type]
    pool.workers = {}
    with pytest.raises(TargetLacks, match="a pool of workers is needed"):
        STALL.prepare(pool)  # type: ignore[arg-type]


def test_the_subject_is_the_first_worker_and_the_limits_see_all(make: Callable[..., Pool]) -> None:
    pool = make()
    assert STALL.subject_on(pool) == "crew_1"  # type: ignore[arg-type]
    undo = STALL.prepare(pool)  # type: ignore[arg-type]
    assert [one["pid"] for one in undo.primitives] == [pool.process(f"crew_{n}").pid for n in (1, 2)]
    me = replace(pool.process("crew_1"), pid=os.getppid())
    assert "its parents" in protected(Undo(primitives=(end_loop(me),)), [])


def test_the_end_of_a_loop_is_read_back(tmp_path: Path, make: Callable[..., Pool]) -> None:
    """The notes decide: planted ones of a process that lives show each kind of remains."""
    process = make(names=("crew_1",)).process("crew_1")
    gate = tmp_path / "gate"
    notes = gate.with_name(gate.name + NOTES)
    one = {**end_loop(process), "backup": str(gate)}
    for text, words in (
        ("patching {0} 1 1.0\npatched {0} 1 1.1\n", "has not got its own code back"),
        (
            "patching {0} 1 1.0\nin {0} 7 1.1\nin {0} 7 1.1\nout {0} 7 1.2\nhealed {0} 1 1.3\n",
            "thread 7 is in the loop",
        ),
        ("patching {0} 1 1.0\nhealed {0} {0} 1.1\n", "has not ended"),
        ("patching {0} 1 1.0\nfailed {0} 1 1.1 why not\n", ""),
        ("patching {0} 1 1.0\nin {0} 7 1.1\nout {0} 7 1.2\nhealed {0} 999999999 1.3\n", ""),
        ("patching 1 1 1.0\n", ""),
    ):
        notes.write_text(text.format(process.pid))
        gate.touch()
        told = heal(Undo(primitives=(one,)))[0]
        assert told["verified"] == (words == "") and words in told["did"] and not gate.exists()
    assert heal(Undo(primitives=(end_loop(process),)))[0]["did"] == "never armed, so there never was a gate"


def test_code_patch_is_the_same_by_another_name() -> None:
    assert CODE_PATCH is WorkerStall
    values = {"target": "htm", "patch": "infinite_loop", "location": "twin.htm.execute:execute"}
    assert build_fault("code_patch", values) == build_fault("worker_stall", values)


def test_who_puts_it_in_may_die_before(make: Callable[..., Pool], link: GuardianLink) -> None:
    """The helper is stopped at its start, and killed; or its guardian is, with whom it dies."""

    class Hands:
        def __init__(self, guardian_too: bool) -> None:
            self.guardian_too = guardian_too

        def start_helper(self, module: str, arguments: Any) -> Any:
            helper = link.hands("f").start_helper(module, {"text": "", "processes": {}})
            wait_for(lambda: not same(helper.process), 5)
            if self.guardian_too:
                link.process.kill()
                link.process.wait()
            return helper

        def alive(self, helper: Any) -> bool:
            return link.hands("f").alive(helper)

    pool = make(names=("crew_1",))
    undo = link.arm("f", STALL.prepare(pool), 60)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="who was to put it into crew_1 has ended before that"):
        STALL.inject(pool, undo, Hands(False))  # type: ignore[arg-type]
    assert all(one["verified"] for one in link.heal("f"))
    undo = link.arm("g", STALL.prepare(pool), 60)  # type: ignore[arg-type]
    link.arm("f", Undo(), 60)
    with pytest.raises(GuardianLost):
        STALL.inject(pool, undo, Hands(True))  # type: ignore[arg-type]
    assert all(one["verified"] for one in link.heal("g"))
    pool.goes_on("crew_1")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "needs target"),
        ({"target": "htm", "patch": "infinite_lop"}, r"'infinite_lop'.* Did you mean 'infinite_loop'"),
        ({"target": "htm", "location": "execute"}, "location: MODULE:FUNCTION is expected, not 'execute'"),
        ({"target": "htm", "share_percent": 101}, "at most 100"),
        ({"target": "htm", "stall_seconds": 0}, "above 0"),
    ],
)
def test_what_cannot_be_is_refused_in_words(values: dict[str, object], words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        build_fault("worker_stall", values)
