"""Who may publish what. A rule holds for its topic and for all below it."""

from __future__ import annotations

RULES: dict[str, frozenset[str]] = {
    "kernel.memory": frozenset({"memory_fusion", "librarian"}),
    "kernel.healing": frozenset({"self_healing", "orchestrator"}),
    "kernel.governance": frozenset({"governance_engine", "orchestrator", "control_plane"}),
    "kernel.code": frozenset({"coding_agent", "sandbox"}),
    "kernel.crypto": frozenset({"crypto_service", "orchestrator"}),
    "system.control": frozenset({"orchestrator", "control_center", "control_plane"}),
    "system.health": frozenset({"health_monitor", "orchestrator"}),
}
# What only the platform itself says: an outsider must not be able to forge an incident.
PLATFORM = ("agent", "event", "security", "playbook", "scheduler", "kernel.restart", "bus")
CONTROL_TOPICS = ("system.control",)


def below(topic: str, rule: str) -> bool:
    return topic == rule or topic.startswith(f"{rule}.")


def rule_of(topic: str) -> str:
    """The rule, or what only the platform says, that *topic* stands under; "" for an open one."""
    return next((rule for rule in (*RULES, *PLATFORM) if below(topic, rule)), "")


def may_publish(actor: str, topic: str, platform_actor: bool) -> bool:
    """Whether *actor* may publish on *topic*. Topics that no rule names are open to all."""
    for rule, actors in RULES.items():
        if below(topic, rule):
            return actor in actors
    if any(below(topic, prefix) for prefix in PLATFORM):
        return platform_actor
    return True
