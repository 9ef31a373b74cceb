"""The control plane's events: kept in order in SQLite, and what they say of the safeguards."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from twin.config import SAFEGUARDS, Config


class EventStore:
    """Appends and reads events; an incident that is open means that its safeguard is engaged."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT, source TEXT,"
            " timestamp REAL, payload TEXT)"
        )
        self.open: dict[str, dict[str, Any]] = {}  # incident id -> its event.incident payload
        self.engaged_total: dict[str, int] = {}
        for event in self.since(0):
            self._follow(event["topic"], event["payload"])

    def append(self, topic: str, source: str, payload: dict[str, Any], timestamp: float | None = None) -> None:
        at = timestamp if timestamp is not None else float(payload.get("timestamp") or time.time())
        self.db.execute(
            "INSERT INTO events (topic, source, timestamp, payload) VALUES (?, ?, ?, ?)",
            (topic, source, at, json.dumps(payload)),
        )
        self._follow(topic, payload)

    def _follow(self, topic: str, payload: dict[str, Any]) -> None:
        incident = str(payload.get("incident_id"))
        if topic == "event.incident":
            self.open[incident] = payload
            name = str(payload.get("trigger_id"))
            self.engaged_total[name] = self.engaged_total.get(name, 0) + 1
        elif topic == "event.incident.closed":
            self.open.pop(incident, None)

    def since(self, seq: int, limit: int = 5000) -> list[dict[str, Any]]:
        rows = self.db.execute(
            "SELECT seq, topic, source, timestamp, payload FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
            (seq, limit),
        )
        return [
            {"seq": r[0], "topic": r[1], "source": r[2], "timestamp": r[3], "payload": json.loads(r[4])} for r in rows
        ]

    def safeguards(self, config: Config) -> list[dict[str, Any]]:
        """Every safeguard, on or off, with its open incidents."""
        return [
            {
                "name": name,
                "enabled": config.enabled(name),
                "engaged": [
                    {"subject": one["subject"], "since": one["timestamp"], "incident_id": one["incident_id"]}
                    for one in self.open.values()
                    if one.get("trigger_id") == name
                ],
                "engaged_total": self.engaged_total.get(name, 0),
            }
            for name in SAFEGUARDS
        ]

    def bypassed(self) -> list[str]:
        """Which kernels reads go round: the subjects of open incidents with that playbook."""
        return [str(one["subject"]) for one in self.open.values() if one.get("playbook") == "dependency_bypass"]

    def refusing(self) -> list[str]:
        """What cannot be put on record: the subjects of open incidents with that playbook."""
        return [str(one["subject"]) for one in self.open.values() if one.get("playbook") == "refuse_unrecorded"]

    def shedding(self) -> list[str]:
        """What load is being shed for: the subjects of open incidents of a pressure playbook."""
        return [
            str(one["subject"])
            for one in self.open.values()
            if str(one.get("playbook", "")).startswith(("resource_pressure_", "queue_backpressure"))
        ]
