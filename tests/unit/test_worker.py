"""What a worker sends to the master: its counts, and how late its own loop is."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from harness.clock import Clock
from harness.worker import Reports, in_run_time, orphaned, read
from tests.processes import ROOT

pytestmark = pytest.mark.timeout(60)
HELD = """
from gevent import monkey; monkey.patch_all()
import gevent, json, sys, time
from types import SimpleNamespace as S
from harness.contracts import Told
from harness.worker import ROWS, work

sent, listeners, orders = [], [], []
stops = []
events = S(request=S(add_listener=listeners.append), test_stop=S(add_listener=stops.append))
runner = S(
    send_message=lambda name, data: sent.append((name, data)),
    register_message=lambda name, listener: orders.append(listener),
)


class Attack:
    def __init__(self, environment, order):
        self.environment, self.order, self.rows = environment, order, []

    def start(self):
        self.environment.counts("flood", [("POST /y", "limited", 429, {7: 3})])
        self.environment.ledger({"id": "a"})
        self.rows = [{"id": "b"}]

    def stop(self):
        pass

    def told(self):
        return Told(total=4, sent=3, settled=2)

    def take_rows(self):
        rows, self.rows = self.rows, []
        return rows


work(S(events=events, runner=runner), {"/y": Attack})
order = {"step_id": "f", "params": {"endpoint": "/y"}, "seed": 1, "prefix": "p-"}
orders[0](msg=S(data={"do": "open", "order": order}))
orders[0](msg=S(data={"do": "shut", "step_id": "f"}))

def hold():
    end_s = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < end_s:
        pass

listeners[0]("GET", "/x", 5.0, {"user": "legitimate", "status": 200}, None)
gevent.sleep(0.1)
hold()
with gevent.Timeout(20):
    while len(sent) < 4:
        gevent.sleep(0.05)
listeners[0]("GET", "/last", 5.0, {"user": "legitimate", "status": 200}, None)
stops[0]()
assert {name for name, _ in sent} == {ROWS}
print(json.dumps([data for _, data in sent]))
"""


@pytest.mark.parametrize("held_s", [0.0, 0.3])
def test_a_worker_tells_how_late_it_is_and_what_it_has_counted(held_s: float) -> None:
    command = [sys.executable, "-c", HELD, str(held_s)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    sent = json.loads(done.stdout)
    *sent, last = sent
    assert [one["number"] for one in (*sent, last)] == list(range(1, len(sent) + 2))
    assert last["last"] and not any(one["last"] for one in sent)
    assert [row[2] for row in last["rows"]][-1:] == ["GET /last"], "not kept for a bin that is not over"
    worst_ms = max(one["lag_ms"] for one in sent)
    assert worst_ms >= 250.0 if held_s else worst_ms < 250.0
    assert sorted(one["lag_ms"] for one in sent)[1] < 250.0, "one look was held up, not all"
    rows = sorted(row[1:6] for one in sent for row in one["rows"])
    assert rows == [["flood", "POST /y", "limited", 429, 3], ["legitimate", "GET /x", "ok", 200, 1]]
    assert [row["id"] for one in sent for row in one["ledger"]] == ["a", "b"]
    attack = {"total": 4, "sent": 3, "answered": 0, "settled": 2, "given_up": 0, "unreached": {}}
    attack |= {"attempts": 0, "resent": 0, "counted": 0, "invalid": 0, "in_flight": 0.0, "rate": 0.0}
    attack |= {"problem": "", "shut": True}
    assert all((one["prefix"], one["attacks"]) == ("p-", {"f": attack}) for one in sent)
    assert all(one["at_s"] > 0 for one in sent), "it tells also when it has counted nothing"


ORPHAN = """
Attack.stop = lambda self: sent.append(("stopped", None))
runner.user_count, runner.last_heartbeat_timestamp = int(sys.argv[1]), time.time() + float(sys.argv[2])
runner.quit = lambda: sent.append(("quit", None))
with gevent.Timeout(2.5, False):
    while ("quit", None) not in sent:
        gevent.sleep(0.02)
