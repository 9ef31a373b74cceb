"""What the platform counts, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gauges:
    """What the kernels answered; None from one that did not, whose series are left out."""

    bus: dict[str, Any] | None
    kernels: dict[str, Any] | None
    queue: dict[str, Any] | None
    retros: dict[str, Any] | None
    safeguards: dict[str, Any] | None


def render(gauges: Gauges, requests: Mapping[tuple[str, int], int], shedding: bool) -> str:
    lines: list[str] = []

    def family(name: str, kind: str, rows: list[tuple[str, float]]) -> None:
        lines.append(f"# TYPE {name} {kind}")
        lines.extend(
            f"{name}{labels} {value:g}" if value < 1e6 else f"{name}{labels} {value:.0f}" for labels, value in rows
        )

    if gauges.bus:
        family("grace_message_bus_acl_violations_total", "counter", [("", gauges.bus["violations_total"])])
        family("grace_message_bus_messages_total", "counter", [("", gauges.bus["published_total"])])
    if gauges.kernels:
        rows = gauges.kernels["kernels"]
        family("grace_kernel_up", "gauge", [(f'{{kernel="{k["name"]}"}}', k["state"] == "running") for k in rows])
        family(
            "grace_kernel_restarts_total",
            "counter",
            [(f'{{kernel="{k["name"]}"}}', k["restarts"]) for k in rows],
        )
    if gauges.queue:
        family("grace_htm_queue_depth", "gauge", [("", gauges.queue["depth"])])
    if gauges.retros:
        family("grace_retro_queue_depth", "gauge", [("", gauges.retros["depth"])])
        family("grace_retro_queue_bound", "gauge", [("", gauges.retros["bound"])])
        family("grace_retro_queue_refused_total", "counter", [("", gauges.retros["refused"])])
    if gauges.safeguards:
        family(
            "grace_safeguard_engaged",
            "gauge",
            [(f'{{safeguard="{s["name"]}"}}', len(s["engaged"])) for s in gauges.safeguards["safeguards"]],
        )
    family("grace_load_shedding", "gauge", [("", shedding)])
    family(
        "grace_http_requests_total",
        "counter",
        [(f'{{route="{route}",status="{status}"}}', count) for (route, status), count in sorted(requests.items())],
    )
    return "\n".join(lines) + "\n"
