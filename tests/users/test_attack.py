"""An order becomes traffic: what is sent, told and written down, and what happens when it is cut short or breaks."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace as S
from typing import Any

import pytest

from harness.catalog import build_fault
from harness.model import Undo
from tests.processes import ROOT

pytestmark = pytest.mark.timeout(60)
SCRIPT = """
import json, sys
from types import SimpleNamespace as S
from locust.env import Environment
import gevent
from harness.gates import Order
from faults.api_flood import sample_of
from locustfiles.users import attack, governance, htm, retro, spam

asked = json.loads(sys.argv[1])
environment = Environment(host=asked["host"], events=None)
counted = []
environment.counts = lambda user, rows: counted.extend([user, *row[:3], sum(row[3].values())] for row in rows)
environment.clock_s = lambda: 12.5
kinds = {"htm": htm.IntentFlood, "governance": governance.GovernanceStorm, "spam": spam.Spam}
kinds["retro"] = retro.RetroCascade
order = Order(step_id="f", params=asked["params"], seed=7, prefix="p-", index=asked["index"], of=asked["of"])
one = attack.by(kinds[asked["kind"]])(environment, order)
if asked["breaks"]:
    one.user.source().take = lambda now_ns: 1 / 0
one.start()
with gevent.Timeout(asked["stop_after_s"] or 30, False):
    while one.told().settled < one.told().total and not one.told().problem:
        gevent.sleep(0.01)
before = one.told()
one.stop()
told = one.told()
sample = sample_of(S(traffic=lambda: told))
print(json.dumps({"told": [told.total, told.sent, told.settled, told.problem], "before": before.problem,
    "achieved": sample.achieved, "hold": sample.hold.name, "because": sample.because,
    "repeats": one.user.source().safe_to_repeat,
    "rows": one.take_rows(), "counted": counted, "requests": environment.stats.total.num_requests}))
