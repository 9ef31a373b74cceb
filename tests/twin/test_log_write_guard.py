"""What cannot be put on record is refused, and is done without a record when the log write guard is off."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.mounts import may_mount, mount_tmpfs, umount
from twin.audit import AuditWriter
from twin.commit import GroupCommit
from twin.config import SAFEGUARDS, Config, Thresholds
from twin.defects import Defects
from twin.events import EventStore
from twin.http.app import App
from twin.http.recorded import KINDS, Attempt, RequestTrail
from twin.kernels.immutable_log import ImmutableLog
from twin.log_room import Complaints, Room, unwritable
from twin.log_tail import Failure
from twin.manifest import _audit_disk
from twin.meters import Meters, disk_used_percent
from twin.outbox import SCHEMA, Outbox
from twin.rpc import KernelError
from twin.safeguards.log_write_guard import LogWriteGuard
from twin.signatures import SCHEMA as SIGNATURES
from twin.signatures import Signatures

FULL = "database or disk is full"
ENTRY = {"actor": "ann", "action": "deploy", "resource": "r", "subsystem": "s", "payload": {}, "result": "allow"}


def full(schema: str) -> sqlite3.Connection:
    """A database that may have no page more, which SQLite tells as it tells of a full disk."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.row_factory = sqlite3.Row
    db.executescript(schema)
    db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').fetchone()[0]}")
    return db


def entry(reference: str) -> dict[str, Any]:
    return {**ENTRY, "reference": reference, "payload": {"note": "x" * 10_000}}


def outbox(folder: Path, guarded: bool) -> Outbox:
    safeguards = {} if guarded else {LogWriteGuard.name: False}
    config = Config(dir=folder, safeguards=safeguards)
    kernel: Any = SimpleNamespace(config=config, log=logging.getLogger("governance"))
    db = full(SCHEMA)
    return Outbox(kernel, db, GroupCommit(db))


def test_one_look_engages_and_a_while_without_trouble_releases() -> None:
    guard = LogWriteGuard(Thresholds())
    assert guard.tick(0.0, "") is None and not guard.engaged
    change = guard.tick(1.0, "No space left on device")
    assert change is not None and change.engaged and "No space left on device" in change.reason
    assert guard.tick(1.2, "No space left on device") is None, "it is said once"
    assert guard.tick(1.4, "") is None
    assert guard.tick(2.0, "No space left on device") is None, "a moment of room is no room"
    assert guard.tick(2.2, "") is None and guard.tick(3.6, "") is None
    change = guard.tick(3.71, "")
    assert change is not None and not change.engaged and change.details == {"looks_in_vain": 3}
    assert guard.tick(9.0, "") is None


def test_only_a_disk_that_takes_nothing_is_unwritable() -> None:
    db = full("CREATE TABLE t (x)")
    with pytest.raises(sqlite3.Error) as told:
        db.execute("INSERT INTO t VALUES (?)", ("x" * 10_000,))
    assert unwritable(told.value) and str(told.value) == FULL
    with pytest.raises(sqlite3.Error) as told:
        db.execute("INSERT INTO nowhere VALUES (1)")
    assert not unwritable(told.value) and not unwritable(OSError())


def test_room_is_tried_and_given_back(tmp_path: Path) -> None:
    room = Room(tmp_path)
    assert room.trouble() == "" and room.path.stat().st_size == 0
    assert Room(tmp_path / "gone").trouble() == "No such file or directory"
    if not may_mount():
        return
    small = tmp_path / "small"
    small.mkdir()
    mount_tmpfs(small, "tests", 128 << 10)
    try:
        room = Room(small)
        assert room.trouble() == "No space left on device"
        assert room.path.stat().st_blocks == 0, "what could not be had in full is given back as well"
        assert _audit_disk(Config(dir=tmp_path, audit=small), False) == {"audit_disk": str(small)}
        (small / "more").write_bytes(bytes(100 << 10))
        assert disk_used_percent(tmp_path) < Meters(tmp_path, small).read()["disk"]
    finally:
        umount(small, lazily=True)
    assert _audit_disk(Config(dir=tmp_path, audit=small), False) == {}


