"""Kernels find each other by address files: a kernel that has moved is found, and no request is lost over it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT
from twin.config import Config
from twin.dependencies import WATCHED_BY
from twin.http.app import CALLS
from twin.kernels import KERNELS
from twin.links import CALLERS, GATEWAY, LOOK_EVERY_S, AddressBook, links, write_addresses
from twin.rpc import KernelUnavailable, RpcClient, dial, serve
from twin.upstream import SERVICES


def answering(name: str, after: asyncio.Event | None = None) -> Callable[[str, dict[str, Any]], Awaitable[Any]]:
    async def handle(op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "slow" and after is not None:
            await after.wait()
        return {"from": name}

    return handle


def put(path: Path, address: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(f"{address}\n")
    fresh.replace(path)


async def until(ask: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Asks until the answer is *wanted*; a new address is seen within LOOK_EVERY_S."""
    async with asyncio.timeout(10 * LOOK_EVERY_S):
        while await ask() != wanted:
            await asyncio.sleep(0.005)


async def told(call: Awaitable[Any]) -> str:
    """The name of what went wrong."""
    try:
        await call
    except Exception as error:
        return type(error).__name__
    return "nothing"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    config = Config(dir=tmp_path)
    config.run_dir.mkdir()
    write_addresses(config)
    return config.run_dir


def test_a_kernel_that_moves_is_found_and_what_waits_is_answered(run_dir: Path) -> None:
    async def story() -> None:
        release = asyncio.Event()
        await serve(run_dir / "memory_fusion.sock", answering("old", release))
        await serve(run_dir / "new.sock", answering("new"))
        rpc = RpcClient(run_dir, "librarian")
        waits = asyncio.create_task(rpc.call("memory_fusion", "slow", {}))
        assert await rpc.call("memory_fusion", "x", {}) == {"from": "old"}
        old = rpc._connections["memory_fusion"]
        put(run_dir / "links" / "memory_fusion.addr", f"unix:{run_dir / 'new.sock'}")
        await until(lambda: rpc.call("memory_fusion", "x", {}), {"from": "new"})
        answers = await asyncio.gather(*(rpc.call("memory_fusion", "x", {}) for _ in range(8)))
        assert answers == [{"from": "new"}] * 8
        assert old.retired and not old.closed, "a request still waits on the old way"
        release.set()
        assert await waits == {"from": "old"}
        await asyncio.wait_for(old.task, 1)
        assert old.closed and old.writer.is_closing()

    asyncio.run(story())


def test_a_way_of_ones_own_goes_before_that_of_all(run_dir: Path) -> None:
    own = run_dir / "links" / "librarian" / "memory_fusion.addr"
    common = AddressBook(run_dir, "librarian").address("memory_fusion", 0.0)
    put(own, "tcp:127.0.0.1:9")
    book = AddressBook(run_dir, "librarian")
    assert book.address("memory_fusion", 1.0) == "tcp:127.0.0.1:9"
    assert AddressBook(run_dir, "governance").address("memory_fusion", 0.0) == common
    own.unlink()
    assert book.address("memory_fusion", 1.0 + LOOK_EVERY_S / 2) == "tcp:127.0.0.1:9", "not looked at so soon"
    assert book.address("memory_fusion", 1.0 + LOOK_EVERY_S / 2, fresh=True) == common
    put(own, "tcp:127.0.0.1:9")
    assert book.address("memory_fusion", 2.0) == "tcp:127.0.0.1:9"


