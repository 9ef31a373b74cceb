"""The HTTP API: an ASGI application that turns a request into a call to the kernel whose work it is."""

from __future__ import annotations

import asyncio
import json
import math
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from twin.bus.client import BusClient
from twin.defects import Defects
from twin.http.body import ClientGone, parse, read_body, read_hashed
from twin.http.broken import BrokenGateway
from twin.http.intents import Intents
from twin.http.knowledge_copy import WARNING, KnowledgeCopy, wants_fresh
from twin.http.metrics import Gauges, render
from twin.http.outsiders import Outsiders
from twin.http.recorded import KINDS, Answer, Attempt, RequestTrail
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable, RpcClient
from twin.safeguards.rate_limiter import RateLimiter

KERNEL_LIMIT_S = 2.0
BODY_BYTES_MAX = 1 << 20
RETRY_AFTER_S = 2
DEFERRABLE_BELOW = 5  # priorities IDLE, MINIMUM and LOW
WHOLE_MAX = 1 << 62  # a cursor or a limit that SQLite can take
INTENTS = "/api/htm/intents"
KNOWLEDGE = "/api/knowledge"
DECISION = "/api/governance/check"
APPEND = ("POST", "/api/immutable-log")
RETROSPECTIVE = "/api/meta_loop/retrospective"
QUEUE = "htm_queue"  # the subject under which a full queue defers intents; retrospectives go elsewhere

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
    ("GET", "/api/governance/rules"): ("governance", "rules"),
    ("GET", "/api/infrastructure"): ("infrastructure_manager", "describe"),
    ("GET", KNOWLEDGE): ("memory_fusion", "search"),
    ("POST", KNOWLEDGE): ("librarian", "add"),
    ("GET", "/api/knowledge/catalog"): ("librarian", "catalog"),
    ("GET", "/api/knowledge/all"): ("memory_fusion", "list"),
    ("POST", "/api/knowledge/classify"): ("librarian", "classify"),
    ("POST", "/api/knowledge/trust"): ("librarian", "trust"),
    ("POST", "/api/sandbox"): ("sandbox", "evaluate"),
    ("POST", "/api/chat"): ("agentic_spine", "chat"),
    ("POST", "/api/voice"): ("voice_conversation", "speak"),
    ("POST", RETROSPECTIVE): ("meta_loop", "retrospective"),
    ("GET", "/api/meta_loop/retrospectives"): ("meta_loop", "list"),
    ("POST", "/api/learning/feedback"): ("learning_integration", "feedback"),
    ("GET", "/api/learning/errors"): ("learning_integration", "errors"),
    ("GET", "/api/health/resources"): ("health_monitor", "resources"),
    ("GET", "/api/triggers"): ("trigger_mesh", "triggers"),
    ("GET", INTENTS): ("scheduler", "list"),
    ("GET", "/api/htm/queue"): ("scheduler", "queue"),
    ("GET", "/api/control-plane/kernels"): ("control_plane", "kernels"),
    ("GET", "/api/control-plane/events"): ("control_plane", "events"),
    ("GET", "/api/control-plane/safeguards"): ("control_plane", "safeguards"),
}


