"""What the original suite verifies, `check_x: words`, as claims of ours: each form has its check or its metric."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.catalog import nearest
from harness.model import Claim

FORM = re.compile(r"^(check_\w+):\s*(.*?)\s*$")
STATE = re.compile(r"^(\w+)\s*==\s*(\w+)$")
VALUE = re.compile(r"^([\w.]+)\s*==\s*(\S.*)$")
WITHIN = re.compile(r"^(\w+)\s+within\s+(\d+(?:\.\d+)?)\s*s$")
STATES = ("stopped", "starting", "running", "paused", "failed", "restarting")
ALL = "all"
# compared with a number: the metric that it is
COMPARED = {
    "check_queue_depth": "queue_depth_at_end",
    "check_acl_violations": "message_bus.acl_violations",
    "check_cpu_usage": "cpu_usage_peak",
    "check_memory_usage": "memory_usage_peak",
    "check_latency_p99": "latency_p99",
    "check_failures": "failure_percent",
}
# one word: the check that shows it
WORDS = {
    "check_model_checksum": {"valid": "models_restored"},
    "check_snapshot_checksum": {"valid": "snapshot_regenerated"},
    "check_config": {"restored": "config_restored"},
    "check_log_integrity": {"valid": "log_restored"},
    "check_audit_trail": {"complete": "audit_complete"},
    "check_api": {"responsive": "api_responsive"},
    "check_work": {"processed": "valid_processed"},
    "check_safeguards": {"triggered": "all_safeguards_triggered"},
}
OF_A_KERNEL = ("check_kernel_state", "check_heartbeat", "check_restarted")
NAMES = (*OF_A_KERNEL, "check_config_value", *COMPARED, *WORDS)
VALUES = {"true": True, "false": False}


class WordError(Exception):
    """What cannot be verified; the text says which word, and what is nearest."""


def kernel_of(text: str) -> str:
    """The kernel that a verification names; "" for none."""
    form = FORM.match(text)
    return form.group(2).split()[0] if form and form.group(1) in OF_A_KERNEL and form.group(2) else ""


def compared(name: str, said: str) -> str:
    """`check_queue_depth`, `< 100` → `queue_depth_at_end < 100`; "" for what is not compared with a number."""
    return f"{COMPARED[name]} {said}" if name in COMPARED else ""


def parse(text: str, name: str, said: str, kernels: Iterable[str]) -> Claim:
    """Raises WordError."""
    if name not in NAMES:
        raise WordError(f"no check is called {name!r}.{nearest(name, NAMES)}")
    if name in WORDS:
        if said not in WORDS[name]:
            raise WordError(f"{name}: {said!r} is not known.{nearest(said, WORDS[name])}")
        return Claim(claim=text, check=WORDS[name][said])
    if name == "check_config_value":
        return _config_value(text, said)
    found = (WITHIN if name == "check_restarted" else STATE).match(said)
    if found is None:
        shape = "KERNEL within Ns" if name == "check_restarted" else "KERNEL == STATE"
        raise WordError(f"{name}: {shape!r} is expected, not {said!r}")
    kernel, word = found.groups()
    known = {*kernels}
    if name == "check_kernel_state" and (kernel, word) == (ALL, "running"):
        return Claim(claim=text, check="kernels_survive")
    if kernel not in known:
        raise WordError(f"{name}: no kernel is called {kernel!r}.{nearest(kernel, known)}")
    if name == "check_restarted":
        return Claim(claim=text, check="restarted", args={"kernel": kernel, "within_s": float(word)})
    states = STATES if name == "check_kernel_state" else ("fresh",)
    if word not in states:
        raise WordError(f"{name}: no state is called {word!r}.{nearest(word, states)}")
    if name == "check_heartbeat":
        return Claim(claim=text, check="heartbeat_fresh", args={"kernel": kernel})
    return Claim(claim=text, check="kernel_state", args={"kernel": kernel, "state": word})


def _config_value(text: str, said: str) -> Claim:
    found = VALUE.match(said)
    if found is None:
        raise WordError(f"check_config_value: 'SECTION.KEY == VALUE' is expected, not {said!r}")
    key, word = found.groups()
    value: object = VALUES.get(word.lower(), word)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = word.strip("'\"")
    return Claim(claim=text, check="config_value", args={"key": key, "value": value})
