"""cpu_pressure is cpu_spike by its other name: the same injector, the same magnitude."""

from __future__ import annotations

from dataclasses import asdict

from harness import catalog


def test_both_names_build_the_same_fault() -> None:
    values = {"cpu_percent": 75, "duration_seconds": 120}
    pressure, spike = (catalog.build_fault(name, values) for name in ("cpu_pressure", "cpu_spike"))
    assert asdict(pressure) == asdict(spike)
    assert (pressure.subject, pressure.asked.value, pressure.asked.unit) == ("cpu", 75, "%")