def test_what_has_no_record_is_refused_and_lost_only_without_the_guard(tmp_path: Path) -> None:
    async def add(box: Outbox) -> None:
        await box.add(entry("a"))

    strict, lax = outbox(tmp_path, guarded=True), outbox(tmp_path, guarded=False)
    with pytest.raises(KernelError) as told:
        asyncio.run(add(strict))
    assert (told.value.status, told.value.error, told.value.detail) == (503, "log_unwritable", {"retry_after_s": 2})
    asyncio.run(add(lax))  # answered, as if it had been recorded
    for box in (strict, lax):
        assert box.waiting == 0 and box.db.execute("SELECT count(*) FROM outbox").fetchone()[0] == 0
        box.db.execute("PRAGMA max_page_count=1000")
        asyncio.run(add(box))
        assert box.waiting == 1 and box._batch()[1][0]["reference"] == "a"


def references(box: Outbox) -> list[str]:
    return [one["reference"] for one in box._batch()[1]]


def test_reserved_entry_is_sent_once_confirmed(tmp_path: Path) -> None:
    async def story() -> None:
        box = outbox(tmp_path, guarded=True)
        with pytest.raises(KernelError, match="log_unwritable"):
            await box.reserve(entry("full"))
        box.db.execute("PRAGMA max_page_count=1000")
        first, second = await box.reserve(entry("a")), await box.reserve(entry("b"))
        await box.add(entry("c"))
        assert references(box) == ["c"] and box.waiting == 3
        await box.confirm(first)
        await box.cancel(second)
        assert references(box) == ["a", "c"] and box.waiting == 2

    asyncio.run(story())


def test_reserved_entries_of_a_dead_process_are_sent(tmp_path: Path) -> None:
    async def story() -> None:
        box = outbox(tmp_path, guarded=True)
        box.db.execute("PRAGMA max_page_count=1000")
        await box.reserve(entry("a"))
        heir = Outbox(box.kernel, box.db, box.commits)
        assert references(heir) == [] and heir.waiting == 1
        await heir._settle_again()
        assert references(heir) == ["a"] and heir.waiting == 1

    asyncio.run(story())


def test_confirmation_that_finds_no_room_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        box = outbox(tmp_path, guarded=True)
        box.db.execute("PRAGMA max_page_count=1000")
        kept, dropped = await box.reserve(entry("a")), await box.reserve(entry("b"))
        transaction = box.commits._transaction
        error = sqlite3.OperationalError(FULL)
        error.sqlite_errorcode = sqlite3.SQLITE_FULL

        def fails(works: list[Any]) -> list[Any]:
            raise error

        box.commits._transaction = fails  # type: ignore[method-assign]
        await box.confirm(kept)
        await box.cancel(dropped)
        assert references(box) == [] and box.waiting == 2
        box.commits._transaction = transaction  # type: ignore[method-assign]
        await box._settle_again()
        assert references(box) == ["a"] and box.waiting == 1

    asyncio.run(story())


def test_work_begins_only_with_room_for_its_entry(tmp_path: Path) -> None:
    async def story() -> None:
        box, done = outbox(tmp_path, guarded=True), []
        trail = RequestTrail(AuditWriter(box, Defects(())))
        attempt = Attempt(KINDS["/api/knowledge"], "127.0.0.1", "d", {"source": "x" * 200})

        async def work() -> dict[str, Any]:
            done.append(1)
            return {"id": "k"}

        async def fails() -> dict[str, Any]:
            raise KernelError(409, "duplicate_knowledge")

        long = "r" * 20_000
        with pytest.raises(KernelError, match="log_unwritable"):
            await trail.done(attempt, long, work)
        assert not done
        box.db.execute("PRAGMA max_page_count=1000")
        answer = await trail.done(attempt, long, work)
        assert done and references(box) == [answer["audit_id"]]
        with pytest.raises(KernelError, match="duplicate_knowledge"):
            await trail.done(attempt, long, fails)
        assert len(references(box)) == box.waiting == 1

    asyncio.run(story())


