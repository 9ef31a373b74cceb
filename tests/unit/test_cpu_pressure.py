"""cpu_pressure is cpu_spike by its other name: the same injector, the same magnitude."""

from __future__ import annotations

import os
from dataclasses import asdict

import pytest

from harness import catalog
from harness.catalog import CatalogError
from harness.contracts import TargetLacks


def test_both_names_build_the_same_fault() -> None:
    values = {"cpu_percent": 75, "duration_seconds": 120}
    pressure, spike = (catalog.build_fault(name, values) for name in ("cpu_pressure", "cpu_spike"))
    assert asdict(pressure) == asdict(spike)
    assert (pressure.subject, pressure.asked.value, pressure.asked.unit) == ("cpu", 75, "%")


def test_cores_are_their_share_of_the_machine() -> None:
    count = os.cpu_count() or 1
    whole = catalog.build_fault("cpu_spike", {"cores": count, "duration_seconds": 30})
    assert (whole.asked.value, whole.asked.unit) == (90.0, "%")
    assert catalog.build_fault("cpu_spike", {"cores": 1, "duration_seconds": 30}).asked.value == 90.0 / count
    with pytest.raises(TargetLacks, match=f"{count + 1} cores are asked for, and this machine has {count}"):
        catalog.build_fault("cpu_spike", {"cores": count + 1, "duration_seconds": 30}).prepare(None)  # type: ignore[arg-type]
    for values in ({}, {"cores": 1, "cpu_percent": 50}):
        with pytest.raises(CatalogError, match="either cpu_percent or cores is expected"):
            catalog.build_fault("cpu_spike", {**values, "duration_seconds": 30})
