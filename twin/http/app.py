"""The HTTP API: an ASGI application that turns a request into a call to the kernel whose work it is."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from twin.bus.client import BusClient
from twin.http.metrics import Gauges, render
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable, RpcClient

KERNEL_LIMIT_S = 2.0
BODY_BYTES_MAX = 1 << 20
RETRY_AFTER_S = 2
DEFERRABLE_BELOW = 5  # priorities IDLE, MINIMUM and LOW
Answer = tuple[int, dict[str, Any]]

# method, path → kernel, operation
CALLS: dict[tuple[str, str], tuple[str, str]] = {
    ("GET", "/api/immutable-log"): ("immutable_log", "read"),
    ("GET", "/api/immutable-log/verify"): ("immutable_log", "verify"),
    ("GET", "/api/self-healing/playbooks"): ("self_healing", "playbooks"),
    ("POST", "/api/code"): ("coding_agent", "analyse"),
    ("POST", "/api/clarity"): ("clarity_framework", "measure"),
    ("POST", "/api/verify"): ("verification_framework", "verify"),
    ("POST", "/api/secrets/sign"): ("secret_manager", "sign"),
    ("POST", "/api/governance/check"): ("governance", "check"),
    ("GET", "/api/infrastructure"): ("infrastructure_manager", "describe"),
    ("GET", "/api/knowledge"): ("librarian", "search"),
    ("POST", "/api/knowledge"): ("librarian", "add"),
    ("GET", "/api/knowledge/catalog"): ("librarian", "catalog"),
    ("POST", "/api/sandbox"): ("sandbox", "evaluate"),
    ("POST", "/api/chat"): ("agentic_spine", "chat"),
    ("POST", "/api/voice"): ("voice_conversation", "speak"),
    ("POST", "/api/meta_loop/retrospective"): ("meta_loop", "retrospective"),
    ("POST", "/api/learning/feedback"): ("learning_integration", "feedback"),
    ("GET", "/api/health/resources"): ("health_monitor", "resources"),
    ("GET", "/api/triggers"): ("trigger_mesh", "triggers"),
    ("POST", "/api/htm/intents"): ("scheduler", "submit"),
    ("GET", "/api/htm/queue"): ("scheduler", "queue"),
    ("GET", "/api/control-plane/kernels"): ("control_plane", "kernels"),
    ("GET", "/api/control-plane/events"): ("control_plane", "events"),
    ("GET", "/api/control-plane/safeguards"): ("control_plane", "safeguards"),
}


class App:
    """One gateway. While *shedding* names a resource under pressure, work that may wait is deferred."""

    def __init__(self, rpc: RpcClient, bus: BusClient) -> None:
        self.rpc = rpc
        self.bus = bus
        self.shedding: set[str] = set()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.paths = {path for _, path in CALLS} | {"/health", "/metrics", "/api/bus/publish"}

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            return
        headers = {b"content-type": b"application/json"}
        try:
            status, content = await self._answer(scope, receive)
        except KernelError as error:
            status, content = error.status, {"error": error.error, **error.detail}
        except KernelTimeout as error:
            status, content = 504, {"error": "kernel_timeout", "kernel": str(error)}
        except KernelUnavailable as error:
            status, content = 503, {"error": "kernel_unavailable", "kernel": str(error)}
        if content.get("error") == "load_shedding":
            headers[b"retry-after"] = str(RETRY_AFTER_S).encode()
        if "metrics" in content:
            body, headers[b"content-type"] = content["metrics"].encode(), b"text/plain; version=0.0.4"
        else:
            body = json.dumps(content).encode()
        headers[b"content-length"] = str(len(body)).encode()
        known = scope["path"] if scope["path"] in self.paths else "other"
        self.requests[(f"{scope['method']} {known}", status)] += 1
        await send({"type": "http.response.start", "status": status, "headers": list(headers.items())})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]]) -> Answer:
        method, path = scope["method"], scope["path"]
        if (method, path) == ("GET", "/health"):
            return 200, {"status": "ok", "now": time.time()}
        if (method, path) == ("GET", "/metrics"):
            return 200, {"metrics": await self._metrics()}
        if path.startswith("/api/htm/intents/") and method == "GET":
            intent_id = path.removeprefix("/api/htm/intents/")
            return 200, await self.rpc.call("scheduler", "status", {"intent_id": intent_id}, KERNEL_LIMIT_S)
        if path not in self.paths:
            raise KernelError(404, "not_found", path=path)
        if method == "POST":
            payload = await self._body(receive)
        else:
            payload = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if (method, path) == ("POST", "/api/bus/publish"):
            return await self._publish(payload)
        if (method, path) not in CALLS:
            raise KernelError(405, "method_not_allowed", method=method)
        if self.shedding and self._deferrable(path, payload):
            return 503, {"error": "load_shedding", "shedding": sorted(self.shedding)}
        kernel, op = CALLS[(method, path)]
        for name in ("limit", "since"):
            if isinstance(payload.get(name), str):
                payload[name] = _whole(payload[name], name)
        return 200, await self.rpc.call(kernel, op, payload, KERNEL_LIMIT_S)

    @staticmethod
    def _deferrable(path: str, payload: dict[str, Any]) -> bool:
        if path == "/api/meta_loop/retrospective":
            return True
        priority = payload.get("priority", DEFERRABLE_BELOW)
        return path == "/api/htm/intents" and isinstance(priority, int) and priority < DEFERRABLE_BELOW

    @staticmethod
    async def _body(receive: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
        data = b""
        while True:
            part = await receive()
            data += part.get("body", b"")
            if len(data) > BODY_BYTES_MAX:
                raise KernelError(413, "body_too_large", limit_bytes=BODY_BYTES_MAX)
            if not part.get("more_body"):
                break
        try:
            payload = json.loads(data)
        except (ValueError, RecursionError):
            raise KernelError(400, "invalid_json") from None
        if not isinstance(payload, dict):
            raise KernelError(400, "invalid_json", expected="an object")
        return payload

    async def _publish(self, payload: dict[str, Any]) -> Answer:
        topic = payload.get("topic")
        if not isinstance(topic, str) or not topic.startswith("telemetry."):
            raise KernelError(422, "invalid_field", field="topic", expected="a topic below telemetry.")
        try:
            answer = await self.bus.publish_acked(topic, payload.get("payload") or {}, KERNEL_LIMIT_S)
        except TimeoutError:
            raise KernelTimeout("message_bus") from None
        return 200 if answer["op"] == "accepted" else 403, answer

    async def _metrics(self) -> str:
        async def ask(kernel: str, op: str) -> dict[str, Any] | None:
            try:
                return await self.rpc.call(kernel, op, {}, 0.5)
            except (KernelTimeout, KernelUnavailable, KernelError):
                return None

        bus, kernels, queue, safeguards = await asyncio.gather(
            ask("message_bus", "stats"),
            ask("control_plane", "kernels"),
            ask("scheduler", "queue"),
            ask("control_plane", "safeguards"),
        )
        return render(Gauges(bus, kernels, queue, safeguards), self.requests, bool(self.shedding))


def _whole(value: str, name: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise KernelError(422, "invalid_field", field=name, expected="a whole number") from None
