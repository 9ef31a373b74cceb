"""api_server: the HTTP gateway with its rate limiter and intent validator, and what it defers under pressure."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import time
from typing import Any

import uvicorn

from twin.audit import AuditWriter
from twin.breaking import BreakingClient, keep_breaker
from twin.commit import GroupCommit
from twin.config import Config
from twin.defects import Defects
from twin.http.app import App
from twin.http.broken import BrokenGateway
from twin.http.intents import Intents
from twin.http.knowledge_copy import FIRST_EVERY_S, REFRESH_EVERY_S
from twin.http.outsiders import Outsiders, read_token
from twin.http.recorded import RequestTrail
from twin.incidents import SCHEMA, Incidents
from twin.kernel import Kernel
from twin.outbox import SCHEMA as OUTBOX_SCHEMA
from twin.outbox import Outbox
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable, RpcClient
from twin.safeguards.dependency_breaker import DependencyBreaker
from twin.safeguards.intent_validator import IntentValidator
from twin.safeguards.rate_limiter import RateLimiter

LOOK_EVERY_S = 0.5
KEEP_ALIVE_S = 30  # of an idle connection: longer than anybody who is at work stays away


class _Server(uvicorn.Server):
    """Signals are the kernel's business, not the web server's."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


class ApiServer(Kernel):
    name = "api_server"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.broken = BrokenGateway(Defects(config.defects))
        self.subscriptions = self.broken.topics  # type: ignore[misc]  # only where a planted defect needs them

    async def on_message(self, message: dict[str, Any]) -> None:
        self.broken.hear(message)

    async def setup(self) -> None:
        db = self.open_db("api_server", SCHEMA)
        waiting = self.open_db("api_server", OUTBOX_SCHEMA, self.config.audit_dir)
        outbox = Outbox(self, waiting, GroupCommit(waiting))
        self.guards: dict[str, tuple[RateLimiter | IntentValidator, Incidents]] = {}
        limiter, validator = RateLimiter(self.config.thresholds), IntentValidator(self.config.thresholds)
        self._watch(limiter, Incidents(self, limiter.name, db))
        self._watch(validator, Incidents(self, validator.name, db))
        calls, defects = self._calls(db), Defects(self.config.defects)
        intents = Intents(
            calls,
            validator if self.config.enabled(validator.name) else None,
            lambda client: self._engage(validator, client, "invalid intents"),
            defects,
        )
        self.app = App(
            calls,
            self.bus,
            intents,
            RequestTrail(AuditWriter(outbox, defects)),
            limiter if self.config.enabled(limiter.name) else None,
            lambda client: self._engage(limiter, client, "refused requests"),
            Outsiders(read_token(self.config.run_dir)),
            self.broken,
        )
        self.spawn(outbox.relay())
        self.spawn(self._release())
        with contextlib.suppress(KernelTimeout, KernelUnavailable, KernelError):
            open_now = await self.rpc.call("control_plane", "shedding", {})
            self.app.shedding, self.app.bypassed = set(open_now["subjects"]), set(open_now["bypassed"])
            self.app.refusing = set(open_now["refusing"])
        self.spawn(self._refresh())
        # As TCP by name, or asyncio leaves Nagle's algorithm on, and every answer waits 40 ms for its second half.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self.server = _Server(config)
        self.spawn(self.server.serve(sockets=[listener]))
        while not self.server.started:
            await asyncio.sleep(0.01)

    def _calls(self, db: sqlite3.Connection) -> RpcClient:
        """What requests go through to the kernels; a way that was open before a restart is tried first."""
        breaker = DependencyBreaker(self.config.thresholds)
        if not self.config.enabled(breaker.name):
            return self.rpc
        incidents = Incidents(self, breaker.name, db)
        breaker.resume(incidents.open)
        calls = BreakingClient(self.config.run_dir, self.name, breaker, self.rpc.stats)
        self.spawn(keep_breaker(self, calls, incidents))
        return calls

    def _watch(self, guard: RateLimiter | IntentValidator, incidents: Incidents) -> None:
        """From here on; an incident that was open before a restart is closed when its client keeps quiet."""
        self.guards[guard.name] = guard, incidents
        for client in incidents.open:
            guard.insistence.resume(time.monotonic(), client)

    def _engage(self, guard: RateLimiter | IntentValidator, client: str, what: str) -> None:
        insistence = guard.insistence
        details = {"count": insistence.count, "within_s": insistence.within_s}
        reason = f"{insistence.count} {what} within {insistence.within_s:g} s"
        self.spawn(self.guards[guard.name][1].engage(client, guard.playbook, reason, details))

    async def _release(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for guard, incidents in self.guards.values():
                for client, ended in guard.insistence.quiet(time.monotonic()).items():
                    reason = f"none for {guard.insistence.quiet_s:g} s"
                    incidents.release(client, reason, {"count": ended.count})

    async def _refresh(self) -> None:
        while True:
            if "memory_fusion" not in self.app.bypassed or self.app.knowledge.taken_s is None:
                await self.app.knowledge.refresh(self.rpc)
            await asyncio.sleep(FIRST_EVERY_S if self.app.knowledge.taken_s is None else REFRESH_EVERY_S)

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "shed":
            (self.app.shedding.add if payload["on"] else self.app.shedding.discard)(payload["subject"])
        elif op == "bypass":
            (self.app.bypassed.add if payload["on"] else self.app.bypassed.discard)(payload["callee"])
        elif op == "refuse":
            (self.app.refusing.add if payload["on"] else self.app.refusing.discard)(payload["subject"])
        elif op != "shedding":
            raise KernelError(404, "unknown_operation", op=op)
        if op != "shedding" and not payload["on"]:
            self.broken.ended(op, str(payload.get("subject") or payload.get("callee")))
        told = {"shedding": self.app.shedding, "bypassed": self.app.bypassed, "refusing": self.app.refusing}
        return {name: sorted(subjects) for name, subjects in told.items()}

    async def teardown(self) -> None:
        self.server.should_exit = True


KERNEL = ApiServer
