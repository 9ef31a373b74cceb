"""What the harness itself asked: marked, in the ledger, over before the target is read back, and nobody's failing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gevent
import pytest

from harness.checks.queue_drained import QueueDrained
from harness.checks.signals_complete import SignalsComplete
from harness.clock import Clock
from harness.contracts import View
from harness.journal import Journal, SignalWriter
from harness.model import Kind, Reading, Verdict
from harness.observers.routes import RouteProbe
from harness.probe_rows import probe_rows
from harness.watcher import Watcher
from tests.drafts import END, KNOWLEDGE, healthy
from tests.fake_target import BASE, FakeView, as_json, serving, target
from tests.ledgers import world

RETRO = "/api/meta_loop/retrospective"
BODY = {"retro_id": "probe", "subject": "s", "events": ["a"]}
ROUTE = {"name": f"POST {RETRO}", "method": "POST", "path": RETRO, "kernels": ["a"], "witness_of": "a"}


def asked(identity: str, status: int = 202) -> dict[str, Any]:
    """A request for a retrospective, as an observer tells of it."""
    data = json.dumps({**BODY, "retro_id": identity}).encode()
    answer = {"status": status, "retry_after": False, "content": json.dumps({"id": identity}).encode()}
    return {"method": "POST", "path": RETRO, "data": data, "begun_s": 1.0, **answer}


def test_each_request_has_an_id_of_its_own(tmp_path: Path) -> None:
    with serving() as server:
        server.answers[RETRO] = as_json({})
        known = target(tmp_path, base_url=server.base_url, routes=[{**ROUTE, "body": BODY}])
        view = FakeView(known)
        probe, other = (RouteProbe.instances(known)[0] for _ in range(2))
        told = [one.asked for each in (probe, probe, other) for one in each.observe(view) if one.asked]
        sent = [json.loads(body)["retro_id"] for _, _, _, body in server.seen]
        assert [json.loads(one["data"])["retro_id"] for one in told] == sent and len(set(sent)) == 3
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
        assert readings and not [one for one in readings if one.asked]
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
        yield Reading(at_s=view.now_s(), name="slow", asked=asked(self.ids[-1]))
        self.posting = False

    def stop_posting(self) -> None:
        self.stopped = True

    def close(self) -> None:
        """Holds nothing."""


def test_nothing_is_posted_after_the_watcher_was_told(tmp_path: Path) -> None:
    journal, signals = Journal(tmp_path, Clock()), SignalWriter(tmp_path)
    slow = Slow()
    noted: list[str] = []
    watcher = Watcher(
        [slow],
        FakeView(target(tmp_path)),
        journal,
        signals,
        lambda one: noted.append(json.loads(one["data"])["retro_id"]),
    )
    watcher.start()
    with gevent.Timeout(10):
        while not slow.posting:
            gevent.sleep(0.01)
    watcher.stop_posting()
    ended = list(noted)
    assert slow.ids and ended == slow.ids
    watcher.stop()
    assert noted == ended and not journal.events


@pytest.mark.parametrize(("owner", "expected"), [("probe", Verdict.PASS), ("legitimate", Verdict.FAIL)])
def test_only_a_probes_open_work_is_left_out(tmp_path: Path, owner: str, expected: Verdict) -> None:
    one = world()
    (row,) = probe_rows(30.0, asked("late-1"))
    assert row["user"] == "probe" and one.sent is not None
    one.sent.append({**row, "user": owner})
    one.held["retrospectives"].append({"id": "late-1", "status": "queued"})
    record = one.record(tmp_path)
    assert QueueDrained(claim="").check(record).verdict is expected


def test_routes_are_heard_until_the_target_is_read_back(tmp_path: Path) -> None:
    for name, until_s, expected in (("to the load's end", 27.0, Verdict.PASS), ("no", 20.0, Verdict.INCONCLUSIVE)):
        draft = healthy().add(27.5, Kind.READ_BACK, healthy().plan.scenario_id, "run", began_s=27.5, problems=[])
        draft.signals = [row for row in draft.signals if row[1] != "route_up" or row[0] <= until_s]
        assert END - 27.0 > 5.0 and KNOWLEDGE
        found = SignalsComplete(claim="").check(draft.record(tmp_path / name))
        assert found.verdict is expected, found.because
