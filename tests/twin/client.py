"""A client of a twin's API for the tests: one kept connection, from an address of its own."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

MINE = ("rate_limiter", "intent_validator", "queue_pressure_monitor", "thread_timeout", "worker_watchdog")
INTENT = {"goal": "g", "expected_outcome": "o", "created_by": "c", "sla_ms": 1000}


class Client:
    """ask() returns (status, content, Retry-After)."""

    def __init__(self, folder: Path, source: str = "127.0.0.1") -> None:
        where = urlsplit(yaml.safe_load((folder / "target.yaml").read_text())["base_url"])
        self.connection = http.client.HTTPConnection(
            str(where.hostname), where.port, timeout=5, source_address=(source, 0)
        )

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any], str]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body)
        self.connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        content: dict[str, Any] = json.loads(answer.read())
        return answer.status, content, answer.headers.get("Retry-After", "")

    def get(self, path: str) -> dict[str, Any]:
        status, content, _ = self.ask("GET", path)
        assert status == 200, content
        return content

    def submit(self, intent_id: str, **more: Any) -> tuple[int, dict[str, Any], str]:
        return self.ask("POST", "/api/htm/intents", {**INTENT, "intent_id": intent_id, **more})

    def rows(self, path: str, key: str) -> list[dict[str, Any]]:
        """All pages of a ledger."""
        found: list[dict[str, Any]] = []
        cursor = 0
        while True:
            page = self.get(f"{path}?since={cursor}&limit=100")
            if not page[key]:
                return found
            found += page[key]
            cursor = page["next"]

    def intents(self) -> dict[str, dict[str, Any]]:
        return {one["intent_id"]: one for one in self.rows("/api/htm/intents", "intents")}

    def finished(self) -> Counter[tuple[str, int]]:
        """How many intents have which (status, executions)."""
        return Counter((one["status"], one["executions"]) for one in self.intents().values())

    def audit(self) -> list[dict[str, Any]]:
        return self.rows("/api/immutable-log", "entries")

    def engaged(self, safeguard: str) -> list[str]:
        """The subjects for which it is engaged."""
        rows = self.get("/api/control-plane/safeguards")["safeguards"]
        return [one["subject"] for row in rows if row["name"] == safeguard for one in row["engaged"]]

    def events(self, topic: str = "") -> list[dict[str, Any]]:
        """All of them, or those of one topic."""
        told = self.get("/api/control-plane/events?since=0")["events"]
        return [one for one in told if topic in ("", one["topic"])]

    def incidents(self, *safeguards: str) -> list[dict[str, Any]]:
        """What those of them have engaged for, in order; of all five here when none is named."""
        wanted = safeguards or MINE
        return [one["payload"] for one in self.events("event.incident") if one["payload"]["trigger_id"] in wanted]

    def figures(self) -> dict[str, float]:
        """What the platform counts, of what has no labels."""
        self.connection.request("GET", "/metrics")
        lines = self.connection.getresponse().read().decode().splitlines()
        rows = [line.split() for line in lines if not line.startswith("#") and "{" not in line]
        return {name: float(value) for name, value in rows}

    def worker(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = self.get("/api/htm/queue")["workers"][name]
        return told

    def close(self) -> None:
        self.connection.close()
