"""What kernels hold survives their SIGKILL, and what could not be delivered waits until it can."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.processes import twin, wait_for
from tests.twin.test_twin import ask, manifest, pid_of
from twin.log_chain import GENESIS, entry_hash

pytestmark = [pytest.mark.slow, pytest.mark.beside]
CHECK = {"actor": "ann", "action": "deploy", "resource": "service", "payload": {"n": 1}}


def get(base_url: str, path: str) -> dict[str, Any]:
    with urlopen(base_url + path, timeout=5) as answer:
        content: dict[str, Any] = json.load(answer)
        return content


def post(base_url: str, path: str, body: dict[str, Any]) -> int:
    return ask(base_url, {"method": "POST", "path": path, "body": body})


def kill(folder: Path, kernel: str) -> None:
    """SIGKILL, and the watchdog's new process answers."""
    old = pid_of(folder, kernel)
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: pid_of(folder, kernel) != old, 10, f"a new {kernel}")
    route = next(one for one in manifest(folder)["routes"] if one.get("witness_of") == kernel)
    wait_for(lambda: ask(manifest(folder)["base_url"], route) in (200, 202), 10, f"the route of {kernel}")


def test_intents_decisions_and_log_survive_the_death_of_their_kernels(tmp_path: Path) -> None:
    with twin(tmp_path, off="resource_pressure_monitor"):
        base_url = manifest(tmp_path)["base_url"]
        for n in range(30):
            intent = {"intent_id": f"i{n}", "goal": "g", "expected_outcome": "o", "created_by": "c", "sla_ms": 9}
            assert post(base_url, "/api/htm/intents", intent) == 200
            assert post(base_url, "/api/governance/check", CHECK) == 200
        for kernel in ("scheduler", "governance", "immutable_log"):
            kill(tmp_path, kernel)
        wait_for(lambda: get(base_url, "/api/htm/queue")["depth"] == 0, 5)
        for n in range(30):
            assert get(base_url, f"/api/htm/intents/i{n}")["executions"] == 1
        entries = lambda: get(base_url, "/api/immutable-log?limit=1000")["entries"]  # noqa: E731
        wait_for(lambda: sum(one["actor"] == "ann" for one in entries()) >= 30, 5)
        assert sum(one["actor"] == "ann" for one in entries()) == 30, "each decision once"
        assert get(base_url, "/api/immutable-log/verify")["valid"]


def test_decisions_wait_for_an_immutable_log_that_is_away(tmp_path: Path) -> None:
    with twin(tmp_path, off="kernel_watchdog,resource_pressure_monitor"):
        base_url = manifest(tmp_path)["base_url"]
        log = pid_of(tmp_path, "immutable_log")
        os.kill(log, signal.SIGSTOP)
        for _ in range(10):
            assert post(base_url, "/api/governance/check", CHECK) == 200, "governance does not wait for it"
        os.kill(log, signal.SIGCONT)
        wait_for(lambda: len(get(base_url, "/api/immutable-log")["entries"]) >= 10, 10)
        assert len(get(base_url, "/api/immutable-log")["entries"]) == 10
        assert get(base_url, "/api/immutable-log/verify") == {
            "valid": True,
            "entries": 10,
            "head": get(base_url, "/api/immutable-log")["entries"][-1]["entry_hash"],
        }


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE entries SET result = 'allow' WHERE sequence = 2",
        "UPDATE entries SET payload = '{}' WHERE sequence = 2",
        "DELETE FROM entries WHERE sequence = 2",
        "UPDATE entries SET entry_hash = previous_hash WHERE sequence = 2",
    ],
)
def test_whoever_changes_the_log_behind_its_back_is_found_out(tmp_path: Path, tampering: str) -> None:
    with twin(tmp_path, off="resource_pressure_monitor"):
        base_url = manifest(tmp_path)["base_url"]
        for _ in range(3):
            assert post(base_url, "/api/governance/check", CHECK) == 200
        wait_for(lambda: get(base_url, "/api/immutable-log/verify").get("entries") == 3, 5)
        chain = get(base_url, "/api/immutable-log")["entries"]
        previous = GENESIS
        for one in chain:
            parts = (one["actor"], one["action"], one["resource"], one["payload"], one["result"])
            assert one["entry_hash"] == entry_hash(one["sequence"], *parts, previous)
            previous = one["entry_hash"]
        with sqlite3.connect(tmp_path / "audit" / "immutable_log.db") as db:
            db.execute(tampering)
        db.close()
        verdict = get(base_url, "/api/immutable-log/verify")
        assert not verdict["valid"] and verdict["broken_at"] in (2, 3)
