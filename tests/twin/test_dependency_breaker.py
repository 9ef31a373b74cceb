"""The dependency breaker by a clock set by hand, and calls through it to kernels that answer, refuse, hang and end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from twin.breaking import BreakingClient
from twin.call_stats import CallStats
from twin.config import Thresholds
from twin.defects import CRUSHED_BY, Defects
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable, serve
from twin.safeguards.dependency_breaker import BreakerChange, DependencyBreaker

LIMITS = Thresholds()
KERNEL, OTHER = "governance", "librarian"


def turn_of(breaker: DependencyBreaker, callee: str = KERNEL) -> int:
    turn = breaker.admit(callee)
    assert turn is not None
    return turn


def end(breaker: DependencyBreaker, answered: bool | None, times: int = 1, now_s: float = 0.0) -> None:
    for _ in range(times):
        breaker.ended(now_s, KERNEL, turn_of(breaker), answered)


def opened() -> DependencyBreaker:
    breaker = DependencyBreaker(LIMITS)
    end(breaker, False, LIMITS.breaker_failures)
    assert breaker.tick()[0].opened
    return breaker


def half_open() -> DependencyBreaker:
    breaker = opened()
    assert breaker.unprobed() == [KERNEL]
    breaker.probed(KERNEL, answered=True)
    return breaker


def told(changes: list[BreakerChange]) -> list[tuple[str, bool, str]]:
    return [(one.callee, one.opened, one.reason) for one in changes]


def test_so_many_failures_in_a_row_open_the_way_to_that_kernel_alone() -> None:
    breaker = DependencyBreaker(LIMITS)
    end(breaker, False, LIMITS.breaker_failures - 1)
    end(breaker, True)
    end(breaker, False, LIMITS.breaker_failures - 1)
    end(breaker, None, 50)
    assert breaker.tick() == [], "an answer between them, and who gave up by himself says nothing"
    end(breaker, False)
    assert told(breaker.tick()) == [(KERNEL, True, "5 calls in a row have failed")]
    assert breaker.admit(KERNEL) is None and breaker.admit(OTHER) is not None
    assert breaker.tick() == [], "told once"


def test_failures_that_lie_far_apart_do_not() -> None:
    breaker = DependencyBreaker(LIMITS)
    for number in range(3 * LIMITS.breaker_failures):
        end(breaker, False, now_s=number * LIMITS.breaker_within_s / 3)
    assert breaker.tick() == []


def test_silence_opens_it_before_a_single_time_limit_is_over() -> None:
    breaker = DependencyBreaker(LIMITS)
    turns = [turn_of(breaker) for _ in range(LIMITS.breaker_silent_calls)]
    for _ in range(LIMITS.breaker_silent_looks - 1):
        assert breaker.tick() == []
    breaker.ended(0.0, KERNEL, turns.pop(), True)
    turn_of(breaker)
    for _ in range(LIMITS.breaker_silent_looks):
        assert breaker.tick() == [], "one answer, and it begins anew"
    assert told(breaker.tick()) == [(KERNEL, True, f"none of {LIMITS.breaker_silent_calls} calls is answered")]


def test_few_that_wait_are_no_silence() -> None:
    breaker = DependencyBreaker(LIMITS)
    for _ in range(LIMITS.breaker_silent_calls - 1):
        turn_of(breaker)
    assert [breaker.tick() for _ in range(20)] == [[]] * 20


def test_one_probe_at_a_time_and_nobody_gets_through_before_it_is_answered() -> None:
    breaker = opened()
    assert breaker.unprobed() == [KERNEL] and breaker.unprobed() == []
    breaker.probed(KERNEL, answered=False)
    assert breaker.admit(KERNEL) is None and breaker.unprobed() == [KERNEL]
    breaker.probed(KERNEL, answered=True)
    assert breaker.admit(KERNEL) is not None and breaker.unprobed() == []


def test_a_kernel_that_has_just_begun_is_asked_twice_as_much_at_each_look() -> None:
    breaker, through, changes = half_open(), [], []
    for _ in range(LIMITS.breaker_ramp_looks):
        turns = [turn for _ in range(500) if (turn := breaker.admit(KERNEL)) is not None]
        through.append(len(turns))
        for turn in turns:
            breaker.ended(0.0, KERNEL, turn, True)
        changes += breaker.tick()
    assert through == [2, 4, 8, 16, 32, 64]
    assert told(changes) == [(KERNEL, False, "its calls are answered again")]
    assert changes[0].details["refused"] == 6 * 500 - sum(through)
    assert all(breaker.admit(KERNEL) is not None for _ in range(500))


def test_the_slow_start_spares_what_a_storm_would_crush() -> None:
    breaker, planted = half_open(), Defects(["crushed_at_start"])
    for look in range(LIMITS.breaker_ramp_looks):
        turns = [turn for _ in range(500) if (turn := breaker.admit(KERNEL)) is not None]
        assert not any(planted.crushed(look / 4) for _ in turns)
        for turn in turns:
            breaker.ended(0.0, KERNEL, turn, True)
        breaker.tick()
    assert [Defects(["crushed_at_start"]).crushed(0.0), Defects([]).crushed(0.0)] == [False, False]
    stormed = Defects(["crushed_at_start"])
    assert [stormed.crushed(n / 400) for n in range(500)].index(True) == CRUSHED_BY


def test_it_is_closed_as_well_when_nobody_asks() -> None:
    breaker = half_open()
    changes = [change for _ in range(LIMITS.breaker_ramp_looks) for change in breaker.tick()]
    assert told(changes) == [(KERNEL, False, "its calls are answered again")]


def test_what_fails_while_it_is_half_open_opens_it_again() -> None:
    breaker = half_open()
    end(breaker, False)
    assert told(breaker.tick()) == [(KERNEL, True, "1 of the first calls have failed")]
    assert breaker.admit(KERNEL) is None


def test_silence_while_it_is_half_open_opens_it_again() -> None:
    breaker = half_open()
    turn_of(breaker)
    changes = [change for _ in range(LIMITS.breaker_silent_looks) for change in breaker.tick()]
    assert told(changes) == [(KERNEL, True, "none of 1 calls is answered")]


def test_what_answered_at_first_and_is_silent_now_is_not_closed() -> None:
    breaker = half_open()
    for _ in range(LIMITS.breaker_ramp_looks - 1):
        end(breaker, True)
        assert breaker.tick() == []
    turn_of(breaker)
    changes = [change for _ in range(LIMITS.breaker_silent_looks) for change in breaker.tick()]
    assert told(changes) == [(KERNEL, True, "none of 1 calls is answered")]


def test_a_call_from_before_says_nothing_of_the_successor() -> None:
    breaker = DependencyBreaker(LIMITS)
    old = turn_of(breaker)
    end(breaker, False, LIMITS.breaker_failures)
    breaker.tick()
    breaker.unprobed()
    breaker.probed(KERNEL, answered=True)
    breaker.ended(0.0, KERNEL, old, False)
    assert breaker.tick() == [] and breaker.admit(KERNEL) is not None


def test_a_way_that_was_open_before_a_restart_is_tried_first() -> None:
    breaker = DependencyBreaker(LIMITS)
    breaker.resume([KERNEL])
    assert breaker.admit(KERNEL) is None and breaker.unprobed() == [KERNEL]


# Through real sockets

Body = Callable[[BreakingClient, dict[str, Any]], Awaitable[None]]


def with_kernel(folder: Path, body: Body) -> None:
    """*body* gets a client, and what the kernel at the other end is to do: {"hang": event to wait for}."""
    links = folder / "links"
    links.mkdir()
    for name in (KERNEL, "control_plane"):
        (links / f"{name}.addr").write_text(f"unix:{folder}/{name}.sock\n")
    does: dict[str, Any] = {}

    async def handle(op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "refuse":
            raise KernelError(422, "invalid_field")
        if op == "hang":
            await does["hang"].wait()
        return {"op": op}

    async def main() -> None:
        does["hang"] = asyncio.Event()
        client = BreakingClient(folder, "api_server", DependencyBreaker(LIMITS), CallStats(100.0))
        does["server"] = await serve(folder / f"{KERNEL}.sock", handle)
        await body(client, does)
        does["hang"].set()

    asyncio.run(main())


async def refused(client: BreakingClient) -> KernelError:
    with pytest.raises(KernelError) as error:
        await client.call(KERNEL, "x", {})
    return error.value


def test_calls_that_find_nobody_open_the_way_and_then_cost_nothing(tmp_path: Path) -> None:
    async def body(client: BreakingClient, does: dict[str, Any]) -> None:
        assert await client.call(KERNEL, "x", {}) == {"op": "x"}
        for _ in range(2 * LIMITS.breaker_failures):
            with pytest.raises(KernelError, match="invalid_field"):
                await client.call(KERNEL, "refuse", {})
        assert client.breaker.tick() == [], "a refusal is an answer"
        (tmp_path / f"{KERNEL}.sock").unlink()
        (tmp_path / "links" / f"{KERNEL}.addr").write_text(f"unix:{tmp_path}/nobody.sock\n")
        await asyncio.sleep(0.15)  # an address file is looked at every 100 ms
        for _ in range(LIMITS.breaker_failures):
            with pytest.raises(KernelUnavailable):
                await client.call(KERNEL, "x", {})
        error = await refused(client)
        assert (error.status, error.error, error.detail) == (503, "kernel_away", {"kernel": KERNEL, "retry_after_s": 1})
        with pytest.raises(KernelUnavailable):
            await client.call("control_plane", "x", {})
        assert client.breaker.admit("control_plane") is not None, "what is no kernel is never refused"
        summary = client.stats.summaries(asyncio.get_running_loop().time())[KERNEL]
        assert summary.failed == LIMITS.breaker_failures, "what was refused here says nothing of the callee"

    with_kernel(tmp_path, body)


def test_who_waits_for_a_kernel_that_is_silent_is_told_so_before_the_time_limit(tmp_path: Path) -> None:
    async def body(client: BreakingClient, does: dict[str, Any]) -> None:
        waiting = [asyncio.create_task(client.call(KERNEL, "hang", {}, 30.0)) for _ in range(12)]
        await asyncio.sleep(0.05)
        mine = asyncio.create_task(client.call(KERNEL, "hang", {}, 30.0))
        await asyncio.sleep(0.05)
        mine.cancel()
        with pytest.raises(asyncio.CancelledError):
            await mine
        changes = [change for _ in range(LIMITS.breaker_silent_looks) for change in client.breaker.tick()]
        assert told(changes) == [(KERNEL, True, "none of 12 calls is answered")]
        client.cut(KERNEL)
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(one) for one in found} == {KernelTimeout}, "it may have the request, or not"
        assert all(not one.cancelled() and one.cancelling() == 0 for one in waiting)
        assert client.stats.summaries(asyncio.get_running_loop().time())[KERNEL].failed == 12
        await refused(client)

    with_kernel(tmp_path, body)


def test_who_has_no_patience_says_nothing_of_the_kernel(tmp_path: Path) -> None:
    async def body(client: BreakingClient, does: dict[str, Any]) -> None:
        for _ in range(2 * LIMITS.breaker_failures):
            with pytest.raises(KernelTimeout):
                await client.call(KERNEL, "hang", {}, 0.01)
        assert client.breaker.tick() == []

    with_kernel(tmp_path, body)