class App:
    """One gateway: rate limiter, then what the path asks for. While *shedding* names something, work may be deferred.

    While *bypassed* names the kernel behind a read, it is answered from a copy, if the client takes a stored answer.
    While *refusing* names a log that cannot be written, nothing is done that would have to be in it. Each request to a
    route that changes state (recorded.KINDS) gets an entry in the *trail*.

    *limited* is called with a client that goes on although it is refused.
    """

    def __init__(
        self,
        rpc: RpcClient,
        bus: BusClient,
        intents: Intents,
        trail: RequestTrail,
        limiter: RateLimiter | None,
        limited: Callable[[str], None],
        outsiders: Outsiders,
        broken: BrokenGateway | None = None,
    ) -> None:
        self.broken = broken or BrokenGateway(Defects(()))
        self.rpc = rpc
        self.bus = bus
        self.intents = intents
        self.trail = trail
        self.limiter = limiter
        self.limited = limited
        self.outsiders = outsiders
        self.shedding: set[str] = set()
        self.bypassed: set[str] = set()
        self.refusing: set[str] = set()
        self.knowledge = KnowledgeCopy()
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
        except ClientGone:
            return
        except KernelError as error:
            status, content = error.status, {"error": error.error, **error.detail}
        except KernelTimeout as error:
            status, content = 504, {"error": "kernel_timeout", "kernel": str(error)}
        except KernelUnavailable as error:
            status, content = 503, {"error": "kernel_unavailable", "kernel": str(error)}
        if content.get("stale") is True:
            headers |= {b"warning": WARNING.encode(), b"age": str(int(content["age_s"])).encode()}
        if "retry_after_s" in content:
            headers[b"retry-after"] = str(content["retry_after_s"]).encode()
        if status == 401:
            headers[b"www-authenticate"] = b"Bearer"
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
        if method == "POST" and path.startswith("/api/"):
            client = scope["client"][0] if scope.get("client") else "unknown"
            refusal = self._limited(client)
            if path in KINDS:
                return await self._recorded(path, client, receive, refusal)
            if refusal is not None:
                raise refusal
        if (method, path) == ("GET", "/health"):
            return 200, {"status": "ok", "now": time.time()}
        if (method, path) == ("GET", "/metrics"):
            return 200, {"metrics": await self._metrics()}
        if path.startswith(INTENTS + "/") and method == "GET":
            intent_id = path.removeprefix(INTENTS + "/")
            return 200, await self.rpc.call("scheduler", "status", {"intent_id": intent_id}, KERNEL_LIMIT_S)
        if path not in self.paths:
            raise KernelError(404, "not_found", path=path)
        if (method, path) == APPEND:
            self.outsiders.admit(scope["headers"])
        if method == "POST":
            data = await read_body(receive, BODY_BYTES_MAX)
            if data is None:
                raise KernelError(413, "body_too_large", limit_bytes=BODY_BYTES_MAX)
            payload = parse(data)
        else:
            payload = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if (method, path) == ("POST", "/api/bus/publish"):
            return await self._publish(payload)
        if (method, path) == APPEND:
            entries = self.outsiders.entries(payload)
            return 200, await self.rpc.call("immutable_log", "append", entries, KERNEL_LIMIT_S)
        if (method, path) not in CALLS:
            raise KernelError(405, "method_not_allowed", method=method)
        await self.broken.harm(method, path)
        kernel, op = CALLS[(method, path)]
        for name in ("limit", "since", "last"):
            if isinstance(payload.get(name), str):
                payload[name] = _whole(payload[name], name)
        stored = self._stored(scope, (method, path), payload)
        found = stored or await self.rpc.call(kernel, op, payload, KERNEL_LIMIT_S)
        return 200, self.broken.emptied(method, path, found)

    async def _recorded(
        self, path: str, client: str, receive: Callable[[], Awaitable[Any]], refusal: KernelError | None
    ) -> Answer:
        """A request that changes state. What the rate limiter refuses is hashed for its entry, and not parsed."""
        validator = self.intents.validator
        limit_bytes = validator.bytes_max if path == INTENTS and validator else BODY_BYTES_MAX
        data, digest = await read_hashed(receive, limit_bytes)
        attempt = Attempt(KINDS[path], client, digest)
        try:
            if refusal is not None:
                raise refusal
            if data is None:
                raise KernelError(413, "body_too_large", limit_bytes=limit_bytes)
            attempt.body = parse(data)
            content = await self._change(path, attempt)
        except KernelError as error:
            answer = await self.trail.turned_down(attempt, error)
            if path == INTENTS and "rejection_id" in answer[1]:
                self.intents.rejected(client)
            return answer
        return attempt.kind.status, content

    async def _change(self, path: str, attempt: Attempt) -> dict[str, Any]:
        """Has the kernel of *path* do what is asked. Raises KernelError when it does not."""
        body = attempt.body
        if path == INTENTS:
            row = self.intents.checked(body, self._deferred)
            return await self.trail.done(attempt, row[0], lambda: self.intents.submit(row))
        under = (self.shedding | self.broken.still_shedding) - {QUEUE}
        if path == RETROSPECTIVE and self.broken.defers_one():
            raise KernelError(503, "busy", retry_after_s=RETRY_AFTER_S)
        if path == RETROSPECTIVE and under and not self.broken.lets_retrospectives_pass:
            raise KernelError(503, "load_shedding", shedding=sorted(under), retry_after_s=RETRY_AFTER_S)
        if refusal := self._unrecorded():
            raise refusal
        kernel, op = CALLS[("POST", path)]
        if path == DECISION:  # its kernel itself writes the entry
            body = {**body, "request": {"digest": attempt.digest, "client": attempt.client}}
            return await self.rpc.call(kernel, op, body, KERNEL_LIMIT_S)
        own = uuid.uuid4().hex  # of work that comes without an id
        body, resource = {attempt.kind.resource: own, **body}, attempt.claim(attempt.kind.resource) or own
        return await self.trail.done(attempt, resource, lambda: self.rpc.call(kernel, op, body, KERNEL_LIMIT_S))

    def _stored(self, scope: dict[str, Any], asked: tuple[str, str], payload: dict[str, Any]) -> dict[str, Any] | None:
        """The answer from a copy, when the kernel behind it is bypassed."""
        bypassed = self.bypassed | self.broken.still_bypassed
        if asked != ("GET", KNOWLEDGE) or CALLS[asked][0] not in bypassed or wants_fresh(scope["headers"]):
            return None
        return self.knowledge.search(payload, time.monotonic())

    def _limited(self, client: str) -> KernelError | None:
        """The refusal when *client* has used up what it may send."""
        if self.limiter is None:
            return None
        now_s = time.monotonic()
        wait_s = self.limiter.wait_s(now_s, client)
        if not wait_s:
            return None
        if self.limiter.insistence.saw(now_s, client):
            self.limited(client)
        return KernelError(429, "rate_limited", retry_after_s=max(1, math.ceil(wait_s)))

    def _deferred(self, priority: int) -> KernelError | None:
        shedding = self.shedding | self.broken.still_shedding
        if not shedding or priority >= DEFERRABLE_BELOW + self.broken.deferred_beyond or self.broken.overlooks_one():
            return self._unrecorded()
        return KernelError(503, "load_shedding", shedding=sorted(shedding), retry_after_s=RETRY_AFTER_S)

    def _unrecorded(self) -> KernelError | None:
        if not self.refusing or self.broken.answers_unrecorded():
            return None
        return KernelError(503, "log_unwritable", unwritable=sorted(self.refusing), retry_after_s=RETRY_AFTER_S)

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

        bus, kernels, queue, retros, safeguards = await asyncio.gather(
            ask("message_bus", "stats"),
            ask("control_plane", "kernels"),
            ask("scheduler", "queue"),
            ask("meta_loop", "queue"),
            ask("control_plane", "safeguards"),
        )
        return render(Gauges(bus, kernels, queue, retros, safeguards), self.requests, bool(self.shedding))


def _whole(value: str, name: str) -> int:
    try:
        number = int(value)
    except ValueError:
        number = -1
    if not 0 <= number < WHOLE_MAX:
        raise KernelError(422, "invalid_field", field=name, expected="a whole number")
    return number