print(json.dumps([name for name, _ in sent if name != ROWS]))
"""


@pytest.mark.parametrize(
    ("users", "heard_s", "did"), [(2, -60.0, ["stopped", "quit"]), (2, 0.0, []), (0, -60.0, [])], ids=str
)
def test_an_attack_ends_soon_after_its_master_did(users: int, heard_s: float, did: list[str]) -> None:
    """Not when the master is heard, and not when nobody is loaded: the worker may wait for the next master."""
    begun = HELD.partition("def hold():")[0].replace('orders[0](msg=S(data={"do": "shut", "step_id": "f"}))', "")
    command = [sys.executable, "-c", begun + ORPHAN, str(users), str(heard_s)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == did
    assert ("the load ends" in done.stdout) is bool(did)


def test_locust_notes_when_it_heard_the_master_by_that_name() -> None:
    names = "self.last_heartbeat_timestamp = time.time()", "def user_count("
    script = f"""
import inspect
from locust import runners
text = inspect.getsource(runners)
assert all(name in text for name in {names!r}), "an attack would outlive its master"
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=50)


@pytest.mark.parametrize(("heard_s", "users", "lost"), [(94.9, 1, True), (95.1, 1, False), (None, 1, False)])
def test_a_worker_without_a_master_is_told_from_an_idle_one(heard_s: float | None, users: int, lost: bool) -> None:
    assert orphaned(SimpleNamespace(last_heartbeat_timestamp=heard_s, user_count=users), 100.0) is lost
    assert not orphaned(SimpleNamespace(last_heartbeat_timestamp=heard_s, user_count=0), 100.0)


def test_what_it_sends_is_read_in_the_time_of_the_run() -> None:
    clock = Clock(monotonic_base_s=0.0, wall_base_s=1000.0)
    row = [1003.2, "legitimate", "GET /x", "ok", 200, 2, [[5, 2]]]
    activity = {"present": 2, "started": 5, "waiting": 1, "idle_s": 0.5}
    users = [(f"users_{name}", 3.5, float(value)) for name, value in activity.items()]
    told: dict[str, Any] = {"at_s": 1003.5, "lag_ms": None, "rows": [], "activity": activity}
    assert read(told, clock.from_wall)[0] == [("worker_requests", 3.5, 0.0), *users]
    samples, rows = read({**told, "lag_ms": 12, "rows": [row]}, clock.from_wall)
    assert samples == [("worker_requests", 3.5, 2.0), *users, ("loop_lag_ms", 3.5, 12.0)]
    (one,) = rows
    assert one.at_s == pytest.approx(3.2) and (one.count, one.latency_ms) == (2, ((5, 2),))


def told(number: int, last: bool = False) -> dict[str, object]:
    return {"number": number, "last": last}


def test_messages_that_are_missing_and_ends_that_never_came_are_told() -> None:
    whole = Reports()
    for number in (7, 8, 9):
        whole.heard("a", told(number, last=number == 9))
    assert whole.missing() == "" == Reports().missing()
    whole.heard("b", told(1))
    assert whole.missing() == "the last rows of worker b never came"
    gap = Reports()
    for number in (1, 2, 5):
        gap.heard("a", told(number, last=number == 5))
    assert gap.missing() == "2 messages of worker a are missing"


def test_times_of_a_ledger_row_become_those_of_the_run() -> None:
    def shifted(at_s: float) -> float:
        return at_s - 100.0

    assert in_run_time({"at_s": 107.0, "begun_s": 106.5, "id": "x"}, shifted) == {
        "at_s": 7.0,
        "begun_s": 6.5,
        "id": "x",
    }
    assert in_run_time({"at_s": 107.0}, shifted) == {"at_s": 7.0}, "an attempt that was never sent did not begin"
