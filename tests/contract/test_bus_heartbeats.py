"""A real twin's kernels are heard on the bus, each by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.observers.bus_listener import BusListener
from harness.playbook_effects import WORK
from harness.target import load_target
from tests.fake_target import FakeView
from tests.processes import twin, wait_for
from twin.kernels import KERNELS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]
ON_THE_BUS = set(KERNELS) - {"message_bus"}


def test_every_kernel_is_heard_again_and_again(tmp_path: Path) -> None:
    with twin(tmp_path):
        target = load_target(tmp_path / "target.yaml")
        view, listener = FakeView(target), BusListener(target)
        heard: dict[str, list[float | None]] = {}

        def listened() -> bool:
            for one in listener.observe(view):
                if one.name == "bus_heartbeats":
                    heard.setdefault(one.subject, []).append(one.value)
            return set(heard) == ON_THE_BUS and all(len(values) >= 3 for values in heard.values())

        try:
            wait_for(listened, 15, "three heartbeats of each kernel")
        finally:
            listener.close()
        assert listener.actors["governance"] == "governance_engine"
        named: set[Any] = {
            kind
            for one in target.playbook_effects.values()
            for key in ("defers", "refuses")
            for kind in one.get(key, ())
        }
        assert named == set(WORK), "the twin says of each kind of work what becomes of it"
