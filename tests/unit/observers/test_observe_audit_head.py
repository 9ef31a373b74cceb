"""audit_head: the log's last entry is journalled when it changes; silence of the log is a sample, no lost signal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.model import Kind
from harness.observers.audit_head import AuditHead
from tests.fake_target import Answer, FakeServer, FakeView, as_json, edges, samples, serving, target

LEDGERS = {"audit": {"url": "/log?since={next}", "rows": "entries", "last": "/log?last=1"}}
AUDIT = {"head": "/log?last=1"}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


def entry(sequence: Any, digest: Any = "h") -> Answer:
    return as_json({"entries": [{"sequence": sequence, "entry_hash": digest}], "next": 1})


def observer(server: FakeServer, folder: Path) -> tuple[AuditHead, FakeView]:
    found = target(folder, base_url=server.base_url, ledgers=LEDGERS, audit=AUDIT)
    return AuditHead(found), FakeView(found)


def test_a_head_is_journalled_when_it_is_another_one(server: FakeServer, tmp_path: Path) -> None:
    head, view = observer(server, tmp_path)
    seen = []
    for answer in (entry(1), entry(1), entry(2), entry(2, "rewritten"), as_json({"entries": []})):
        server.answers["/log"] = answer
        readings = list(head.observe(view))
        assert samples(readings, "audit_head_up") == {"": 1.0}
        seen += [(one.subject, dict(one.detail)) for one in edges(readings, Kind.AUDIT_HEAD)]
    heads = [{"sequence": 1, "entry_hash": "h"}, {"sequence": 2, "entry_hash": "h"}]
    assert seen == [("audit", one) for one in (*heads, {"sequence": 2, "entry_hash": "rewritten"})]
    assert samples(list(head.observe(view)), "audit_head_sequence") == {}
    head.close()


def test_a_log_that_does_not_answer_is_a_sample(server: FakeServer, tmp_path: Path) -> None:
    head, view = observer(server, tmp_path)
    for answer in (Answer(status=503), Answer(status=504), Answer(body=b"<html>")):
        server.answers["/log"] = answer
        readings = list(head.observe(view))
        assert samples(readings, "audit_head_up") == {"": 0.0} and len(readings) == 1


@pytest.mark.parametrize("answer", [as_json({"rows": []}), as_json([]), entry("1"), entry(True), entry(1, None)])
def test_an_answer_of_another_shape_is_a_lost_signal(server: FakeServer, tmp_path: Path, answer: Answer) -> None:
    head, view = observer(server, tmp_path)
    server.answers["/log"] = answer
    with pytest.raises(ValueError, match="/log"):
        list(head.observe(view))


def test_a_manifest_without_a_head_has_no_observer(tmp_path: Path) -> None:
    assert AuditHead.missing(target(tmp_path)) == "audit.head"
    assert AuditHead.missing(target(tmp_path, audit=AUDIT)) == "ledgers.audit"
    assert AuditHead.missing(target(tmp_path, audit=AUDIT, ledgers=LEDGERS)) == ""
