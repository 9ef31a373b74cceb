"""The gateway's way for intents: checked, and handed to the queue many at a time."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from twin.defects import Defects
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable, RpcClient
from twin.safeguards.intent_validator import NORMAL, PRIORITIES, IntentValidator

BATCH = 200
BATCH_BYTES_MAX = 4 << 20
WAITING_MAX = 5_000
WAITING_BYTES_MAX = 16 << 20
LIMIT_S = 2.0
RETRY_AFTER_S = 2
Row = tuple[str, int, str]  # intent_id, priority, body


class Batches:
    """put() hands a row to the scheduler. While one batch is on its way the next one gathers."""

    def __init__(self, rpc: RpcClient) -> None:
        self.rpc = rpc
        self._waiting: list[tuple[Row, asyncio.Future[str]]] = []
        self._bytes = 0
        self._sending: asyncio.Task[None] | None = None

    async def put(self, row: Row) -> str:
        """The scheduler's word. Raises KernelTimeout when it does not say one in time."""
        if len(self._waiting) >= WAITING_MAX or self._bytes >= WAITING_BYTES_MAX:
            raise KernelError(503, "queue_full", retry_after_s=RETRY_AFTER_S)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, future))
        self._bytes += len(row[2])
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        try:
            async with asyncio.timeout(LIMIT_S):
                return await future
        except TimeoutError:
            raise KernelTimeout("scheduler") from None

    async def _send(self) -> None:
        while self._waiting:
            batch = self._next()
            if not batch:
                continue
            try:
                rows = {"intents": [row for row, _ in batch]}
                words: list[Any] = (await self.rpc.call("scheduler", "submit", rows, LIMIT_S))["words"]
            except (KernelTimeout, KernelUnavailable, KernelError) as error:
                words = [error] * len(batch)
            for (_, future), word in zip(batch, words, strict=True):
                if future.done():
                    continue
                if isinstance(word, Exception):
                    future.set_exception(word)
                else:
                    future.set_result(word)

    def _next(self) -> list[tuple[Row, asyncio.Future[str]]]:
        """The next batch, without those whose client has been told already that it took too long."""
        size = used = 0
        for row, _ in self._waiting[:BATCH]:
            size += len(row[2])
            used += 1
            if size > BATCH_BYTES_MAX:
                break
        batch, self._waiting = self._waiting[:used], self._waiting[used:]
        self._bytes -= size
        return [one for one in batch if not one[1].done()]


class Intents:
    """submit() hands one intent over. *insists* is called with a client that sends too much that is no intent."""

    def __init__(
        self,
        rpc: RpcClient,
        validator: IntentValidator | None,
        insists: Callable[[str], None],
        defects: Defects,
    ) -> None:
        self.batches = Batches(rpc)
        self.validator = validator
        self.insists = insists
        self.defects = defects

    def checked(self, body: dict[str, Any], deferred: Callable[[int], KernelError | None]) -> Row:
        """The intent as the queue takes it. *deferred* says by its priority why it has to wait. Raises KernelError."""
        intent_id, priority = _identity(body)
        self._check(body)
        intent_id = intent_id or f"unnamed-{uuid.uuid4().hex}"
        if refusal := deferred(priority):
            raise refusal
        return intent_id, priority, json.dumps(body, sort_keys=True)

    async def submit(self, row: Row) -> dict[str, Any]:
        """The answer. Raises KernelError."""
        intent_id, word = row[0], await self.batches.put(row)
        if word == "full":
            raise KernelError(503, "queue_full", retry_after_s=RETRY_AFTER_S)
        if word == "duplicate":
            raise KernelError(409, "duplicate_intent", intent_id=intent_id)
        if self.defects.strikes("answers_name_another_id"):
            intent_id = f"unnamed-{uuid.uuid4().hex}"
        return {"intent_id": intent_id, "status": "created"}

    def rejected(self, client: str) -> None:
        """Counts a rejection against *client*."""
        if self.validator is not None and self.validator.insistence.saw(time.monotonic(), client):
            self.insists(client)

    def _check(self, body: dict[str, Any]) -> None:
        try:
            if self.validator is not None:
                self.validator.check(body)
        except KernelError as error:
            if not self.defects.overlooks(body, error.detail.get("field")):
                raise


def _identity(body: dict[str, Any]) -> tuple[str, int]:
    """(intent_id or "", priority) as the queue can hold them, also of an intent that nobody has checked."""
    name, priority = body.get("intent_id"), body.get("priority", NORMAL)
    if not isinstance(name, str) or len(name) > 100:
        name = ""
    name = name.encode("utf-8", "backslashreplace").decode()
    return name, priority if type(priority) is int and priority in PRIORITIES else NORMAL
