"""Failures are known by what the logs say of them: delivered or learned, recognised the next time, and then mended."""

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
from tests.twin.test_safeguards_live import engaged
from tests.twin.test_twin import manifest, pid_of, told
from tests.twin.test_wholeness_live import CLASSIFY, GUARDS, ask, cut, path_of
from twin.log_tail import Failure, LogTail
from twin.safeguards import error_recognition_system
from twin.safeguards.error_recognition_system import QUIET_S, WAIT_S, ErrorRecognitionSystem, Step
from twin.signatures import SCHEMA, SIGNATURES_MAX, Signatures, shape_of, subject_of

NAME = "error_recognition_system"
PLAYBOOKS = ("model_restore", "worker_restart")
TORN = "classifier_model.pkl must not be used: its sha256 is 7c9e1e1ea1fb, not a21d9d7b8ad8 (500 bytes)"


def failure(text: str, source: str = "librarian") -> Failure:
    return Failure(source, "ERROR", text)


@pytest.fixture
def system() -> ErrorRecognitionSystem:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.row_factory = sqlite3.Row
    db.executescript(SCHEMA)
    return ErrorRecognitionSystem(Signatures(db), PLAYBOOKS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TORN, TORN.replace("7c9e1e1ea1fb", "00ff00ff00ff").replace("500", "7").replace("classifier_model", "other")),
        ("worker 3 was slow: 2.5 s", "worker 12 was slow: 17 s"),
        ("no file '/a/b c'", "no file '/x'"),
        ("cannot open /run/a/x.sock", "cannot open /var/y/z-2.sock"),
        ("governance does not answer", "memory_fusion does not answer"),
    ],
)
def test_the_same_failure_has_the_same_shape(one: str, other: str) -> None:
    assert one != other and shape_of(one) == shape_of(other)


@pytest.mark.parametrize("other", ["worker 3 was slow: 2.5 h", "worker 3 is slow: 2.5 s", "a worker 3 was slow: 2.5 s"])
def test_another_failure_has_another_shape(other: str) -> None:
    assert shape_of("worker 3 was slow: 2.5 s") != shape_of(other)


def test_what_a_failure_is_about() -> None:
    assert subject_of(failure(TORN)) == "classifier_model.pkl"
    assert subject_of(failure("memory_fusion does not answer")) == "memory_fusion"
    assert subject_of(failure("it is late", "htm_worker_1")) == "htm_worker_1"


def test_only_whole_new_lines_that_tell_of_failures_are_read(tmp_path: Path) -> None:
    log = tmp_path / "librarian.log"
    log.write_text("2026-01-01 10:00:00,000 ERROR librarian an old one\n")
    tail = LogTail(tmp_path)
    assert tail.read() == []
    with log.open("a") as file:
        file.write(
            "2026-01-01 10:00:01,000 INFO librarian all is well\n2026-01-01 10:00:02,000 ERROR models a new one\n"
        )
        file.write("Traceback (most recent call last):\n2026-01-01 10:00:03,000 WARNING librarian half of")
    assert tail.read() == [Failure("librarian", "ERROR", "a new one")]
    with log.open("a") as file:
        file.write(" a line\n")
    (tmp_path / "new.log").write_text("2026-01-01 10:00:04,000 CRITICAL new it began\n")
    assert [(one.source, one.text) for one in tail.read()] == [("librarian", "half of a line"), ("new", "it began")]
    log.write_text("2026-01-01 10:00:05,000 ERROR librarian begun anew\n")
    assert [one.text for one in tail.read()] == ["begun anew"] and tail.read() == []
    log.unlink()
    assert tail.read() == []


def steps(system: ErrorRecognitionSystem, *times: float) -> list[tuple[float, Step]]:
    return [(now_s, step) for now_s in times for step in system.tick(now_s)]


def test_a_delivered_signature_leads_to_its_playbook(system: ErrorRecognitionSystem) -> None:
    assert system.take(0.0, 0.0, [failure(TORN)]) == [], "nothing to learn"
    assert steps(system, WAIT_S - 0.1) == [], "who is in charge of it has some time"
    ((_, step),) = steps(system, WAIT_S)
    assert (step.engaged, step.subject, step.playbook) == (True, "classifier_model.pkl", "model_restore")
    assert [(at_s, step.engaged) for at_s, step in steps(system, WAIT_S + QUIET_S - 0.1, WAIT_S + QUIET_S)] == [
        (WAIT_S + QUIET_S, False)
    ]


def test_who_is_in_charge_is_not_done_the_work_of(system: ErrorRecognitionSystem) -> None:
    system.take(0.0, 0.0, [failure(TORN)])
    system.incident(1.0, {"trigger_id": NAME, "subject": "classifier_model.pkl"})
    system.incident(1.0, {"trigger_id": "model_integrity_check", "subject": "trust_scorer.pkl"})
    assert steps(system, WAIT_S)[0][1].playbook == "model_restore", "neither itself nor about another file"
    steps(system, WAIT_S + QUIET_S)
    system.take(20.0, 20.0, [failure(TORN)])
    system.incident(21.0, {"trigger_id": "model_integrity_check", "subject": "classifier_model.pkl"})
    step = next(step for _, step in steps(system, 20.0 + WAIT_S) if step.engaged)
    assert step.playbook == "" and "model_integrity_check is at it" in step.reason


