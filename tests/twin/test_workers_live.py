"""The workers as processes: killed, stopped and looping for ever, and each intent is still carried out once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.target import load_target
from tests.processes import pids_with, twin, wait_for
from tests.twin.client import Client
from tests.twin.test_twin import pid_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
CALM = "resource_pressure_monitor,rate_limiter"
ONE, TWO = "htm_worker_1", "htm_worker_2"
LOOPING = "tests.twin.slow_work"


@contextmanager
def running(folder: Path, off: str = "", module: str = "twin") -> Iterator[Client]:
    with twin(folder, off=",".join(word for word in (CALM, off) if word), module=module):
        client = Client(folder)
        yield client
        client.close()


def send(client: Client, count: int, name: str = "i") -> None:
    for n in range(count):
        assert client.submit(f"{name}{n}")[0] == 200


def all_once(client: Client, count: int, limit_s: float = 30.0) -> None:
    wait_for(lambda: client.get("/api/htm/queue")["depth"] == 0, limit_s, "an empty queue")
    assert client.finished() == {("completed", 1): count}


def loop(folder: Path, *workers: str) -> None:
    (folder / "loops").write_text(" ".join(str(pid_of(folder, name)) for name in workers))


def test_two_workers_share_the_work_at_about_seventy_five_a_second_each(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        send(client, 450)
        all_once(client, 450)
        rows = client.intents().values()
        took_s = max(one["completed_at"] for one in rows) - min(one["accepted_at"] for one in rows)
        rate = 450 / took_s
        print(f"{rate:.0f} intents/s")
        assert 60 < rate < 165, "a machine at work may be slower; faster than this nobody waits for an upstream"
        shares = [client.worker(name)["completed"] for name in (ONE, TWO)]
        assert sum(shares) == 450 and min(shares) > 100


@pytest.mark.beside
def test_the_manifest_names_the_workers_and_they_are_no_kernels(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        target = load_target(tmp_path / "target.yaml")
        assert target.workers["htm"].function == "twin.htm.execute:execute"
        for name in (ONE, TWO):
            process = target.process(name)
            assert client.worker(name)["pid"] == process.pid and process.pid in pids_with(str(tmp_path))
            assert name not in target.kernels
        for name, ledger in target.ledgers.items():
            rows = client.get(ledger.url.replace("{next}", "0"))[ledger.rows]
            assert [row.get("number") for row in rows] == ([1, 2, 3] if name == "knowledge" else []), (
                "what it comes with"
            )


@pytest.mark.beside
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_killed_or_stopped_in_mid_work_is_replaced_and_nothing_is_lost(
    tmp_path: Path, how: signal.Signals
) -> None:
    with running(tmp_path) as client:
        send(client, 300)
        old = pid_of(tmp_path, ONE)
        os.kill(old, how)
        wait_for(lambda: client.engaged("worker_watchdog") == [ONE], 6, "the watchdog")
        wait_for(lambda: pid_of(tmp_path, ONE) != old, 6, "a new process")
        assert not Path(f"/proc/{old}").exists()
        wait_for(lambda: client.engaged("worker_watchdog") == [], 10, "the release")
        all_once(client, 300)
        finished = [one["payload"] for one in client.events("playbook.finished")]
        (done,) = [one for one in finished if one["playbook"] == "worker_restart"]
        assert (done["outcome"], done["subject"]) == ("succeeded", ONE)
        assert done["details"]["old_pid"] == old and done["details"]["new_pid"] == pid_of(tmp_path, ONE)


@pytest.mark.beside
def test_without_the_watchdog_a_dead_worker_stays_dead_and_the_other_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, off="worker_watchdog") as client:
        send(client, 300)
        old = pid_of(tmp_path, ONE)
        os.kill(old, signal.SIGKILL)
        all_once(client, 300)
        assert pid_of(tmp_path, ONE) == old and client.incidents() == []
        before = client.worker(TWO)["completed"]
        send(client, 50, "more")
        all_once(client, 350)
        assert client.worker(TWO)["completed"] == before + 50


def test_work_that_loops_for_ever_is_interrupted_the_worker_replaced_and_the_queue_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, module=LOOPING) as client, ThreadPoolExecutor(1) as beside:
        old = pid_of(tmp_path, ONE)
        loop(tmp_path, ONE)
        sent = beside.submit(send, Client(tmp_path), 600)
        wait_for(lambda: client.engaged("thread_timeout") == [ONE], 6, "thread_timeout")
        assert client.worker(TWO)["completed"] > 50, "the other goes on"
        wait_for(lambda: client.engaged("worker_watchdog") == [ONE], 6, "worker_watchdog")
        wait_for(lambda: pid_of(tmp_path, ONE) != old, 6, "a new process")
        sent.result(timeout=60)
        wait_for(lambda: not client.engaged("worker_watchdog") + client.engaged("thread_timeout"), 10, "the releases")
        all_once(client, 600)
        first = client.incidents("thread_timeout")[0]
        assert "ran for 2." in first["reason"] and first["playbook"] == ""


def test_both_loop_for_ever_and_what_they_were_at_is_not_given_up(tmp_path: Path) -> None:
    """As when the function itself is broken: no intent is to blame."""
    with running(tmp_path, off="worker_watchdog", module=LOOPING) as client:
        loop(tmp_path, ONE, TWO)
        send(client, 5)
        wait_for(lambda: min(client.worker(name)["timed_out"] for name in (ONE, TWO)) >= 4, 20, "many time-outs")
        assert {status for status, _ in client.finished()} <= {"created", "executing"}
        (tmp_path / "loops").unlink()
        all_once(client, 5)


def test_a_thread_that_nothing_interrupts_costs_its_worker_but_no_intent(tmp_path: Path) -> None:
    with running(tmp_path, off="thread_timeout", module=LOOPING) as client:
        old = pid_of(tmp_path, ONE)
        loop(tmp_path, ONE)
        send(client, 100)
        wait_for(lambda: client.engaged("worker_watchdog") == [ONE], 8, "the watchdog")
        wait_for(lambda: pid_of(tmp_path, ONE) != old, 6, "a new process")
        all_once(client, 100)
        (incident,) = client.incidents()
        assert incident["trigger_id"] == "worker_watchdog" and "nothing completed" in incident["reason"]


def test_with_both_safeguards_off_a_lease_ends_by_itself(tmp_path: Path) -> None:
    with running(tmp_path, off="thread_timeout,worker_watchdog", module=LOOPING) as client:
        loop(tmp_path, ONE)
        send(client, 50)
        wait_for(lambda: client.finished()[("completed", 1)] == 49, 10, "all but the one that is held")
        all_once(client, 50, 15)
        (tmp_path / "loops").unlink()  # now it completes what is no longer its own
        send(client, 50, "more")
        all_once(client, 100)


@pytest.mark.beside
def test_the_scheduler_dies_in_mid_work_and_each_intent_is_carried_out_once(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        send(client, 300)
        for _ in range(2):
            old = pid_of(tmp_path, "scheduler")
            os.kill(old, signal.SIGKILL)
            wait_for(lambda pid=old: pid_of(tmp_path, "scheduler") != pid, 10, "a new scheduler")
            wait_for(lambda: client.ask("GET", "/api/htm/queue")[0] == 200, 10, "its route")
        all_once(client, 300)
        assert client.engaged("worker_watchdog") == []


def test_a_scheduler_that_was_stopped_for_a_while_blames_no_worker_for_it(tmp_path: Path) -> None:
    with running(tmp_path, off="kernel_watchdog") as client:
        send(client, 300)
        scheduler, workers = pid_of(tmp_path, "scheduler"), [pid_of(tmp_path, name) for name in (ONE, TWO)]
        os.kill(scheduler, signal.SIGSTOP)
        began_s = time.monotonic()
        wait_for(lambda: time.monotonic() - began_s > 5.0, 6, "longer than a worker may be silent")
        os.kill(scheduler, signal.SIGCONT)
        all_once(client, 300)
        assert client.incidents() == [] and [pid_of(tmp_path, name) for name in (ONE, TWO)] == workers


@pytest.mark.parametrize("victim", ["supervisor", "scheduler", ONE])
def test_no_worker_outlives_the_twin(tmp_path: Path, victim: str) -> None:
    with twin(tmp_path) as process:
        os.kill(pid_of(tmp_path, TWO), signal.SIGSTOP)
        os.kill(pid_of(tmp_path, victim), signal.SIGKILL)
        if victim != "supervisor":
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        wait_for(lambda: not pids_with(str(tmp_path)), 2.0, "an end without orphans")
