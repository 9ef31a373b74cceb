"""What every kernel is: a process with a heartbeat, a socket for requests, an actor on the bus."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sqlite3
from collections.abc import Coroutine
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from twin.bus.client import BusClient
from twin.bus.keys import actor_of, read_keys
from twin.config import Config
from twin.defects import Defects
from twin.dependencies import Teller
from twin.links import callees
from twin.rpc import KernelError, RpcClient, serve

TELEMETRY = "telemetry.kernel"  # an open topic: each kernel that is on the bus publishes below it under its own name
TELEMETRY_EVERY_S = 1.0
MUTE = "memory_fusion"  # whom the defect mute_after_restart strikes


class Kernel:
    """Subclasses give `name`, answer requests in handle() and messages in on_message()."""

    name: ClassVar[str]
    subscriptions: ClassVar[tuple[str, ...]] = ()
    on_bus: ClassVar[bool] = True

    def __init__(self, config: Config) -> None:
        self.config = config
        self.rpc = RpcClient(config.run_dir, self.name, config.thresholds.dependency_slow_ms)
        self.log = logging.getLogger(self.name)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.bus: BusClient = None  # type: ignore[assignment]  # set before setup()

    async def setup(self) -> None:
        """Opens what the kernel needs and recovers its state; its first heartbeat comes after this."""

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        raise KernelError(404, "unknown_operation", op=op)

    async def answer(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Every kernel answers a ping; the rest is its own work."""
        return {} if op == "ping" else await self.handle(op, payload)

    async def on_message(self, message: dict[str, Any]) -> None:
        """A message of one of `subscriptions`."""

    async def teardown(self) -> None:
        """Writes what must not be lost at a clean stop."""

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs *work* beside the rest. Its failure ends the process: a kernel never goes on half alive."""
        task = asyncio.create_task(work)
        self._tasks.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and task.exception() is not None:
                self.log.critical("a background task failed", exc_info=task.exception())
                os._exit(70)

        task.add_done_callback(ended)

    def open_db(self, name: str, schema: str, folder: Path | None = None) -> sqlite3.Connection:
        """A database of this kernel in WAL mode, in *folder* or among the state; *schema* is run when it is opened."""
        db = sqlite3.connect((folder or self.config.state_dir) / f"{name}.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA busy_timeout=2000")
        db.executescript(schema)
        db.row_factory = sqlite3.Row
        return db


async def _run(kernel: Kernel, heartbeat: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    config = kernel.config
    if kernel.on_bus:
        keys = read_keys(config.run_dir / "keys.json")
        actor = actor_of(kernel.name)
        kernel.bus = BusClient(actor, keys["actors"][actor], keys["server"]["public_key"], config.bus_endpoint)
        await kernel.bus.start(kernel.subscriptions, kernel.on_message)
    await kernel.setup()
    await serve(config.run_dir / f"{kernel.name}.sock", kernel.answer)
    if config.enabled("dependency_latency_monitor") and (called := callees(kernel.name)):
        kernel.spawn(Teller(kernel, called).run())
    if kernel.on_bus:
        kernel.spawn(report(kernel))
    beating = asyncio.create_task(beat(heartbeat, config.thresholds.heartbeat_every_s))
    await stop.wait()
    beating.cancel()
    await kernel.teardown()
    if kernel.on_bus:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(kernel.bus.close(), 0.5)


async def report(kernel: Kernel) -> None:
    """Publish a small message once a second, so that whoever listens knows that the kernel can still be heard."""
    if kernel.name == MUTE and Defects(kernel.config.defects).begun_before(
        "mute_after_restart", kernel.config.state_dir
    ):
        return
    for number in count():
        await kernel.bus.publish(f"{TELEMETRY}.{kernel.name}", {"number": number})
        await asyncio.sleep(TELEMETRY_EVERY_S)


async def beat(heartbeat: int, every_s: float) -> None:
    """From the loop that does the work, so that a blocked loop is a missed heartbeat."""
    while True:
        with contextlib.suppress(BlockingIOError):
            os.write(heartbeat, b".")
        await asyncio.sleep(every_s)


def run_kernel(kernel_class: type[Kernel], config: Config, heartbeat: int) -> None:
    """The life of a kernel's process, from its fork to its end."""
    logging.basicConfig(
        filename=config.log_dir / f"{kernel_class.name}.log",
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        level=logging.INFO,
        force=True,
    )
    os.set_blocking(heartbeat, False)
    try:
        asyncio.run(_run(kernel_class(config), heartbeat))
    except Exception:
        logging.getLogger(kernel_class.name).critical("the kernel failed", exc_info=True)
        logging.shutdown()
        os._exit(70)