def test_another_failure_of_the_outbox_is_no_full_disk(tmp_path: Path) -> None:
    async def add(box: Outbox) -> None:
        await box.add(entry("a"))

    for guarded in (True, False):
        box = outbox(tmp_path, guarded)
        box.db.execute("DROP TABLE outbox")
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            asyncio.run(add(box))
        assert box.waiting == 0


def test_an_append_that_finds_no_room_is_told_to_the_guard(tmp_path: Path) -> None:
    async def append() -> None:
        kernel = ImmutableLog(Config(dir=tmp_path, safeguards=dict.fromkeys(SAFEGUARDS, False)))
        for folder in (kernel.config.audit_dir, kernel.config.state_dir):
            folder.mkdir()
        await kernel.setup()
        kernel.db.execute(f"PRAGMA max_page_count={kernel.db.execute('PRAGMA page_count').fetchone()[0]}")
        with pytest.raises(KernelError) as told:
            await kernel.handle("append", {"entries": [entry("a"), entry("b")]})
        assert (told.value.status, kernel.unwritten) == (503, FULL)
        kernel.db.execute("PRAGMA max_page_count=1000")
        assert await kernel.handle("append", {"entries": [entry("a"), entry("b")]}) == {"sequences": [1, 2]}
        assert (await kernel.handle("verify", {}))["valid"]

    asyncio.run(append())


def test_the_gateway_defers_what_may_wait_and_refuses_the_rest() -> None:
    nothing: Any = None
    app = App(*[nothing for _ in inspect.signature(App).parameters])
    assert app._deferred(8) is None and app._unrecorded() is None
    app.refusing.add("immutable_log")
    for priority in (1, 8):
        refusal = app._deferred(priority)
        assert refusal is not None and (refusal.status, refusal.error) == (503, "log_unwritable")
        assert refusal.detail == {"unwritable": ["immutable_log"], "retry_after_s": 2}
    app.shedding.add("disk")
    words = [refusal.error for priority in (1, 8) if (refusal := app._deferred(priority))]
    assert words == ["load_shedding", "log_unwritable"]


def test_a_gateway_that_begins_anew_is_told_what_is_refused(tmp_path: Path) -> None:
    events = EventStore(tmp_path / "events.db")
    incident = {"incident_id": "1", "trigger_id": LogWriteGuard.name, "subject": "immutable_log", "timestamp": 1.0}
    events.append("event.incident", "immutable_log", {**incident, "playbook": LogWriteGuard.playbook})
    assert events.refusing() == ["immutable_log"] and events.shedding() == events.bypassed() == []
    events.append("event.incident.closed", "immutable_log", incident)
    assert events.refusing() == []


def test_the_complaint_is_made_once_a_second_and_is_a_signature_that_is_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    complaints = Complaints(logging.getLogger("governance"))
    for now_s in (0.0, 0.5, 0.9, 1.0, 1.5):
        complaints.say(now_s, FULL)
    assert len(caplog.messages) == 2
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.row_factory = sqlite3.Row
    db.executescript(SIGNATURES)
    signatures = Signatures(db)
    for why in (FULL, "No space left on device"):
        one = signatures.take(1.0, Failure("governance", "ERROR", f"the immutable log cannot be written: {why}"))
        assert one is not None and not one.first_time
        assert (one.subject, one.playbook) == ("immutable_log", "refuse_unrecorded")
    other = signatures.take(1.0, Failure("governance", "ERROR", "the immutable log cannot be written: read-only"))
    assert other is not None and other.playbook == ""
