"""The HTTP gateway at its edges: what it refuses, in which words, and that it goes on afterwards."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.processes import ROOT, twin, wait_for
from tests.twin.client import MINE
from twin.defects import DEFECTS
from twin.http.app import CALLS
from twin.kernels import KERNELS
from twin.routes import ROUTES

pytestmark = pytest.mark.slow
JSON = {"Content-Type": "application/json"}
INTENT = {"intent_id": "i-1", "goal": "g", "expected_outcome": "o", "created_by": "c", "sla_ms": 1000}


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gateway")
    with twin(folder, off="resource_pressure_monitor"):
        yield yaml.safe_load((folder / "target.yaml").read_text())["base_url"]


class Client:
    """One connection that is kept."""

    def __init__(self, base_url: str, source: str = "127.0.0.1") -> None:
        where = urlsplit(base_url)
        self.connection = http.client.HTTPConnection(
            str(where.hostname), where.port, timeout=5, source_address=(source, 0)
        )

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body)
        self.connection.request(method, path, data, JSON)
        answer = self.connection.getresponse()
        assert answer.headers["Content-Type"] == "application/json"
        content: dict[str, Any] = json.loads(answer.read())
        return answer.status, content


@pytest.fixture
def client(base_url: str) -> Iterator[Client]:
    client = Client(base_url)
    yield client
    client.connection.close()


def test_every_route_of_the_table_answers_on_one_kept_connection(client: Client) -> None:
    client.ask("GET", "/health")
    first = client.connection.sock
    for route in ROUTES:
        body = INTENT if route["path"] == "/api/htm/intents" else route.get("body")
        if route["name"] == "POST /api/knowledge":
            body = {"category": "c", "content": "text", "source": "user"}
        assert client.ask(route["method"], route["path"], body)[0] in (200, 202), route["name"]
    assert client.connection.sock is first


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/api/nothing", None, 404, "not_found"),
        ("DELETE", "/api/knowledge", None, 405, "method_not_allowed"),
        ("GET", "/api/chat", None, 405, "method_not_allowed"),
        ("POST", "/api/chat", b'{"message": ', 400, "invalid_json"),
        ("POST", "/api/chat", b"[1]", 400, "invalid_json"),
        ("POST", "/api/chat", b"\xff\xfe", 400, "invalid_json"),
        ("POST", "/api/chat", b"[" * 100_000, 400, "invalid_json"),
        ("POST", "/api/chat", b'{"message": "' + b"A" * (1 << 20) + b'"}', 413, "body_too_large"),
        ("GET", "/api/htm/intents/none", None, 404, "unknown_intent"),
        ("GET", "/api/immutable-log?limit=many", None, 422, "invalid_field"),
        ("GET", "/api/htm/intents?since=-1", None, 422, "invalid_field"),
        ("GET", "/api/htm/intents?since=" + "9" * 30, None, 422, "invalid_field"),
        ("POST", "/api/chat", b'{"message": ' + b"[" * 200 + b"]" * 200 + b"}", 400, "invalid_json"),
    ],
    ids=str,
)
def test_what_is_refused_is_refused_with_a_word(
    client: Client, method: str, path: str, body: bytes | None, status: int, error: str
) -> None:
    got, content = client.ask(method, path, body)
    assert (got, content["error"]) == (status, error)
    assert client.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/chat", {"user": "u"}, "message"),
        ("/api/chat", {"message": 7}, "message"),
        ("/api/sandbox", {"expression": "__import__('os').getpid()"}, "expression"),
        ("/api/sandbox", {"expression": "9**9**9"}, "expression"),
        ("/api/code", {"source": "def f(:"}, "source"),
        ("/api/knowledge", {"category": "c", "content": "x", "source": "u", "confidence": 2}, "confidence"),
        ("/api/knowledge", {"category": "c", "content": "x", "source": "u", "tags": [1]}, "tags"),
        ("/api/governance/check", {"actor": "a", "action": "", "resource": "r"}, "action"),
        ("/api/htm/intents", {**INTENT, "priority": 4}, "priority"),
        ("/api/htm/intents", {**INTENT, "priority": True}, "priority"),
        ("/api/htm/intents", {**INTENT, "sla_ms": 0}, "sla_ms"),
        ("/api/htm/intents", {**INTENT, "domain": "elsewhere"}, "domain"),
        ("/api/htm/intents", {**INTENT, "context": []}, "context"),
        ("/api/htm/intents", {k: v for k, v in INTENT.items() if k != "goal"}, "goal"),
        ("/api/bus/publish", {"topic": "system.control", "payload": {}}, "topic"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named(client: Client, path: str, body: dict[str, Any], field: str) -> None:
    status, content = client.ask("POST", path, body)
    assert (status, content["error"], content["field"]) == (422, "invalid_field", field)
    assert content["expected"]


@pytest.mark.parametrize(
    ("expression", "value"), [("6 * 7", 42), ("-(1 + 2) / 4", -0.75), ("10 % 4", 2), ("1e3 - 1", 999)]
)
def test_the_sandbox_works_out_arithmetic(client: Client, expression: str, value: float) -> None:
    assert client.ask("POST", "/api/sandbox", {"expression": expression}) == (200, {"value": value})


def test_an_intent_goes_its_way_once_however_often_it_is_sent(client: Client) -> None:
    intent = {**INTENT, "intent_id": "again"}
    for _ in range(5):
        assert client.ask("POST", "/api/htm/intents", intent)[0] == 200
    wait_for(lambda: client.ask("GET", "/api/htm/intents/again")[1]["status"] == "completed", 5)
    assert client.ask("GET", "/api/htm/intents/again")[1]["executions"] == 1
    wait_for(lambda: client.ask("GET", "/api/htm/queue")[1]["depth"] == 0, 5)


def test_governance_answers_the_same_question_the_same_way(client: Client) -> None:
    def decided(action: str) -> dict[str, Any]:
        body = {"actor": "a", "action": action, "resource": "production_database", "payload": {}}
        answer = client.ask("POST", "/api/governance/check", body)[1]
        assert answer.pop("decision_id") == answer.pop("audit_id")
        return answer

    assert decided("deploy") == decided("deploy")
    assert decided("read")["allowed"] and not decided("delete")["allowed"]
    assert decided("delete")["decision"] == "deny" and decided("deploy")["requires_approval"]


def test_a_client_of_another_loopback_address_is_served(base_url: str) -> None:
    client = Client(base_url, source="127.8.9.10")
    assert client.ask("GET", "/health")[0] == 200
    client.connection.close()


def test_it_listens_on_loopback_only(base_url: str) -> None:
    port = urlsplit(base_url).port
    with socket.socket() as other:
        other.bind(("127.8.9.10", int(port or 0)))  # free there: it is bound to one address, not to all


def test_the_metrics_are_the_text_of_prometheus_and_count(base_url: str) -> None:
    where = urlsplit(base_url)

    def scraped() -> dict[str, float]:
        connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=5)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert str(answer.headers["Content-Type"]).startswith("text/plain")
        text = answer.read().decode()
        connection.close()
        rows = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in rows}

    before = scraped()
    client = Client(base_url)
    for _ in range(3):
        client.ask("GET", "/api/unheard-of")
    client.connection.close()
    row = 'grace_http_requests_total{route="GET other",status="404"}'
    assert scraped()[row] - before.get(row, 0) == 3
    assert {f'grace_kernel_up{{kernel="{name}"}}' for name in KERNELS} <= set(before)
    assert before["grace_message_bus_acl_violations_total"] == 0
    assert before["grace_load_shedding"] == 0


def test_the_tables_agree() -> None:
    """The manifest's routes, the gateway's and the documentation's are one."""
    served = {*CALLS, ("GET", "/health"), ("POST", "/api/bus/publish"), ("POST", "/api/htm/intents")}
    assert {(route["method"], route["path"].partition("?")[0]) for route in ROUTES} <= served
    text = (ROOT / "docs" / "kernels.md").read_text()
    for route in ROUTES:
        if kernel := route.get("witness_of"):
            way = ", ".join(route["kernels"])
            assert f"| {kernel} | `{route['method']} {route['path'].partition('?')[0]}` | {way} |" in text
    assert all(f"| {name} |" in text for name in MINE) and all(f"`{name}`" in text for name in DEFECTS)
    assert "memory_fusion" not in next(one for one in ROUTES if one["path"] == "/api/chat")["kernels"]


def test_the_manifest_is_of_this_gateway(base_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = next(Path(tmp_path_factory.getbasetemp()).glob("gateway*"))
    data = yaml.safe_load((folder / "target.yaml").read_text())
    assert data["base_url"] == base_url and set(data["processes"]) == set(KERNELS)
