"""What a twin is started with: its folder, its safeguards and their thresholds."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from twin.defects import DEFECTS

SAFEGUARDS = (
    "acl_violation_monitor",
    "resource_pressure_monitor",
    "kernel_watchdog",
    "rate_limiter",
    "intent_validator",
    "queue_pressure_monitor",
    "thread_timeout",
    "worker_watchdog",
    "dependency_latency_monitor",
    "model_integrity_check",
    "snapshot_hygiene_manager",
    "config_drift_guard",
    "error_recognition_system",
    "drift_detector",
    "dependency_breaker",
    "log_write_guard",
    "log_integrity_monitor",
)
PLAYBOOKS = (
    "message_bus_acl_violation_fix",
    "resource_pressure_cpu",
    "resource_pressure_memory",
    "resource_pressure_disk",
    "kernel_restart",
    "queue_backpressure",
    "worker_restart",
    "dependency_bypass",
    "model_restore",
    "snapshot_regenerate",
    "config_restore",
    "model_fallback",
    "refuse_unrecorded",
    "log_restore",
)


class ConfigError(Exception):
    """A configuration that cannot be taken; the text names the culprit and the choices."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The figures by which the safeguards decide."""

    acl_rate_per_s: float = 10.0
    acl_per_actor: int = 20
    acl_per_actor_window_s: float = 60.0
    acl_on_control_topics: int = 5
    acl_quiet_s: float = 15.0
    cpu_warning_percent: float = 70.0
    cpu_critical_percent: float = 80.0
    memory_warning_percent: float = 80.0
    memory_critical_percent: float = 85.0
    disk_warning_percent: float = 80.0
    disk_critical_percent: float = 90.0
    pressure_mean_s: float = 2.0
    pressure_warning_s: float = 5.0
    pressure_release_points: float = 10.0
    pressure_release_s: float = 3.0
    heartbeat_every_s: float = 0.5
    heartbeat_missed_s: float = 2.5
    heartbeat_fresh_s: float = 1.0
    kernel_start_limit_s: float = 10.0
    playbook_repeat_s: float = 20.0
    restart_budget: int = 3
    restart_budget_window_s: float = 300.0
    client_rate_per_s: float = 200.0
    client_burst: int = 400
    limited_count: int = 20
    limited_within_s: float = 1.0
    limited_quiet_s: float = 5.0
    invalid_count: int = 10
    invalid_within_s: float = 5.0
    invalid_quiet_s: float = 5.0
    intent_bytes_max: int = 16_384
    queue_pressure_depth: int = 250
    queue_release_depth: int = 100
    queue_release_s: float = 2.0
    queue_waiting_max: int = 2_000
    upstream_wait_s: float = 0.0093  # of an intent: with its way there and back, about 75 a second for each worker
    work_limit_s: float = 2.0
    work_attempts_max: int = 3
    work_lease_s: float = 10.0
    worker_no_progress_s: float = 4.0
    worker_timeouts_in_row: int = 2
    breaker_failures: int = 5  # in a row
    breaker_within_s: float = 10.0
    breaker_silent_calls: int = 10  # so many wait, and none is answered
    breaker_silent_looks: int = 4  # four a second
    breaker_first_calls: int = 2  # at the first look after a probe was answered; then twice as many at each
    breaker_ramp_looks: int = 6
    dependency_slow_ms: float = 100.0
    dependency_slow_factor: float = 5.0
    dependency_calls_min: int = 6
    dependency_failed_min: int = 3
    dependency_failed_share: float = 0.1
    dependency_looks: int = 2
    dependency_quiet_s: float = 1.5
    dependency_told_s: float = 2.0
    drift_probes_per_s: float = 12.5
    drift_window: int = 25  # answers: two seconds
    drift_reference: int = 256  # answers: eight to each probe
    drift_alpha: float = 0.001  # of a model in order, so many windows are taken for drift
    drift_windows: int = 2
    drift_well_windows: int = 2
    retro_queue_max: int = 60
    retro_rate_per_s: float = 20.0
    log_writable_s: float = 1.5


@dataclass(frozen=True, kw_only=True)
class Config:
    """One twin. *safeguards* holds only what was switched; a safeguard that is not named is on. *defects*: planted."""

    dir: Path
    http_port: int = 0
    bus_port: int = 0
    safeguards: Mapping[str, bool] = field(default_factory=dict)
    thresholds: Thresholds = Thresholds()
    defects: tuple[str, ...] = ()
    audit: Path | None = None  # where the immutable log lives, if not in *dir*: it may have a disk of its own

    def enabled(self, safeguard: str) -> bool:
        return self.safeguards.get(safeguard, True)

    @property
    def run_dir(self) -> Path:
        return self.dir / "run"

    @property
    def state_dir(self) -> Path:
        return self.dir / "state"

    @property
    def audit_dir(self) -> Path:
        """The immutable log and what waits for it: one disk, so that what is answered for is where it is kept."""
        return self.audit or self.dir / "audit"

    @property
    def log_dir(self) -> Path:
        return self.dir / "logs"

    @property
    def snapshot_dir(self) -> Path:
        return self.dir / ".grace_snapshots"

    @property
    def models_dir(self) -> Path:
        return self.dir / "models"

    @property
    def settings_file(self) -> Path:
        return self.dir / "config" / "grace.yaml"

    @property
    def state_snapshot(self) -> Path:
        return self.snapshot_dir / "state" / "state.json"

    @property
    def bus_endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self.bus_port}"


KEYS = ("safeguards", "thresholds", "defects")


def load_config(
    folder: Path, path: Path | None, port: int, switched_off: list[str], planted: list[str] | None = None
) -> Config:
    """From a YAML file {safeguards: {name: off}, thresholds: {name: number}, defects: [name]} and the command line."""
    data: Any = {}
    if path is not None:
        try:
            data = yaml.safe_load(path.read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a mapping is expected, with the keys {', '.join(KEYS)}")
    _known(data, KEYS, f"{path}: no key")
    safeguards = {**(data.get("safeguards") or {}), **dict.fromkeys(switched_off, False)}
    _known(safeguards, SAFEGUARDS, "no safeguard")
    for name, value in safeguards.items():
        if not isinstance(value, bool):
            raise ConfigError(f"safeguards.{name}: on or off is expected, not {value!r}")
    figures = data.get("thresholds") or {}
    _known(figures, tuple(one.name for one in fields(Thresholds)), "no threshold")
    for name, value in figures.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"thresholds.{name}: a number is expected, not {value!r}")
    defects = data.get("defects") or []
    if not isinstance(defects, list):
        raise ConfigError(f"defects: a list is expected, not {defects!r}")
    defects = [*defects, *(planted or [])]
    _known(defects, tuple(DEFECTS), "no defect")
    return Config(
        dir=folder,
        http_port=port,
        safeguards=safeguards,
        thresholds=Thresholds(**figures),
        defects=tuple(dict.fromkeys(defects)),
    )


def _known(names: Iterable[Any], known: tuple[str, ...], what: str) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{what} is called {name!r}.{hint} Known: {', '.join(known)}")
