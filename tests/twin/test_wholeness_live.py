"""Damaged models, snapshots and settings in a living twin: clients see it, and what is done about it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.processes import twin, wait_for
from tests.twin.test_safeguards_live import engaged
from tests.twin.test_twin import manifest, pid_of, told
from twin.snapshots import SEALS, sealed

pytestmark = pytest.mark.slow
CLASSIFY = ("/api/knowledge/classify", {"text": "The watchdog restarts a process after an incident."})
TRUST = ("/api/knowledge/trust", {"content": "x", "source": "handbook", "confidence": 1.0})
RISKY = ("/api/governance/check", {"actor": "ann", "action": "deploy", "resource": "service"})
GUARDS = ("model_integrity_check", "snapshot_hygiene_manager", "config_drift_guard")
SECOND = "error_recognition_system"  # which would do their work when nobody else does
DETECTED_WITHIN_S = 5.0


def ask(folder: Path, question: tuple[str, Any]) -> Any:
    with urlopen(
        Request(manifest(folder)["base_url"] + question[0], json.dumps(question[1]).encode()), timeout=5
    ) as one:
        return json.load(one)


def path_of(folder: Path, name: str) -> Path:
    return Path(manifest(folder)["paths"][name])


def cut(path: Path) -> bytes:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return data


def corrupt(path: Path, **keys: Any) -> bytes:
    data = path.read_bytes()
    path.write_text(json.dumps({**json.loads(data), **keys}))
    return data


def drift(path: Path) -> bytes:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"approval_required: true", b"approval_required: false"))
    return data


def closed(folder: Path, subject: str) -> list[str]:
    """What became of the incident about *subject*, once it is closed."""
    events = [e for e in told(folder, "events?since=0")["events"] if e["payload"].get("subject") == subject]
    topics = [event["topic"] for event in events]
    return topics if "event.incident.closed" in topics else []


def test_damage_is_seen_by_clients_and_mended_by_its_safeguard(tmp_path: Path) -> None:
    with twin(tmp_path, off=f"resource_pressure_monitor,{SECOND}"):
        category, score, decision = ask(tmp_path, CLASSIFY), ask(tmp_path, TRUST), ask(tmp_path, RISKY)["decision"]
        assert category["category"] == "operations" and score["trust"] == 0.6458 and decision == "review"
        models, snapshot, config = (path_of(tmp_path, name) for name in ("models", "state_snapshot", "config"))
        for name, question, sound in (("classifier_model.pkl", CLASSIFY, category), ("trust_scorer.pkl", TRUST, score)):
            data = cut(models / name)
            wait_for(lambda q=question, n=name: ask(tmp_path, q)["degraded"] == [n], 1.0, "an answer without the model")
            wait_for(lambda n=name, d=data: (models / n).read_bytes() == d, DETECTED_WITHIN_S, "the restored bytes")
            wait_for(lambda q=question, s=sound: ask(tmp_path, q) == s, 2.0, "the answer as it was")
        data = drift(config)
        wait_for(lambda: ask(tmp_path, RISKY)["decision"] == "allow", 1.0, "a decision by other settings")
        wait_for(lambda: config.read_bytes() == data, DETECTED_WITHIN_S, "the approved settings")
        wait_for(lambda: ask(tmp_path, RISKY)["decision"] == "review", 2.0, "a decision as it was")
        sound = json.loads(corrupt(snapshot, memory_index="?", governance_rules="?"))
        wait_for(lambda: json.loads(snapshot.read_bytes())["memory_index"] == sound["memory_index"], DETECTED_WITHIN_S)
        assert json.loads(snapshot.read_bytes())["governance_rules"] == sound["governance_rules"]
        for subject in ("classifier_model.pkl", "trust_scorer.pkl", "config", "state_snapshot"):
            topics = wait_for(lambda s=subject: closed(tmp_path, s), 5.0, f"the end of the incident about {subject}")
            assert topics.count("event.incident") == 1 and topics.count("playbook.finished") == 1
        assert not any(engaged(tmp_path, name) for name in GUARDS)


def test_without_its_safeguard_each_stays_damaged_and_the_rest_goes_on(tmp_path: Path) -> None:
    with twin(tmp_path, off=",".join(("resource_pressure_monitor", SECOND, *GUARDS))):
        models, snapshot, config = (path_of(tmp_path, name) for name in ("models", "state_snapshot", "config"))
        cut(models / "classifier_model.pkl")
        corrupt(snapshot, memory_index="?")
        drift(config)
        wait_for(lambda: ask(tmp_path, CLASSIFY)["category"] == "unclassified", 1.0)
        wait_for(lambda: ask(tmp_path, RISKY)["decision"] == "allow", 1.0)
        assert ask(tmp_path, TRUST)["degraded"] == [], "the other model is whole"
        old = pid_of(tmp_path, "infrastructure_manager")  # which takes a snapshot when it starts
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: pid_of(tmp_path, "infrastructure_manager") != old, 10)
        wait_for(lambda: not engaged(tmp_path, "kernel_watchdog"), 10, "the end of the restart")
        assert json.loads(snapshot.read_bytes())["memory_index"] == "?", "damage is not covered up by the next snapshot"
        assert ask(tmp_path, CLASSIFY)["category"] == "unclassified"
        topics = {e["topic"] for e in told(tmp_path, "events?since=0")["events"] if "kernel" not in e["topic"]}
        assert not any(engaged(tmp_path, name) for name in GUARDS) and "security.alert" not in topics


def test_memory_begins_with_the_index_of_the_snapshot(tmp_path: Path) -> None:
    """Whatever the snapshot says that is whole is believed: a wrong count shows where the index came from."""
    with twin(tmp_path, off=",".join(("resource_pressure_monitor", SECOND, *GUARDS))):
        snapshot = path_of(tmp_path, "state_snapshot")
        known = lambda: search(tmp_path)["entries"]  # noqa: E731
        assert known() == 3
        wait_for(lambda: json.loads(snapshot.read_bytes())["memory_index"]["entries"] == 3, 5)
        ask(tmp_path, ("/api/knowledge", {"content": "a backup is restored", "source": "runbook"}))
        wait_for(lambda: known() == 4, 3)
        for entries, expected in ((1003, 1004), ("?", 4)):
            seal(snapshot, entries)
            restart(tmp_path, "memory_fusion")
            wait_for(lambda e=expected: known() == e, 5, f"{expected} entries")


def search(folder: Path) -> Any:
    with urlopen(manifest(folder)["base_url"] + "/api/knowledge?q=grace&limit=1", timeout=5) as answer:
        return json.load(answer)


def seal(snapshot: Path, entries: Any) -> None:
    """Gives the index another count, under a right checksum if it is a number."""
    document = json.loads(snapshot.read_bytes())
    values = {key: value for key, value in document.items() if key != SEALS}
    values["memory_index"]["entries"] = entries
    whole = json.loads(sealed(values))
    if not isinstance(entries, int):
        whole[SEALS]["memory_index"] = document[SEALS]["memory_index"]
    for path in (snapshot, snapshot.with_name("state.backup.json")):
        path.write_text(json.dumps(whole))


def restart(folder: Path, kernel: str) -> None:
    old = pid_of(folder, kernel)
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: pid_of(folder, kernel) != old, 10, f"a new {kernel}")
    wait_for(lambda: not engaged(folder, "kernel_watchdog"), 10, "the end of the restart")
