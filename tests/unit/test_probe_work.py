"""What the harness itself asked: marked, in the ledger, over before the target is read back, and nobody's failing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import gevent
import pytest

from harness.checks.queue_drained import QueueDrained
from harness.checks.retros_completed import RetrosCompleted
from harness.checks.signals_complete import SignalsComplete
from harness.checks.valid_processed import ValidProcessed
from harness.clock import Clock
from harness.contracts import View
from harness.journal import Journal, SignalWriter
from harness.ledger import LedgerRow, LedgerWriter, awaited, maybe_held, read_ledger
from harness.model import Kind, Posted, Reading, Verdict
from harness.observers.routes import RouteProbe
from harness.probe_row import probe_row
from harness.watcher import Watcher
from tests.drafts import END, KNOWLEDGE, healthy
from tests.fake_target import BASE, FakeView, as_json, serving, target
from tests.ledgers import world

RETRO = "/api/meta_loop/retrospective"
BODY = {"retro_id": "probe", "subject": "s", "events": ["a"]}
ROUTE = {"name": f"POST {RETRO}", "method": "POST", "path": RETRO, "kernels": ["a"], "witness_of": "a"}


def posted(path: str, body: dict[str, object], status: int = 202, answer: object = None, **headers: str) -> Posted:
    told = json.dumps(answer or {}).encode()
    return Posted(method="POST", path=path, body=body, status=status, headers=headers, answer=told)


@pytest.mark.parametrize(
    ("one", "kind", "identity", "outcome"),
    [
        (posted(RETRO, {"retro_id": "p-1"}), "retrospective", "p-1", "accepted"),
        (posted(RETRO, {}, answer={"id": "given"}), "retrospective", "given", "accepted"),
        (posted("/api/htm/intents", {"intent_id": "p-2"}, 0), "intent", "p-2", "unanswered"),
        (posted("/api/htm/intents", {"intent_id": "p-3"}, 503, **{"retry-after": "1"}), "intent", "p-3", "refused"),
        (posted("/api/htm/intents", {"intent_id": "p-4"}, 503), "intent", "p-4", "unanswered"),
        (posted(RETRO, {"retro_id": "p-5"}, 422), "retrospective", "p-5", "rejected"),
        (posted("/api/governance/check?x=1", {"actor": "a"}, 200, {"decision_id": "d"}), "decision", "d", "accepted"),
    ],
)
def test_a_probes_request_has_a_row(one: Posted, kind: str, identity: str, outcome: str) -> None:
    row = probe_row(one, 3.0)
    assert row is not None
    read = LedgerRow.from_json(json.dumps(row))
    assert (read.user, read.kind, read.id, read.outcome, read.attack) == ("probe", kind, identity, outcome, False)
    assert read.valid is (outcome != "rejected")


@pytest.mark.parametrize(
    "one",
    [posted("/api/chat", {}), posted(RETRO, {}), posted(RETRO, {"retro_id": "x"}, 404), posted(RETRO, BODY, 403)],
)
def test_what_changes_nothing_that_is_held_has_none(one: Posted) -> None:
    assert probe_row(one, 3.0) is None


def test_each_request_has_an_id_of_its_own(tmp_path: Path) -> None:
    with serving() as server:
        server.answers[RETRO] = as_json({})
        known = target(tmp_path, base_url=server.base_url, routes=[{**ROUTE, "body": BODY}])
        view = FakeView(known)
        probe, other = (RouteProbe.instances(known)[0] for _ in range(2))
        told = [one.posted for each in (probe, probe, other) for one in each.observe(view) if one.posted]
        sent = [json.loads(body)["retro_id"] for _, _, _, body in server.seen]
        assert [one.body["retro_id"] for one in told] == sent and len(set(sent)) == 3
        assert all(one.startswith("probe-") for one in sent)
        probe.stop_posting()
        assert not list(probe.observe(view)) and len(server.seen) == 3
        probe.close()
        other.close()


def test_a_probe_that_only_looks_goes_on(tmp_path: Path) -> None:
    with serving() as server:
        server.answers["/work"] = as_json({})
        known = target(tmp_path, base_url=server.base_url, routes=BASE["routes"][:1])
        probe = RouteProbe.instances(known)[0]
        probe.stop_posting()
        readings = list(probe.observe(FakeView(known)))
        assert readings and not [one for one in readings if one.posted]
        probe.close()


@dataclass
class Slow:
    """Posts for a while."""

    every_s: ClassVar[float] = 0.01
    posting: bool = False
    stopped: bool = False
    ids: list[str] = field(default_factory=list)

    def observe(self, view: View) -> Iterable[Reading]:
        if self.stopped:
            return
        self.posting = True
        gevent.sleep(0.2)
        self.ids.append(f"slow-{len(self.ids)}")
        yield Reading(at_s=view.now_s(), name="slow", posted=posted(RETRO, {"retro_id": self.ids[-1]}))
        self.posting = False

    def stop_posting(self) -> None:
        self.stopped = True

    def close(self) -> None:
        """Holds nothing."""


def test_nothing_is_posted_after_the_watcher_was_told(tmp_path: Path) -> None:
    journal, signals, ledger = Journal(tmp_path, Clock()), SignalWriter(tmp_path), LedgerWriter(tmp_path)
    slow = Slow()
    watcher = Watcher([slow], FakeView(target(tmp_path)), journal, signals, ledger)
    watcher.start()
    with gevent.Timeout(10):
        while not slow.posting:
            gevent.sleep(0.01)
    watcher.stop_posting()
    ledger.close()
    rows = read_ledger(tmp_path, []) or ()
    assert slow.ids and [row.id for row in rows] == slow.ids
    watcher.stop()
    assert [row.id for row in rows] == slow.ids and not journal.events


def probe_of(folder: Path) -> LedgerRow:
    row = probe_row(posted(RETRO, {"retro_id": "probe-1"}), 30.0)
    assert row is not None
    return LedgerRow.from_json(json.dumps(row))


def test_a_probes_work_is_not_waited_for(tmp_path: Path) -> None:
    row = probe_of(tmp_path)
    assert not any(awaited([row]).values()) and not any(maybe_held([row]).values())


@pytest.mark.parametrize("check", [QueueDrained, RetrosCompleted, ValidProcessed])
@pytest.mark.parametrize(("owner", "expected"), [("probe", Verdict.PASS), ("legitimate", Verdict.FAIL)])
def test_only_a_probes_open_work_is_left_out(tmp_path: Path, check: type, owner: str, expected: Verdict) -> None:
    one = world()
    row = probe_row(posted(RETRO, {"retro_id": "late-1"}), 30.0)
    assert row is not None
    one.sent.append({**row, "user": owner})
    one.held["retrospectives"].append({"id": "late-1", "status": "queued"})
    record = one.record(tmp_path)
    assert check(claim="").check(record).verdict is expected


def test_routes_are_heard_until_the_target_is_read_back(tmp_path: Path) -> None:
    for name, until_s, expected in (("to the load's end", 27.0, Verdict.PASS), ("no", 20.0, Verdict.INCONCLUSIVE)):
        draft = healthy().add(27.5, Kind.READ_BACK, healthy().plan.scenario_id, "run", began_s=27.5, problems=[])
        draft.signals = [row for row in draft.signals if row[1] != "route_up" or row[0] <= until_s]
        assert END - 27.0 > 5.0 and KNOWLEDGE
        found = SignalsComplete(claim="").check(draft.record(tmp_path / name))
        assert found.verdict is expected, found.because
