"""How long tasks have had to wait for CPU, memory or disk: the kernel's own pressure stall information (PSI)."""

from __future__ import annotations

from pathlib import Path

PRESSURE = Path("/proc/pressure")
RESOURCES = ("cpu", "memory", "io")


def read_pressure() -> dict[str, float]:
    """{"cpu_some": percent, "cpu_full": ..., "memory_some": ..., "io_full": ...} over the last 10 s.

    Percent of the time in which some task, or all of them (full), waited. {} where the kernel does not tell.
    """
    found = {}
    for resource in RESOURCES:
        try:
            lines = (PRESSURE / resource).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            word, average, *_ = line.split()
            found[f"{resource}_{word}"] = float(average.removeprefix("avg10="))
    return found
