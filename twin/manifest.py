"""The manifest of a running twin: where it listens, what its processes, routes and signals are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from twin.behaviour import BEHAVIOUR
from twin.config import PLAYBOOKS, SAFEGUARDS, Config
from twin.htm import WORKER_FUNCTION, WORKERS
from twin.http.outsiders import ACTOR
from twin.kernel import TELEMETRY
from twin.kernels import KERNELS
from twin.links import links
from twin.memory import limited_groups
from twin.models import CLASSIFIER, TRUST
from twin.routes import ROUTES
from twin.upstream import MODEL

EVENT_RULES = [
    {"topic": "event.incident", "kind": "safeguard_engaged", "name": "trigger_id", "subject": "subject"},
    {
        "topic": "event.incident.closed",
        "kind": "safeguard_released",
        "name": "trigger_id",
        "subject": "subject",
    },
    {"topic": "security.alert", "kind": "alert_raised", "name": "kind", "subject": "subject"},
    {"topic": "playbook.started", "kind": "playbook_started", "name": "playbook", "subject": "subject"},
    {"topic": "playbook.finished", "kind": "playbook_finished", "name": "playbook", "subject": "subject"},
]

# What the platform finally holds, page by page; `last` is the page that ends where the ledger ends now.
LEDGERS = {
    name: {"url": f"{path}?since={{next}}&limit=1000", "rows": rows, "last": f"{path}?last=1"}
    for name, path, rows in (
        ("intents", "/api/htm/intents", "intents"),
        ("audit", "/api/immutable-log", "entries"),
        ("retrospectives", "/api/meta_loop/retrospectives", "retrospectives"),
    )
}
for one in ("intents", "retrospectives"):
    LEDGERS[one]["proof"] = "sha256"  # `result` is a digest over what was executed
LEDGERS["knowledge"] = {"url": "/api/knowledge/all?since={next}&limit=1000", "rows": "knowledge"}  # all, of any age
# What the page of metrics tells, by the names under which others know it.
COUNTERS = {
    "message_bus.acl_violations": "grace_message_bus_acl_violations_total",
    "message_bus.messages": "grace_message_bus_messages_total",
    "http_requests": "grace_http_requests_total",
    "htm_queue_depth": "grace_htm_queue_depth",
    "retro_queue_depth": "grace_retro_queue_depth",
    "retro_queue_bound": "grace_retro_queue_bound",
    "retro_queue_refused": "grace_retro_queue_refused_total",
}
# What clients notice of a playbook while it is engaged; nothing else is deferred, refused, cut off or stale.
EFFECTS: dict[str, dict[str, Any]] = {
    "resource_pressure_cpu": {"defers": ["intent.deferrable", "retrospective"]},
    "resource_pressure_memory": {"defers": ["intent.deferrable", "retrospective"]},
    "resource_pressure_disk": {"defers": ["intent.deferrable", "retrospective"]},
    "queue_backpressure": {"defers": ["intent.deferrable"]},
    "refuse_unrecorded": {"refuses": ["decision", "intent", "intent.deferrable", "retrospective", "knowledge"]},
    "message_bus_acl_violation_fix": {"cuts_off": "actor"},
    "dependency_bypass": {"serves_stale": ["GET /api/knowledge"]},
}
# What shows that a model is in use: its answer to this is always the same.
QUESTIONS = {
    CLASSIFIER: {"method": "POST", "path": "/api/knowledge/classify", "body": {"text": "Restart after an incident."}},
    TRUST: {
        "method": "POST",
        "path": "/api/knowledge/trust",
        "body": {"category": "platform", "content": "a sentence", "source": "handbook", "confidence": 0.5},
    },
    # not the same answer every time: who gives it, what it says and how sure that is stand in these fields
    MODEL: {
        "method": "POST",
        "path": "/api/chat",
        "body": {"message": "what is the status of the queue", "user": "reader"},
        "fields": {"model": "model", "label": "intent", "confidence": "confidence"},
    },
}


def write_manifest(config: Config, keys: dict[str, Any], token: str, on_paper: bool = False) -> Path:
    """Writes DIR/target.yaml at one stroke, readable by its owner only: it holds keys and a token."""
    run = config.run_dir
    manifest = {
        "schema": "grace-target/1",
        "name": "grace-twin",
        "base_url": f"http://127.0.0.1:{config.http_port}",
        "processes": {name: {"pid_file": str(run / f"{name}.pid")} for name in KERNELS},
        "supervisor": {"pid_file": str(run / "supervisor.pid")},
        "paths": _paths(config, on_paper),
        "links": links(config),
        "bus": {
            "protocol": "grace-bus/1",
            "endpoint": config.bus_endpoint,
            "server_public_key": keys["server"]["public_key"],
            "open_topic": "telemetry.open",
            "heartbeat_topic": TELEMETRY,
            "spare_actors": keys["spare"],
        },
        "workers": {
            "htm": {
                "processes": {name: {"pid_file": str(run / f"{name}.pid")} for name in WORKERS},
                "function": WORKER_FUNCTION,
            }
        },
        "ledgers": LEDGERS,
        "audit": {"head": LEDGERS["audit"]["last"], "digest": "sha256", "every_request": True},
        "exclusive": True,
        "immutable_log": {"append": "/api/immutable-log", "actor": ACTOR, "secret_key": token},
        "models": QUESTIONS,
        "behaviour": BEHAVIOUR,
        "routes": ROUTES,
        "safeguards": list(SAFEGUARDS),
        "playbooks": list(PLAYBOOKS),
        "playbook_effects": EFFECTS,
        "signals": {
            "kernels": {"url": "/api/control-plane/kernels"},
            "events": {"url": "/api/control-plane/events?since={next}"},
            "safeguards": {"url": "/api/control-plane/safeguards"},
            "playbooks": {"url": "/api/self-healing/playbooks"},
            "metrics": {
                "url": "/metrics",
                "counters": COUNTERS,
            },
        },
        "event_rules": EVENT_RULES,
    }
    path = config.dir / "target.yaml"
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(yaml.safe_dump(manifest, sort_keys=False))
    fresh.replace(path)
    return path


def _paths(config: Config, on_paper: bool) -> dict[str, str]:
    return {
        "root": str(config.dir),
        "logs": str(config.log_dir),
        "state": str(config.state_dir),
        "snapshots": str(config.snapshot_dir),
        "models": str(config.models_dir),
        "state_snapshot": str(config.state_snapshot),
        "config": str(config.settings_file),
        "immutable_log": str(config.audit_dir / "immutable_log.db"),
        **_audit_disk(config, on_paper),
        **_memory_cgroup(),
    }


def _audit_disk(config: Config, on_paper: bool) -> dict[str, str]:
    """The immutable log's folder, when it has a file system of its own, as it has on paper; {} when it has not."""
    own = config.audit_dir.stat().st_dev != config.audit_dir.parent.stat().st_dev
    return {"audit_disk": str(config.audit_dir)} if own or on_paper else {}


def _memory_cgroup() -> dict[str, str]:
    """The nearest cgroup that limits the twin's memory; {} when none does."""
    groups = limited_groups()
    return {"memory_cgroup": str(groups[0])} if groups else {}