def test_over_tcp_and_after_the_other_end_was_away(run_dir: Path) -> None:
    async def story() -> None:
        rpc = RpcClient(run_dir, "librarian")
        with pytest.raises(KernelUnavailable):
            await rpc.call("memory_fusion", "x", {})
        server = await serve(run_dir / "memory_fusion.sock", answering("it"))

        async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            near, far = await dial(f"unix:{run_dir / 'memory_fusion.sock'}")

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while data := await source.read(4096):
                    sink.write(data)
                sink.close()

            await asyncio.gather(pump(reader, far), pump(near, writer))

        relay = await asyncio.start_server(pipe, "127.0.0.1", 0)
        port = relay.sockets[0].getsockname()[1]
        put(run_dir / "links" / "memory_fusion.addr", f"tcp:127.0.0.1:{port}")
        assert await rpc.call("memory_fusion", "x", {}) == {"from": "it"}
        relay.close()
        server.close()
        put(run_dir / "links" / "memory_fusion.addr", "elsewhere")
        await until(lambda: told(rpc.call("memory_fusion", "x", {})), "KernelUnavailable")
        (run_dir / "links" / "memory_fusion.addr").unlink()
        await until(lambda: told(rpc.call("memory_fusion", "x", {})), "KernelUnavailable")

    asyncio.run(story())


def test_a_caller_that_is_told_to_end_ends_even_as_its_call_fails(run_dir: Path) -> None:
    """Else a kernel that calls again and again is killed at the end of the twin, after a wait for nothing."""

    async def story() -> None:
        calls: list[asyncio.Future[dict[str, Any]]] = []

        async def ask(*_: object) -> dict[str, Any]:
            calls.append(asyncio.get_running_loop().create_future())
            return await calls[-1]

        async def again_and_again() -> None:
            while True:
                await told(rpc.call("memory_fusion", "x", {}, 60.0))

        rpc = RpcClient(run_dir, "librarian")
        rpc._ask = ask  # type: ignore[method-assign]
        caller = asyncio.create_task(again_and_again())
        while not calls:
            await asyncio.sleep(0)
        calls[0].set_exception(ConnectionResetError())
        await asyncio.sleep(0)
        caller.cancel()
        ended, _ = await asyncio.wait([caller], timeout=5)
        assert ended and caller.cancelled()

    asyncio.run(story())


def test_an_earlier_life_leaves_no_way(run_dir: Path) -> None:
    own, common = run_dir / "links" / "librarian" / "memory_fusion.addr", run_dir / "links" / "memory_fusion.addr"
    before = common.read_bytes()
    put(own, "tcp:127.0.0.1:9")
    put(common, "tcp:127.0.0.1:9")
    write_addresses(Config(dir=run_dir.parent))
    assert common.read_bytes() == before and not own.exists()


def callers_in_the_sources() -> set[tuple[str, str]]:
    """(caller, callee) of every call that the sources make."""
    found = {("api_server", callee) for callee, _ in CALLS.values()}
    users = {
        "playbooks": ("self_healing",),
        "incidents": (
            *("agentic_spine", "api_server", "health_monitor", "immutable_log", "infrastructure_manager"),
            *("learning_integration", "scheduler"),
            *("trigger_mesh", "verification_framework"),
        ),
        "outbox": ("api_server", "governance"),
        "http": ("api_server",),
    }
    for path in (ROOT / "twin").rglob("*.py"):
        name = path.parent.name if path.parent.name in users else path.stem
        for callee in re.findall(r'(?:rpc\.call|await ask|\bask)\(\s*"(\w+)"', path.read_text()):
            found |= {(caller, callee) for caller in users.get(name, (name,))}
    found = {(caller, callee) for caller, callee in found if callee in KERNELS}
    return found | {(caller, WATCHED_BY) for caller, _ in found if caller != WATCHED_BY}  # each tells of its calls


def test_the_table_of_callers_is_what_the_sources_do(tmp_path: Path) -> None:
    told = {(caller, callee) for callee in KERNELS for caller in CALLERS.get(callee, GATEWAY)}
    assert callers_in_the_sources() == told
    told |= {(caller, service) for service in SERVICES for caller in CALLERS[service]}
    offered = links(Config(dir=tmp_path))
    assert set(offered) == {*KERNELS, *SERVICES} | {f"{caller}->{callee}" for caller, callee in told}
