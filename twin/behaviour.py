"""Questions whose answers depend on the platform's rules and settings alone: each of both changes some answer."""

from __future__ import annotations

from typing import Any

ASKER = "probe"  # as in the routes' own questions
IGNORED = ["decision_id", "audit_id"]


def _decision(name: str, action: str, resource: str) -> dict[str, Any]:
    body = {"actor": ASKER, "action": action, "resource": resource}
    return {"name": name, "method": "POST", "path": "/api/governance/check", "body": body, "ignore": IGNORED}


BEHAVIOUR: list[dict[str, Any]] = [
    _decision("a read is allowed", "read", "report_6"),
    _decision("a write just below the review is allowed", "write", "report_15"),
    _decision("another action just above it is reviewed", "inspect", "report_27"),
    _decision("a deployment is reviewed", "deploy", "report_0"),
    _decision("a deletion just below the denial is reviewed", "delete", "report_62"),
    _decision("a deletion just above it is denied", "delete", "report_36"),
    *(_decision(f"{word} is sensitive", "read", word) for word in ("production", "secret", "database", "governance")),
    # what governance says of its rules, beside what it does by them: their version decides nothing
    {"name": "rules", "method": "GET", "path": "/api/governance/rules"},
    {
        "name": "the least trusted is found",
        "method": "POST",
        "path": "/api/knowledge/trust",
        "body": {"category": "", "content": "", "source": "", "confidence": 0, "age_s": 1e9},
    },
    {
        "name": "knowledge is found",
        "method": "GET",
        "path": "/api/knowledge?q=watchdog&limit=1",  # a word that no client's knowledge has: the answer stays
        "ignore": ["results.trust", "results.used"],  # they change with age and use
        "counts": {"entries": "knowledge"},
    },
    {
        "name": "snapshots are taken as often",
        "method": "GET",
        "path": "/api/infrastructure",
        "ignore": [
            *("cores", "load", "disk_free_bytes"),
            *(f"snapshot.{name}" for name in ("sha256", "bytes", "taken_at", "problem")),
        ],
    },
]
