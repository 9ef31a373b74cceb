"""message_bus: runs the broker on a ROUTER socket with CURVE, and keeps its counts over a restart."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from twin.bus.broker import Broker, Ledger
from twin.bus.keys import read_keys
from twin.defects import Defects
from twin.kernel import Kernel
from twin.rpc import KernelError

SUMMARY_EVERY_S = 0.1
SAVE_EVERY_S = 0.5
BATCH = 256
LOG_BYTES_MAX = 64 << 20
SCHEMA = """
CREATE TABLE IF NOT EXISTS refused (actor TEXT, topic TEXT, reason TEXT, count INTEGER,
    PRIMARY KEY (actor, topic, reason));
CREATE TABLE IF NOT EXISTS bindings (key TEXT PRIMARY KEY, actor TEXT);
CREATE TABLE IF NOT EXISTS blacklist (actor TEXT PRIMARY KEY, since REAL);
"""


class _KnownKeys:
    """ZAP's question: may this key connect?"""

    def __init__(self, keys: set[str]) -> None:
        self._keys = keys

    def callback(self, domain: str, key: bytes) -> bool:
        return key.decode() in self._keys


class MessageBus(Kernel):
    name = "message_bus"
    on_bus = False

    async def setup(self) -> None:
        keys = read_keys(self.config.run_dir / "keys.json")
        self.db = self.open_db("message_bus", SCHEMA)
        actors_by_key = {pair["public_key"]: actor for actor, pair in keys["actors"].items()}
        self.broker = Broker(actors_by_key, self._recover(), self._send, Defects(self.config.defects))
        self.context = zmq.Context()
        self.authenticator = ThreadAuthenticator(self.context)
        self.authenticator.start()
        known = set(actors_by_key) | {pair["public_key"] for pair in keys["spare"]}
        self.authenticator.configure_curve_callback(domain="*", credentials_provider=_KnownKeys(known))
        self.router: zmq.Socket[bytes] = self.context.socket(zmq.ROUTER)
        self.router.curve_server = True
        self.router.curve_secretkey = keys["server"]["secret_key"].encode()
        self.router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.router.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self.router.setsockopt(zmq.LINGER, 0)
        self.router.setsockopt(zmq.RCVHWM, 10_000)
        self.router.setsockopt(zmq.SNDHWM, 10_000)
        self.router.bind(self.config.bus_endpoint)
        self._drain_due = False
        asyncio.get_running_loop().add_reader(self.router.getsockopt(zmq.FD), self._drain)
        self.spawn(self._pump())
        self.spawn(self._keep())

    def _recover(self) -> Ledger:
        ledger = Ledger()
        for row in self.db.execute("SELECT actor, topic, reason, count FROM refused"):
            ledger.refused[(row[0], row[1], row[2])] = row[3]
        ledger.bindings = {row[0]: row[1] for row in self.db.execute("SELECT key, actor FROM bindings")}
        ledger.blacklist = {row[0]: row[1] for row in self.db.execute("SELECT actor, since FROM blacklist")}
        return ledger

    def _send(self, peer: bytes, content: dict[str, Any]) -> bool:
        try:
            self.router.send_multipart([peer, json.dumps(content).encode()], zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def _drain(self) -> None:
        """The socket's descriptor is edge-triggered: all that is there is taken, in batches that let others work."""
        self._drain_due = False
        for _ in range(BATCH):
            try:
                frames = self.router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            if len(frames) == 2:
                self.broker.take(frames[0].bytes, str(frames[1].get("User-Id")), frames[1].bytes)
                if self.broker.urgent:
                    self._save()
        if not self._drain_due:
            self._drain_due = True
            asyncio.get_running_loop().call_soon(self._drain)

    async def _pump(self) -> None:
        """Sending swallows edges of the descriptor, so the socket is looked at by the clock, too."""
        while True:
            await asyncio.sleep(0.01)
            if self.router.getsockopt(zmq.EVENTS) & zmq.POLLIN:
                self._drain()

    async def _keep(self) -> None:
        saved_s = 0.0
        with (self.config.log_dir / "acl_refusals.jsonl").open("a") as log:
            while True:
                await asyncio.sleep(SUMMARY_EVERY_S)
                if self.broker.log_rows and log.tell() < LOG_BYTES_MAX:
                    log.write("\n".join(self.broker.log_rows) + "\n")
                    log.flush()
                self.broker.log_rows.clear()
                self._summarise()
                if time.monotonic() - saved_s >= SAVE_EVERY_S:
                    saved_s = time.monotonic()
                    self._save()

    def _summarise(self) -> None:
        summary = self.broker.summary(SUMMARY_EVERY_S)
        if summary:
            self.broker.deliver(
                {
                    "id": uuid.uuid4().hex,
                    "source": self.name,
                    "destination": "*",
                    "topic": "bus.refusals",
                    "payload": summary,
                    "priority": 3,
                    "timestamp": time.time(),
                    "correlation_id": None,
                    "metadata": {},
                }
            )

    def _save(self) -> None:
        ledger, self.broker.urgent = self.broker.ledger, False
        self.db.execute("BEGIN")
        self.db.executemany(
            "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?)",
            [(*row, count) for row, count in ledger.refused.items()],
        )
        self.db.executemany("INSERT OR REPLACE INTO bindings VALUES (?, ?)", list(ledger.bindings.items()))
        self.db.execute("DELETE FROM blacklist")
        self.db.executemany("INSERT INTO blacklist VALUES (?, ?)", list(ledger.blacklist.items()))
        self.db.execute("COMMIT")

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "stats":
            raise KernelError(404, "unknown_operation", op=op)
        ledger = self.broker.ledger
        per_actor: dict[str, int] = {}
        reasons: dict[str, int] = {}
        for (actor, _topic, reason), count in ledger.refused.items():
            per_actor[actor] = per_actor.get(actor, 0) + count
            reasons[reason] = reasons.get(reason, 0) + count
        return {
            "violations_total": sum(ledger.refused.values()),
            "published_total": self.broker.published,
            "per_actor": per_actor,
            "per_reason": reasons,
            "delivered": dict(ledger.delivered),
            "blacklist": ledger.blacklist,
        }

    async def teardown(self) -> None:
        self._save()
        self.authenticator.stop()


KERNEL = MessageBus