"""


class ServerV6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


class Server:
    """Answers every POST; remembers the bodies. The first *limited* of them are told to come again at once."""

    def __init__(self, limited: int = 0, silent: bool = False, address: str = "127.0.0.1") -> None:
        self.address = f"[{address}]" if ":" in address else address
        self.bodies: list[bytes] = []
        self.clients: Counter[str] = Counter()
        self.limited = limited
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with server.lock:
                    server.bodies.append(body)
                    server.clients[self.client_address[0]] += 1
                    status = 429 if len(server.bodies) <= server.limited else 200
                if silent:
                    server.over.wait(20)
                answer = b'{"decision": "allow", "decision_id": "d"}' if status == 200 else b"{}"
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                if status == 429:
                    self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None: ...

        self.lock, self.over = threading.Lock(), threading.Event()
        self.http = (ServerV6 if ":" in address else ThreadingHTTPServer)((address, 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


def attack(server: Server, kind: str, total: int, **more: Any) -> dict[str, Any]:
    params = {"endpoint": "/x", "total_requests": total, "concurrency": 4, "duration_seconds": 20}
    params |= {"addresses": ["127.0.0.3", "127.0.0.4"], **more.pop("params", {})}
    asked = {"host": f"http://{server.address}:{server.http.server_port}", "params": params, "kind": kind}
    asked |= {"index": 0, "of": 1, "stop_after_s": 0, "breaks": False, **more}
    words = [sys.executable, "-c", SCRIPT, json.dumps(asked)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("kind", ["htm", "governance", "retro", "spam"])
def test_all_of_an_order_is_sent_counted_and_written_down(server: Server, kind: str) -> None:
    answer = attack(server, kind, 40)
    assert answer["told"] == [40, 40, 40, ""]
    assert len(server.bodies) == 40 == answer["requests"]
    assert set(server.clients) == {"127.0.0.3", "127.0.0.4"}
    assert sum(row[4] for row in answer["counted"]) == 40 and {row[2] for row in answer["counted"]} == {"ok"}
    rows = answer["rows"]
    assert len(rows) == (0 if kind == "spam" else 40), "what changes no state is in no ledger"
    assert all(row["id"].startswith("p-f-") and row["at_s"] == 12.5 for row in rows)
    assert answer["repeats"] == (kind != "spam"), "what bears no id of its own may not be sent twice"


def test_workers_send_exactly_the_whole_together(server: Server) -> None:
    whole = attack(server, "htm", 61, params={"invalid_ratio": 0.5})
    parts = [attack(server, "htm", 61, params={"invalid_ratio": 0.5}, index=n, of=3) for n in range(3)]
    ids = Counter((row["id"], row["flaw"]) for one in parts for row in one["rows"])
    assert ids == Counter((row["id"], row["flaw"]) for row in whole["rows"])
    assert sum(one["told"][0] for one in parts) == 61


def test_who_is_told_to_come_again_comes_again(server: Server) -> None:
    server.limited = 10
    answer = attack(server, "governance", 20)
    assert answer["told"] == [20, 20, 20, ""] and len(server.bodies) == 30
    assert sum(row[4] for row in answer["counted"] if row[2] == "limited") == 10
    assert {row["outcome"] for row in answer["rows"]} == {"accepted"}


def test_a_stop_gives_up_what_is_under_way_and_says_so() -> None:
    silent = Server(silent=True)
    try:
        answer = attack(silent, "htm", 30, stop_after_s=1)
        assert answer["told"] == [30, 4, 30, ""]
        outcomes = Counter(row["outcome"] for row in answer["rows"])
        assert outcomes == {"unanswered": 4, "refused": 26}, "what was never sent is surely not held"
    finally:
        silent.close()


def test_a_flood_that_breaks_is_a_problem_and_never_settled(server: Server) -> None:
    answer = attack(server, "htm", 30, breaks=True)
    assert "the flood broke off: ZeroDivisionError" in answer["before"] and server.bodies == []


def test_a_target_that_refuses_connections_leaves_it_unsettled_until_its_time_is_up(server: Server) -> None:
    server.close()
    answer = attack(server, "spam", 5, params={"duration_seconds": 1.5})
    assert answer["told"][0] == 5 and answer["told"][2] == 5 and answer["before"] == ""
    assert {row[2] for row in answer["counted"]} == {"failed"}


def test_an_attack_at_a_closed_port_is_lost_and_never_attained(server: Server) -> None:
    server.close()
    answer = attack(server, "htm", 20, params={"duration_seconds": 1.0})
    assert answer["told"] == [20, 0, 20, ""], "what was never written is not sent"
    assert (answer["achieved"], answer["hold"]) == (None, "LOST")
    assert answer["because"].startswith("nothing reached the target: ") and " x refused" in answer["because"]
    assert {row["outcome"] for row in answer["rows"]} <= {"refused"}, "the target surely does not hold it"


def test_an_attack_that_is_taken_and_never_answered_was_sent_all_the_same() -> None:
    silent = Server(silent=True)
    try:
        answer = attack(silent, "htm", 4, stop_after_s=1)
        assert answer["told"] == [4, 4, 4, ""] and answer["achieved"] == 4.0
        assert answer["because"] == "0 of 4 requests have their last answer, 4 were given up"
    finally:
        silent.close()


def test_a_host_that_is_not_of_127_is_attacked_from_the_address_that_there_is() -> None:
    """::1 is the nearest such host: a socket of 127.0.0.10 cannot connect to it."""
    server = Server(address="::1")
    try:
        orders: list[dict[str, Any]] = []
        target: Any = S(routes=(), base_url=f"http://{server.address}:{server.http.server_port}", permitted=())
        spam = build_fault("api_spam", {"endpoint": "/x", "count": 5, "concurrency": 2})
        spam.inject(target, Undo(), S(open_gate=orders.append))
        answer = attack(server, "spam", 5, params=orders[0])
        assert answer["told"] == [5, 5, 5, ""] and answer["achieved"] == 5.0
        assert dict(server.clients) == {"::1": 5}
    finally:
        server.close()
