"""The second witness of a magnitude: what it counts, what it says of a fault that is less than it reports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faults.helpers.process_witness import Spinning, Standstill, anonymous_mb, gone, io_calls
from faults.helpers.request_witness import Connections
from faults.helpers.witness import Ever, Level, Rate, Slower, Total, counted
from harness import catalog
from harness.contracts import ProcessId
from harness.judge import judge
from harness.model import Effect, Finding, Kind, Magnitude, Verdict
from harness.process import read_process
from harness.traffic import RequestRow
from tests.drafts import FLOOD_END, INJECTED, Draft, healthy
from tests.flood.shapes import until

NONE = Effect()
PAGE = '# TYPE a counter\na{route="POST /x",status="200"} 7\na{route="POST /y",status="200"} 5\nb 3 1700000000\n'
CONTRADICTED = {"name": "the kernel", "mean": 45.0, "error": 0.0}


def attained(draft: Draft, folder: Path, step: str) -> Finding:
    findings = judge(draft.record(folder))
    return next(one for one in findings if one.check == "fault_attained" and one.claim.startswith(step))


def test_a_magnitude_without_a_second_witness_is_told(tmp_path: Path) -> None:
    draft = healthy()
    first, *others = draft.plan.steps
    also = (Magnitude(name="concurrency", value=9.0, unit="in flight", tolerance=0.5),)
    draft.plan = replace(draft.plan, steps=(replace(first, also_asked=also), *others))
    witness = {**CONTRADICTED, "mean": 1000.4}
    draft.change(Kind.FAULT_ENDED, first.step_id, told={"also": {"concurrency": 9.0}}, witness=witness)
    alone = attained(draft, tmp_path / "alone", first.step_id)
    assert alone.verdict is Verdict.PASS and "no second witness of its concurrency" in alone.because
    draft.change(Kind.FAULT_ENDED, first.step_id, witness={**witness, "also": {"concurrency": 9.0}})
    assert "no second witness" not in attained(draft, tmp_path / "two", first.step_id).because


@pytest.mark.parametrize(
    ("step", "detail", "code"),
    [
        ("cpu_spike", {"witness": CONTRADICTED}, "witness_disagrees"),
        ("cpu_spike", {"witness": {**CONTRADICTED, "mean": 85.4}}, "shown"),
        ("cpu_spike", {"witness": {**CONTRADICTED, "mean": 99.0}}, "shown"),
        ("cpu_spike", {"witness": {**CONTRADICTED, "mean": 84.0}}, "witness_disagrees"),
        ("acl_flood", {"witness": {**CONTRADICTED, "mean": 949.0}}, "witness_disagrees"),
        ("acl_flood", {"witness": {**CONTRADICTED, "mean": 949.0, "error": 2.0}}, "shown"),
        ("acl_flood", {"witness": {"name": "the bus", "because": "it cannot be read"}}, "witness_silent"),
        ("acl_flood", {"witness": None}, "witness_silent"),
        ("acl_flood", {"witness": {**CONTRADICTED, "mean": 1000.0, "stale_s": 5.2}, "lasted_s": 7.1}, "witness_silent"),
        ("acl_flood", {"witness": {**CONTRADICTED, "mean": 1000.0, "stale_s": 4.0}, "lasted_s": 7.1}, "shown"),
        ("kernel_pause", {"witness": {**CONTRADICTED, "mean": 0.0}}, "witness_disagrees"),
        ("kernel_pause", {"witness": {**CONTRADICTED, "mean": 1.0, "last": 1.0}}, "ended_early"),
        ("kernel_pause", {"witness": {**CONTRADICTED, "mean": 1.0, "last": 0.0}}, "shown"),
        ("cpu_spike", {"lasted_s": 4.0}, "ended_early"),
        ("cpu_spike", {"lasted_s": 5.6}, "shown"),
        ("kernel_pause", {"lasted_s": 1.0}, "shown"),
    ],
)
def test_witness_and_duration(tmp_path: Path, step: str, detail: dict[str, Any], code: str) -> None:
    one = attained(healthy().change(Kind.FAULT_ENDED, step, **detail), tmp_path, step)
    verdict = Verdict.PASS if code == "shown" else Verdict.INCONCLUSIVE
    assert (one.code, one.verdict) == (f"fault_attained.{code}", verdict), one.because


def test_all_that_fell_short_is_named(tmp_path: Path) -> None:
    draft = healthy().change(Kind.FAULT_ENDED, "cpu_spike", lasted_s=4.0, witness=CONTRADICTED)
    one = attained(draft, tmp_path, "cpu_spike")
    assert (one.code, one.also) == ("fault_attained.ended_early", ("fault_attained.witness_disagrees",))
    assert "it ended 4.0 s" in one.because and "its witness" in one.because


ROUTE = "POST /api/htm/intents"


@pytest.mark.parametrize(
    ("user", "status", "code"),
    [
        ("legitimate", 200, "witness_disagrees"),
        ("legitimate", 503, "witness_disagrees"),
        ("probe", 200, "witness_disagrees"),
        ("legitimate", 0, "shown"),  # nobody answered it, so nobody may have counted it
        ("htm_flood", 200, "shown"),
    ],
)
def test_what_others_asked_on_the_same_route_is_not_the_floods(
    tmp_path: Path, user: str, status: int, code: str
) -> None:
    draft = healthy()
    row = RequestRow(12.0, user, ROUTE, "ok", status, 100, ((5, 100),))
    draft.requests = [one for one in draft.requests if one.name != ROUTE] + [row]
    witness = {"name": "the gateway", "mean": 1000.0, "error": 0.0}
    draft.change(Kind.FAULT_ENDED, "acl_flood", witness=witness)
    assert attained(draft, tmp_path / "all", "acl_flood").code == "fault_attained.shown"
    draft.change(Kind.FAULT_ENDED, "acl_flood", witness={**witness, "route": ROUTE})
    assert attained(draft, tmp_path / "theirs", "acl_flood").code == f"fault_attained.{code}"


@pytest.mark.parametrize(("at_s", "others"), [(INJECTED - 0.5, 0), (12.0, 100), (FLOOD_END + 0.5, 0)])
def test_only_what_was_asked_during_the_flood_is_taken_from_its_witness(
    tmp_path: Path, at_s: float, others: int
) -> None:
    draft = healthy()
    row = RequestRow(at_s, "legitimate", ROUTE, "ok", 200, 100, ((5, 100),))
    draft.requests = [one for one in draft.requests if one.name != ROUTE] + [row]
    draft.change(Kind.FAULT_ENDED, "acl_flood", witness={"name": "the gateway", "mean": 1000.0, "route": ROUTE})
    assert draft.record(tmp_path).fault("acl_flood").others == others


def test_a_pause_that_never_happened_accuses_nobody(tmp_path: Path) -> None:
    draft = healthy().change(Kind.FAULT_ENDED, "kernel_pause", witness={"name": "/proc", "mean": 0.0})
    draft.drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog").drop(Kind.PLAYBOOK_STARTED, "kernel_restart")
    draft.drop(Kind.KERNEL_CHANGED, "memory_fusion", "processes")
    findings = judge(draft.record(tmp_path))
    assert Verdict.FAIL not in {one.verdict for one in findings}, [one for one in findings if one.verdict == "FAIL"]
    assert Verdict.INCONCLUSIVE in {one.verdict for one in findings if one.check == "safeguard_engaged"}


def test_a_fault_that_happened_is_still_accused(tmp_path: Path) -> None:
    draft = healthy().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog")
    assert Verdict.FAIL in {one.verdict for one in judge(draft.record(tmp_path)) if one.group == "safeguard"}


def test_every_fault_names_its_witness() -> None:
    for name, kind in catalog.faults().items():
        assert isinstance(kind.witness, str) and kind.witness, name
        assert callable(kind.start_witness), name


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([None], [1.0, None]),  # the process is gone at the last look
        ([0.2, None], [1.0, 0.0]),  # the value from before the attainment is not of the fault
    ],
)
def test_a_look_without_a_value_moves_no_bound(before: list[float | None], after: list[float | None]) -> None:
    values = iter([*before, *after])
    level = Level(lambda _: next(values))
    for _ in before:
        level.sample(NONE)
    level.attained()
    for _ in after:
        level.sample(NONE)
    level.ended()
    assert level.mean() == 1.0


def test_level_counts_from_attainment_to_the_end() -> None:
    values = iter([0.0, 10.0, 20.0, 30.0, 0.0])
    level = Level(lambda _: next(values))
    level.sample(NONE)
    level.sample(NONE)
    level.attained()
    for _ in range(3):
        level.sample(NONE)
    level.ended()
    assert level.mean() == 20.0


def test_rate_is_of_the_whole_time_and_survives_a_restart() -> None:
    counts = iter([(0.0, 100.0), (1.0, 300.0), (4.0, 600.0), (5.0, 2.0), (6.0, 52.0)])
    rate = Rate(lambda _: next(counts))
    assert [rate.sample(NONE) for _ in range(2)] == [None, 200.0]
    rate.attained()
    assert rate.sample(NONE) == 100.0 == rate.mean()
    assert rate.sample(NONE) is None and rate.sample(NONE) == 50.0 == rate.mean()


def test_total_is_without_retries_and_what_was_before() -> None:
    now, retries = [40.0], [0.0]
    total = Total(lambda _: (0.0, now[0]), less=lambda: retries[0])
    now[0], retries[0] = 160.0, 20.0
    total.finish(NONE)
    assert total.mean() == 100.0


def test_slower_needs_both() -> None:
    both = Slower(Rate(lambda _: (time.monotonic(), 0.0)), Rate(lambda _: None))
    both.sample(NONE)
    assert both.mean() is None


def test_ever_counts_what_was_seen_changed_until_all_is_whole() -> None:
    looks = iter([{"a"}, {"b"}, set()])
    ever = Ever(lambda: next(looks))
    assert [ever.sample(NONE) for _ in range(3)] == [1.0, 2.0, 0.0]


def test_a_page_is_counted_by_family_and_label() -> None:
    assert counted(PAGE, "a") == 12.0 and counted(PAGE, "a", 'route="POST /x"') == 7.0
    assert counted(PAGE, "b") == 3.0 and counted(PAGE, "c") is None
    assert counted(PAGE, "a", 'route="POST /z"') == 0.0


@pytest.fixture
def victim() -> Iterator[ProcessId]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        found = read_process(process.pid)
        assert found is not None
        yield found
        process.kill()


def test_standstill_sees_a_pause_and_that_there_is_none(victim: ProcessId) -> None:
    witness = Standstill(victim)
    assert witness.sample(NONE) == 0.0
    os.kill(victim.pid, signal.SIGSTOP)
    until(lambda: witness.sample(NONE) == 1.0)
    assert witness.sample(NONE) == 1.0
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: witness.sample(NONE) is None)


def test_gone_counts_the_dead_only(victim: ProcessId) -> None:
    witness = gone({"one": victim}, scale=50.0)
    assert witness.sample(NONE) == 0.0
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: witness.sample(NONE) == 50.0)


def test_spinning_tells_who_burns_from_who_waits(victim: ProcessId) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle:
        waits = read_process(idle.pid)
        assert waits is not None
        until(lambda: Path(f"/proc/{idle.pid}/wchan").exists() and idle.poll() is None)
        busy, still = Spinning([victim], 2), Spinning([waits], 2)
        until(lambda: busy.sample(NONE) is not None)
        assert busy.values == [50.0]
        os.kill(idle.pid, signal.SIGSTOP)
        still.sample(NONE)
        until(lambda: still.sample(NONE) is not None)
        assert still.values[-1] == 0.0
        os.kill(idle.pid, signal.SIGCONT)
        idle.kill()


def test_memory_and_io_are_read_from_proc(victim: ProcessId) -> None:
    mine = read_process(os.getpid())
    assert mine is not None
    before = io_calls(mine)
    Path("/proc/self/stat").read_text()
    after, held = io_calls(mine), anonymous_mb(mine)
    assert before and after and after[1] > before[1]
    assert held is not None and held > 1.0
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: anonymous_mb(victim) is None and io_calls(victim) is None)


def test_connections_are_counted_by_sender_and_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        watch = Connections(("127.0.0.77",), port)
        pairs = [socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.77", 0)) for _ in range(3)]
        other = socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.78", 0))
        assert watch.look() == 3 == watch.most
        for one in (*pairs, other):
            one.close()
        until(lambda: watch.look() == 0)
        assert watch.most == 3
