"""An actor's connection to the bus. Subscriptions are said again every second: the broker may be a new one."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import zmq
import zmq.asyncio

RENEW_EVERY_S = 1.0
QUEUE_MESSAGES = 10_000


class BusClient:
    """Publishes and subscribes as one actor. While the broker is away, messages wait in a bounded queue."""

    def __init__(self, actor: str, key: dict[str, str], server_public_key: str, endpoint: str) -> None:
        self.actor = actor
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.SNDHWM, QUEUE_MESSAGES)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        self._socket.curve_serverkey = server_public_key.encode()
        self._socket.curve_publickey = key["public_key"].encode()
        self._socket.curve_secretkey = key["secret_key"].encode()
        self._endpoint = endpoint
        self._topics: tuple[str, ...] = ()
        self._accepted: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(
        self,
        topics: tuple[str, ...] = (),
        on_message: Callable[[dict[str, Any]], Awaitable[None]] | None = None,
    ) -> None:
        self._socket.connect(self._endpoint)
        self._topics = topics
        self._tasks = [asyncio.create_task(self._receive(on_message)), asyncio.create_task(self._renew())]

    async def _send(self, content: dict[str, Any]) -> None:
        await self._socket.send(json.dumps(content).encode())

    async def _renew(self) -> None:
        while True:
            await self._send({"op": "hello", "actor": self.actor})
            if self._topics:
                await self._send({"op": "subscribe", "topics": list(self._topics)})
            await asyncio.sleep(RENEW_EVERY_S)

    async def _receive(self, on_message: Callable[[dict[str, Any]], Awaitable[None]] | None) -> None:
        while True:
            content = json.loads(await self._socket.recv())
            if content["op"] == "deliver" and on_message:
                await on_message(content["message"])
            elif content["op"] in ("accepted", "refused"):
                future = self._accepted.pop(str(content.get("id")), None)
                if future is not None and not future.done():
                    future.set_result(content)

    def _message(self, topic: str, payload: dict[str, Any], priority: int) -> dict[str, Any]:
        return {
            "id": uuid.uuid4().hex,
            "source": self.actor,
            "destination": "*",
            "topic": topic,
            "payload": payload,
            "priority": priority,
            "timestamp": time.time(),
            "correlation_id": None,
            "metadata": {},
        }

    async def publish(self, topic: str, payload: dict[str, Any], priority: int = 2) -> str:
        """Hands a message to the bus and returns its id."""
        message = self._message(topic, payload, priority)
        await self._send({"op": "publish", "message": message})
        return str(message["id"])

    async def publish_acked(self, topic: str, payload: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Waits for the broker's word: {"op": "accepted" | "refused", ...}. Raises TimeoutError."""
        message = self._message(topic, payload, 2)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._accepted[message["id"]] = future
        try:
            await self._send({"op": "publish", "message": message, "ack": True})
            return await asyncio.wait_for(future, timeout_s)
        finally:
            self._accepted.pop(message["id"], None)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.close()
        self._context.term()
