"""worker_stall and worker_dropout on a twin: the loop is in its worker processes, and each intent is done once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from faults.worker_dropout import WorkerDropout
from faults.worker_stall import WorkerStall
from harness.contracts import TargetError
from harness.guardian_link import GuardianLink
from harness.model import Hold
from harness.process import same
from harness.target import ManifestTarget, load_target
from tests.contract.resources import bring
from tests.processes import twin, wait_for
from tests.twin.client import Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
CALM = "resource_pressure_monitor,rate_limiter"
ONE, TWO = "htm_worker_1", "htm_worker_2"
STALL = WorkerStall(target="htm", stall_seconds=60)


@contextmanager
def running(folder: Path, off: str = CALM) -> Iterator[tuple[Client, ManifestTarget]]:
    with twin(folder, off=off):
        client = Client(folder)
        yield client, load_target(folder / "target.yaml")
        client.close()


def send(client: Client, count: int) -> None:
    for n in range(count):
        assert client.submit(f"i{n}")[0] == 200


def pid_of(target: ManifestTarget, name: str) -> int | None:
    """None between the end of a process and the start of the next one."""
    with suppress(TargetError):
        return target.process(name).pid
    return None


def all_once(client: Client, count: int) -> None:
    wait_for(lambda: client.get("/api/htm/queue")["depth"] == 0, 30, "an empty queue")
    assert client.finished() == {("completed", 1): count}


def test_nobody_sees_it_and_after_the_heal_the_same_processes_go_on(tmp_path: Path, link: GuardianLink) -> None:
    with running(tmp_path / "twin", f"{CALM},worker_watchdog,thread_timeout") as (client, target):
        before = {name: target.process(name) for name in (ONE, TWO)}
        force = bring(STALL, target, link)
        send(client, 100)
        sample = force.wait()
        assert set(sample.detail["looping"]) == {ONE, TWO}
        for name, threads in sample.detail["looping"].items():
            words = Path(f"/proc/{before[name].pid}/task/{threads[0]}/stat").read_text()
            assert words[words.rindex(")") + 2] in "RS" and threads != [before[name].pid]
        done = {name: client.worker(name)["completed"] for name in (ONE, TWO)}
        wait_for(lambda: force.sample().achieved == 100.0, 3, "it holds on")
        assert {name: client.worker(name)["completed"] for name in (ONE, TWO)} == done, "no intent comes to its end"
        print(f"put in within {force.effect.facts['took_ms']} ms: {force.effect.facts['borrowed']}")
        force.heal_twice()
        all_once(client, 100)
        assert all(same(process) for process in before.values())


def test_the_twin_replaces_both_and_that_ends_it(tmp_path: Path, link: GuardianLink) -> None:
    with running(tmp_path / "twin") as (client, target):
        before = {name: target.process(name) for name in (ONE, TWO)}
        force = bring(STALL, target, link)
        send(client, 100)
        force.wait()
        wait_for(lambda: ONE in client.engaged("thread_timeout"), 10, "thread_timeout, of the fault's own subject")
        wait_for(lambda: ONE in client.engaged("worker_watchdog"), 10, "worker_watchdog, of the fault's own subject")
        assert STALL.subject_on(target) == ONE
        sample = wait_for(lambda: s if (s := force.sample()).hold is not Hold.HOLDS else None, 20, "its end")
        assert (
            sample.hold is Hold.TARGET and f"pid {before[ONE].pid} is gone from /proc; {ONE} is now" in sample.because
        )
        assert sample.detail["loops_left"] >= 2, "each was interrupted before"
        all_once(client, 100)
        force.heal_twice()


def test_one_of_two_is_killed_and_comes_back(tmp_path: Path, link: GuardianLink) -> None:
    with running(tmp_path / "twin") as (client, target):
        before = {name: target.process(name) for name in (ONE, TWO)}
        send(client, 200)
        force = bring(WorkerDropout(target="htm"), target, link)
        assert force.wait().achieved == 50.0
        wait_for(lambda: client.engaged("worker_watchdog") == [ONE], 10, "the watchdog")
        wait_for(lambda: pid_of(target, ONE) not in (None, before[ONE].pid), 10, "a new process")
        all_once(client, 200)
        assert same(before[TWO])
        force.heal_twice()