@pytest.mark.parametrize(
    ("subject", "playbook", "outcome", "after_s", "learned"),
    [
        ("htm_worker_1", "worker_restart", "succeeded", 4.0, "worker_restart"),
        ("htm_worker_1", "worker_restart", "succeeded", 40.0, ""),
        ("htm_worker_1", "worker_restart", "failed", 4.0, ""),
        ("htm_worker_2", "worker_restart", "succeeded", 4.0, ""),
        ("htm_worker_1", "kernel_restart", "succeeded", 4.0, ""),
    ],
)
def test_an_unknown_one_is_learned_with_what_helped(
    system: ErrorRecognitionSystem, subject: str, playbook: str, outcome: str, after_s: float, learned: str
) -> None:
    (new,) = system.take(0.0, 0.0, [failure("the pump at 7 bar is dry", "htm_worker_1")])
    assert (new.playbook, new.subject) == ("", "htm_worker_1") and steps(system, WAIT_S) == [], "once is no pattern"
    system.mended(after_s, {"subject": subject, "playbook": playbook, "outcome": outcome})
    assert system.take(60.0, 60.0, [failure("the pump at 9 bar is dry", "htm_worker_1")]) == [], "learned once"
    ((_, step),) = steps(system, 60.0 + WAIT_S)
    assert (step.engaged, step.playbook) == (True, learned)
    (row,) = system.signatures.told()
    assert (row["shape"], row["seen"], row["playbook"]) == ("the pump at <n> bar is dry", 2, learned)


def test_what_was_learned_of_one_kernel_is_recognised_of_another(system: ErrorRecognitionSystem) -> None:
    (new,) = system.take(0.0, 0.0, [failure("governance does not answer", "api_server")])
    assert new.subject == "governance" and steps(system, WAIT_S, 60.0) == [], "once is no pattern"
    assert system.take(60.0, 60.0, [failure("memory_fusion does not answer", "api_server")]) == [], "learned once"
    ((_, step),) = steps(system, 60.0 + WAIT_S)
    assert (step.engaged, step.subject) == (True, "memory_fusion") and "<kernel> does not answer" in step.reason


def test_a_flood_of_different_failures_is_bounded(system: ErrorRecognitionSystem) -> None:
    words = [
        f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)} broke" for n in range(SIGNATURES_MAX + 50)
    ]
    assert len(system.take(0.0, 0.0, [failure(text) for text in words])) == SIGNATURES_MAX
    assert error_recognition_system.LEARNS_FOR_S > WAIT_S


# In a living twin


def signatures(folder: Path) -> list[dict[str, Any]]:
    with urlopen(f"{manifest(folder)['base_url']}/api/learning/errors", timeout=5) as answer:
        found: list[dict[str, Any]] = json.load(answer)["signatures"]
        return found


def events(folder: Path, topic: str) -> list[dict[str, Any]]:
    return [one["payload"] for one in told(folder, "events?since=0")["events"] if one["topic"] == topic]


@pytest.mark.slow
def test_what_a_kernel_complains_of_is_mended_when_nobody_is_in_charge(tmp_path: Path) -> None:
    with twin(tmp_path, off=",".join(("resource_pressure_monitor", *GUARDS))):
        model = path_of(tmp_path, "models") / "classifier_model.pkl"
        sound, data = ask(tmp_path, CLASSIFY), cut(model)
        wait_for(lambda: ask(tmp_path, CLASSIFY)["degraded"], 1.0)
        wait_for(lambda: model.read_bytes() == data, 5.0, "the restored bytes")
        wait_for(lambda: ask(tmp_path, CLASSIFY) == sound, 2.0)
        (incident,) = events(tmp_path, "event.incident")
        assert (incident["trigger_id"], incident["playbook"]) == (NAME, "model_restore")
        wait_for(lambda: not engaged(tmp_path, NAME), 10.0, "the release")


@pytest.mark.slow
def test_a_failure_that_nobody_knew_is_recognised_the_second_time(tmp_path: Path) -> None:
    """The backup of the snapshot cannot be written: a folder is in its place."""
    with twin(tmp_path, off=",".join(("resource_pressure_monitor", *GUARDS))):
        snapshot = path_of(tmp_path, "state_snapshot")
        backup = snapshot.with_name("state.backup.json")
        wait_for(lambda: json.loads(snapshot.read_bytes())["memory_index"]["entries"], 5.0)
        assert signatures(tmp_path) == []
        backup.unlink()
        backup.mkdir()
        old = pid_of(tmp_path, "infrastructure_manager")  # which takes a snapshot when it starts, and again soon
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: any(one["seen"] >= 2 for one in signatures(tmp_path)), 15.0, "the second time")
        (row,) = signatures(tmp_path)
        assert row["source"] == "infrastructure_manager" and row["shape"].startswith("no snapshot was taken: ")
        wait_for(lambda: engaged(tmp_path, NAME), 5.0, "the incident")
        assert [one["signature"] for one in events(tmp_path, "event.error.learned")] == [row["shape"]], "learned once"
        backup.rmdir()
        wait_for(lambda: not engaged(tmp_path, NAME), 10.0, "the release")


@pytest.mark.slow
def test_when_it_is_off_nothing_is_learned_or_done(tmp_path: Path) -> None:
    with twin(tmp_path, off=",".join(("resource_pressure_monitor", NAME))):
        data = cut(path_of(tmp_path, "models") / "classifier_model.pkl")
        wait_for(lambda: ask(tmp_path, CLASSIFY)["degraded"], 1.0)
        wait_for(lambda: (path_of(tmp_path, "models") / "classifier_model.pkl").read_bytes() == data, 5.0)
        wait_for(lambda: events(tmp_path, "event.incident.closed"), 5.0)
        assert signatures(tmp_path) == [] and len(events(tmp_path, "event.incident")) == 1
