"""Who is late or fails among the kernels, from calls and times that the test gives; the gateway's copy of knowledge."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from twin.call_stats import LEARNS_FROM_CALLS, ROWS_MAX, WINDOW_S, CallStats, CallSummary
from twin.config import Config, Thresholds
from twin.dependencies import TRIES_AT_ONCE_MAX, Teller, heard
from twin.http.knowledge_copy import ENTRIES_MAX, KnowledgeCopy, wants_fresh
from twin.kernel import Kernel
from twin.links import callees, write_addresses
from twin.rpc import KernelError, RpcClient, serve
from twin.safeguards.dependency_latency_monitor import LAG_FACTOR, DependencyChange, DependencyLatencyMonitor

LIMITS = Thresholds()


def summary(p50_ms: float = 2.0, calls: int = 20, failed: int = 0, usual_ms: float = 2.0) -> CallSummary:
    return CallSummary(calls, failed, p50_ms, 1.2 * p50_ms, usual_ms)


class Platform:
    """Callers that tell the monitor the same again and again, every half second."""

    def __init__(self, monitor: DependencyLatencyMonitor | None = None) -> None:
        self.monitor = monitor or DependencyLatencyMonitor(LIMITS)
        self.now_s = 0.0

    def tell(self, seconds: float, lag_ms: float = 1.0, **told: dict[str, CallSummary]) -> list[DependencyChange]:
        changes = []
        for _ in range(round(seconds / 0.5)):
            self.now_s += 0.5
            for caller, calls in told.items():
                self.monitor.take(self.now_s, caller, lag_ms, calls)
            changes += self.monitor.tick(self.now_s)
        return changes


def engaged(changes: list[DependencyChange]) -> list[tuple[str, bool]]:
    return [(change.callee, change.engaged) for change in changes]


def test_what_is_late_engages_and_is_released_when_it_has_been_quick_for_a_while() -> None:
    platform = Platform()
    assert platform.tell(5, api_server={"memory_fusion": summary()}) == []
    late = {"memory_fusion": summary(400), "governance": summary()}
    (change,) = platform.tell(5, api_server=late)
    assert (change.callee, change.engaged, change.callers) == ("memory_fusion", True, ("api_server",))
    assert change.reason == "calls from api_server: p50 400 ms, usual are 2.0 ms"
    assert change.details["api_server"]["limit_ms"] == 104.0 and change.details["api_server"]["p50_ms"] == 400.0
    assert platform.tell(LIMITS.dependency_quiet_s, api_server={"memory_fusion": summary(3)}) == []
    assert engaged(platform.tell(0.5, api_server={"memory_fusion": summary(3)})) == [("memory_fusion", False)]
    assert platform.tell(60, api_server={"memory_fusion": summary(3)}) == []


@pytest.mark.parametrize(
    ("told", "lag_ms", "engages"),
    [
        (summary(99), 0.0, False),
        (summary(101), 0.0, True),
        (summary(101, usual_ms=30.0), 0.0, False),  # five times what is usual is above the floor
        (summary(151, usual_ms=30.0), 0.0, True),
        (summary(400, calls=5), 0.0, False),  # too few to tell
        (summary(400, calls=6), 0.0, True),
        (summary(400), 300 / LAG_FACTOR, False),  # it is the caller that is late
        (summary(401), 300 / LAG_FACTOR, True),
        (summary(2, calls=30, failed=2), 0.0, False),
        (summary(2, calls=30, failed=3), 0.0, True),
        (summary(2, calls=31, failed=3), 0.0, False),  # below a tenth
        (summary(0, calls=3, failed=3), 0.0, True),
        (summary(0, calls=2, failed=2), 0.0, False),
    ],
)
def test_where_it_begins(told: CallSummary, lag_ms: float, engages: bool) -> None:
    changes = Platform().tell(1.0, lag_ms, api_server={"governance": told})
    assert engaged(changes) == ([("governance", True)] if engages else [])


def test_a_single_look_is_not_enough() -> None:
    platform = Platform()
    for _ in range(10):
        assert platform.tell(0.5, api_server={"sandbox": summary(400)}) == []
        assert platform.tell(0.5, api_server={"sandbox": summary()}) == []


def test_who_waits_for_another_is_not_blamed() -> None:
    behind, before = {"memory_fusion": summary(400)}, {"librarian": summary(405), "memory_fusion": summary()}
    assert engaged(Platform().tell(5, librarian=behind, api_server=before)) == [("memory_fusion", True)]
    assert engaged(Platform().tell(5, librarian={"memory_fusion": summary()}, api_server=before)) == [
        ("librarian", True)
    ]


def test_it_names_all_who_feel_it() -> None:
    late = {"memory_fusion": summary(400)}
    (change,) = Platform().tell(5, librarian=late, api_server=late, governance={"immutable_log": summary()})
    assert sorted(change.callers) == ["api_server", "librarian"] == sorted(change.details)


def test_it_is_not_released_by_silence_by_a_few_or_while_some_still_fail() -> None:
    platform = Platform()
    assert platform.tell(1, api_server={"sandbox": summary(400)})
    assert platform.tell(30) == [], "nobody tells anything"
    assert platform.tell(30, api_server={"sandbox": summary(2, calls=5)}) == []
    assert platform.tell(30, api_server={"sandbox": summary(2, calls=60, failed=1)}) == []
    assert platform.tell(30, api_server={"sandbox": summary(400)}) == [], "no second incident"
    assert engaged(platform.tell(2, api_server={"sandbox": summary(2)})) == [("sandbox", False)]


def test_every_caller_must_be_well_before_it_is_released() -> None:
    platform, late, well = Platform(), {"memory_fusion": summary(400)}, {"memory_fusion": summary()}
    assert platform.tell(1, librarian=late, api_server=late)
    assert platform.tell(30, librarian=late, api_server=well) == []
    assert engaged(platform.tell(2, librarian=well, api_server=well)) == [("memory_fusion", False)]


def test_an_incident_that_outlived_the_monitor_is_released_too() -> None:
    platform = Platform()
    platform.monitor.engaged.add("memory_fusion")  # of its earlier life, by its incident
    assert platform.monitor.take(0.0, "api_server", 1.0, {}) == ["memory_fusion"], "it is to be tried"
    assert engaged(platform.tell(2.5, api_server={"memory_fusion": summary()})) == [("memory_fusion", False)]


def test_what_is_in_doubt_is_to_be_tried() -> None:
    monitor = DependencyLatencyMonitor(LIMITS)
    calls = {"sandbox": summary(400, calls=1), "governance": summary(), "scheduler": summary(2, calls=9, failed=1)}
    assert monitor.take(0.0, "api_server", 1.0, calls) == ["sandbox", "scheduler"]


def test_calls_are_counted_within_a_window_and_what_is_slow_does_not_become_usual() -> None:
    stats = CallStats(usual_ms_max=100.0)
    for number in range(100):
        stats.note("a", number / 100, 0.004, answered=True)
    stats.note("a", 1.0, 2.0, answered=False)
    first = stats.summaries(1.0)["a"]
    assert (first.calls, first.failed, first.p50_ms, first.reference_ms) == (101, 1, 4.0, 0.0), "one failed"
    for number in range(LEARNS_FROM_CALLS):
        stats.note("a", 5.0 + number / 10, 0.004, answered=True)
    assert stats.summaries(5.5)["a"] == CallSummary(3, 0, 4.0, 4.0, 4.0), "the window has passed"
    for number in range(50):
        stats.note("a", 9.0 + number / 100, 0.4, answered=True)
    assert stats.summaries(9.5)["a"] == CallSummary(50, 0, 400.0, 400.0, 4.0)
    for number in range(50):
        stats.note("a", 20.0 + number / 100, 0.014, answered=True)
    assert stats.summaries(20.5)["a"].reference_ms == pytest.approx(4.5)
    assert stats.summaries(20.5 + WINDOW_S) == {}


def test_a_bounded_number_of_calls_is_remembered() -> None:
    stats = CallStats(usual_ms_max=100.0)
    for _ in range(3 * ROWS_MAX):
        stats.note("a", 1.0, 0.001, answered=True)
    assert stats.summaries(1.0)["a"].calls == ROWS_MAX


def test_a_kernel_tells_of_its_calls_and_tries_those_in_doubt(tmp_path: Path) -> None:
    """Against a watcher that doubts, and a callee that holds every ping."""
    config = Config(dir=tmp_path)
    config.run_dir.mkdir()
    write_addresses(config)
    told: list[Any] = []
    held: list[str] = []

    async def watcher(op: str, payload: dict[str, Any]) -> dict[str, Any]:
        told.append(heard(payload))
        return {"doubtful": ["memory_fusion", "coding_agent"]}

    async def callee(op: str, payload: dict[str, Any]) -> dict[str, Any]:
        held.append(op)
        await asyncio.sleep(60)
        return {}

    async def story() -> None:
        await serve(config.run_dir / "health_monitor.sock", watcher)
        await serve(config.run_dir / "memory_fusion.sock", callee)
        kernel = Kernel.__new__(Kernel)
        kernel.name, kernel.rpc, kernel._tasks = "librarian", RpcClient(config.run_dir, "librarian"), set()  # type: ignore[misc]
        work = asyncio.create_task(Teller(kernel, callees("librarian")).run())
        async with asyncio.timeout(10):
            while not any(calls.get("memory_fusion", summary()).failed >= 3 for _, _, calls in told):
                await asyncio.sleep(0.02)
        assert set(held) == {"ping"} and len(held) <= TRIES_AT_ONCE_MAX * 4
        assert {caller for caller, _, _ in told} == {"librarian"} and all(lag_ms < 1000 for _, lag_ms, _ in told)
        assert not any("coding_agent" in calls for _, _, calls in told), "the librarian never calls that one"
        work.cancel()
        for task in list(kernel._tasks):
            task.cancel()

    asyncio.run(story())


def entry(content: str, tags: str = "[]") -> dict[str, Any]:
    return {"id": content, "content": content, "tags": tags}


def test_the_copy_answers_by_words_within_the_limit_and_says_that_it_is_stale() -> None:
    copy = KnowledgeCopy()
    assert copy.search({"q": "grace"}, 0.0) is None, "there is none yet"
    copy.take([entry("a watchdog restarts"), entry("Grace restarts a kernel"), entry("other", '["grace"]')], 10.0)
    found = copy.search({"q": "grace RESTARTS", "limit": 2}, 12.5)
    assert found == {
        "results": [entry("Grace restarts a kernel"), entry("a watchdog restarts")],
        "stale": True,
        "age_s": 2.5,
    }
    assert copy.search({"q": "nothing of it"}, 13.0) == {"results": [], "stale": True, "age_s": 3.0}
    for wrong in ({"q": ""}, {"q": "x" * 201}, {"q": "x", "limit": 0}, {"q": "x", "limit": "many"}):
        with pytest.raises(KernelError):
            copy.search(wrong, 13.0)


def test_the_copy_is_bounded_and_stays_when_there_is_no_answer(tmp_path: Path) -> None:
    copy = KnowledgeCopy()
    copy.take([entry(f"word{number}") for number in range(2 * ENTRIES_MAX)], 1.0)
    asyncio.run(copy.refresh(RpcClient(tmp_path, "api_server")))
    assert copy.search({"q": "word7"}, 2.0) == {"results": [entry("word7")], "stale": True, "age_s": 1.0}
    assert copy.search({"q": f"word{ENTRIES_MAX}"}, 2.0) == {"results": [], "stale": True, "age_s": 1.0}


def test_who_takes_no_stored_answer() -> None:
    assert wants_fresh([(b"host", b"x"), (b"cache-control", b"max-age=0, No-Cache")])
    assert not wants_fresh([(b"host", b"no-cache"), (b"cache-control", b"max-age=60")])
