"""api_server: the HTTP gateway, and what it defers under pressure."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import uvicorn

from twin.http.app import App
from twin.kernel import Kernel
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable


class _Server(uvicorn.Server):
    """Signals are the kernel's business, not the web server's."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


class ApiServer(Kernel):
    name = "api_server"

    async def setup(self) -> None:
        self.app = App(self.rpc, self.bus)
        with contextlib.suppress(KernelTimeout, KernelUnavailable, KernelError):
            open_now = await self.rpc.call("control_plane", "shedding", {})
            self.app.shedding = set(open_now["subjects"])
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.config.http_port))
        config = uvicorn.Config(
            self.app,
            loop="asyncio",
            http="httptools",
            lifespan="off",
            access_log=False,
            log_config=None,
            ws="none",
        )
        self.server = _Server(config)
        self.spawn(self.server.serve(sockets=[listener]))
        while not self.server.started:
            await asyncio.sleep(0.01)

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "shed":
            (self.app.shedding.add if payload["on"] else self.app.shedding.discard)(payload["subject"])
        elif op != "shedding":
            raise KernelError(404, "unknown_operation", op=op)
        return {"shedding": sorted(self.app.shedding)}

    async def teardown(self) -> None:
        self.server.should_exit = True


KERNEL = ApiServer
