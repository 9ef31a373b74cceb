"""What a platform has from its first start on: its models, its settings, and a snapshot of its state."""

from __future__ import annotations

from twin import settings, snapshots
from twin.config import Config
from twin.models import store
from twin.rules import RULES
from twin.snapshots import EMPTY_INDEX


def lay_out(config: Config) -> None:
    """Leaves alone what is there already, be it damaged: that is for the safeguards to see."""
    store.write_first(config)
    settings.write_first(config)
    if not config.state_snapshot.exists():
        config.state_snapshot.parent.mkdir(parents=True, exist_ok=True)
        snapshots.take(config, {"memory_index": EMPTY_INDEX, "governance_rules": RULES})
