"""What a route's probe asks is in the ledger like a client's request, and is nobody's attack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.ledger import LedgerRow
from harness.observers.routes import RouteProbe
from harness.probe_rows import probe_rows
from harness.record import Record
from tests.drafts import healthy
from tests.fake_target import Answer, FakeServer, FakeView, as_json, serving, target

CHECK = "/api/governance/check"
BODY = {"actor": "probe", "action": "read", "resource": "status", "payload": {}}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


def asked(server: FakeServer, folder: Path, answer: Answer, path: str = CHECK) -> dict[str, Any] | None:
    """The row of one look of a probe."""
    route = {"name": f"POST {path}", "method": "POST", "path": path, "kernels": ["api_server"], "body": BODY}
    found = target(folder, base_url=server.base_url, routes=[{**route, "witness_of": "api_server"}])
    server.answers[path] = answer
    probe = RouteProbe.instances(found)[0]
    readings = [one for one in probe.observe(FakeView(found, at_s=7.0)) if one.asked]
    probe.close()
    return next(iter(probe_rows(readings[0].at_s, readings[0].asked)), None)


def read(row: dict[str, Any] | None) -> LedgerRow:
    assert row is not None
    return LedgerRow.from_json(json.dumps(row))


def test_a_decision_is_told_as_a_client_tells_it(server: FakeServer, tmp_path: Path) -> None:
    row = read(asked(server, tmp_path, as_json({"decision": "allow", "allowed": True, "audit_id": "a1"})))
    assert (row.user, row.kind, row.outcome, row.reference) == ("probe", "decision", "accepted", "a1")
    assert row.digest == hashlib.sha256(server.seen[-1][3]).hexdigest() and not row.attack
    assert row.question == "probe|read|status" and row.told == {"decision": "allow", "allowed": True}
    assert row.begun_s is not None and row.begun_s <= row.at_s == 7.0


def test_work_has_the_id_that_the_answer_gives_it(server: FakeServer, tmp_path: Path) -> None:
    path = "/api/meta_loop/retrospective"
    row = read(asked(server, tmp_path, Answer(status=202, body=b'{"id": "x1", "status": "queued"}'), path))
    assert (row.kind, row.id, row.outcome) == ("retrospective", "x1", "accepted")


@pytest.mark.parametrize(("named", "misnamed"), [("x2", 0), ("x1", 1), (None, 1)])
def test_work_keeps_the_id_that_it_was_sent_with(named: str | None, misnamed: int) -> None:
    sent = {"retro_id": "x2", "subject": "s"}
    looked = {"method": "POST", "path": "/api/meta_loop/retrospective", "data": json.dumps(sent).encode()}
    answer = {"status": 202, "retry_after": False, "content": json.dumps({"id": named}).encode(), "begun_s": 6.0}
    row = read(next(iter(probe_rows(7.0, {**looked, **answer}))))
    outcome = "unanswered" if misnamed else "accepted"
    assert (row.id, row.outcome, row.misnamed, row.for_another) == ("x2", outcome, misnamed, misnamed)


@pytest.mark.parametrize(
    ("answer", "outcome", "refusals", "lost"),
    [
        (Answer(status=503, headers=(("Retry-After", "2"),), body=b'{"error": "full"}'), "refused", {"full": 1}, 0),
        (Answer(status=503), "unanswered", {}, 1),
        (Answer(status=504), "unanswered", {}, 1),
        (Answer(status=422, body=b'{"error": "invalid_field"}'), "rejected", {}, 0),
    ],
)
def test_any_other_answer_is_told_as_it_is(
    server: FakeServer, tmp_path: Path, answer: Answer, outcome: str, refusals: dict[str, int], lost: int
) -> None:
    row = read(asked(server, tmp_path, answer))
    assert (row.outcome, dict(row.refusals), row.lost) == (outcome, refusals, lost)


def test_what_changes_nothing_is_in_no_ledger(server: FakeServer, tmp_path: Path) -> None:
    assert asked(server, tmp_path, as_json({}), "/api/chat") is None


def test_a_record_tells_probes_and_clients_apart(server: FakeServer, tmp_path: Path) -> None:
    row = asked(server, tmp_path, as_json({"decision": "allow"}))
    draft = healthy()
    draft.files = {"ledger.jsonl": "".join(json.dumps({**(row or {}), "user": user}) + "\n" for user in ("probe", "x"))}
    record: Record = draft.record(tmp_path / "run")
    assert [one.user for one in record.ledger or ()] == ["x"] and [one.user for one in record.probes] == ["probe"]
