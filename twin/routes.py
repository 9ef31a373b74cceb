"""Which kernel does what a client sees: the table of the HTTP API's routes."""

from __future__ import annotations

from typing import Any

Route = dict[str, Any]


# What each answer to a route's example holds: fields that are never empty, and fields that are always the same.
ANSWERS = {
    "GET /api/knowledge": {"full": ["results"]},
    "POST /api/chat": {"full": ["reply", "intent"]},
    "POST /api/code": {"same": ["functions", "classes"]},
    "POST /api/clarity": {"same": ["words", "sentences", "reading_ease"]},
    "POST /api/verify": {"same": ["sha256", "matches"]},
    "POST /api/sandbox": {"same": ["value"]},
    "POST /api/voice": {"same": ["segments"]},
}


def _route(method: str, path: str, kernels: list[str], body: dict[str, Any] | None = None, query: str = "") -> Route:
    """A route and the kernels that it takes; the last of them is the one whose life it shows."""
    route: Route = {
        "name": f"{method} {path}",
        "method": method,
        "path": path + query,
        "kernels": ["api_server", *[kernel for kernel in kernels if kernel != "api_server"]],
        "witness_of": kernels[-1],
    }
    if body is not None:
        route["body"] = body
    if route["name"] in ANSWERS:
        route["answer"] = ANSWERS[route["name"]]
    return route


ROUTES: list[Route] = [
    _route("GET", "/health", ["api_server"]),
    _route("POST", "/api/bus/publish", ["message_bus"], {"topic": "telemetry.probe", "payload": {"n": 1}}),
    _route("GET", "/api/immutable-log", ["immutable_log"], query="?limit=1"),
    _route("GET", "/api/self-healing/playbooks", ["self_healing"]),
    _route("POST", "/api/code", ["coding_agent"], {"source": "def f(x):\n    return x + 1\n"}),
    _route("POST", "/api/clarity", ["clarity_framework"], {"text": "The plan is clear. It has two steps."}),
    _route("POST", "/api/verify", ["verification_framework"], {"content": "abc", "sha256": ""}),
    _route("POST", "/api/secrets/sign", ["secret_manager"], {"message": "hello"}),
    _route(
        "POST",
        "/api/governance/check",
        ["immutable_log", "governance"],  # what changes state is not answered before it is on record
        {"actor": "probe", "action": "read", "resource": "status", "payload": {}},
    ),
    _route("GET", "/api/infrastructure", ["infrastructure_manager"]),
    _route("GET", "/api/knowledge", ["memory_fusion"], query="?q=grace&limit=3"),
    _route("GET", "/api/knowledge/catalog", ["librarian"]),
    _route("POST", "/api/sandbox", ["sandbox"], {"expression": "6 * 7"}),
    _route("POST", "/api/chat", ["agentic_spine"], {"message": "hello", "user": "probe"}),
    _route("POST", "/api/voice", ["voice_conversation"], {"text": "hello there"}),
    _route(
        "POST",
        "/api/meta_loop/retrospective",
        ["immutable_log", "meta_loop"],
        {"retro_id": "probe", "subject": "probe", "events": ["a", "b"]},
    ),
    _route("POST", "/api/learning/feedback", ["learning_integration"], {"topic": "probe", "score": 1}),
    _route("GET", "/api/health/resources", ["health_monitor"]),
    _route("GET", "/api/triggers", ["trigger_mesh"]),
    _route("GET", "/api/htm/queue", ["scheduler"]),
]
# Served besides, each by kernels whose life another route shows.
ROUTES += [
    {
        "name": "POST /api/htm/intents",
        "method": "POST",
        "path": "/api/htm/intents",
        "kernels": ["api_server", "scheduler", "immutable_log"],
    },
    {
        "name": "POST /api/knowledge",
        "method": "POST",
        "path": "/api/knowledge",
        "kernels": ["api_server", "immutable_log", "librarian", "memory_fusion"],
    },
]
