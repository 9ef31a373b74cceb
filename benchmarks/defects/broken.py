"""Defects of the harness itself, each a patch of one part, with the scenario and the finding that names it.

python -m benchmarks.defects.broken            lists them as JSON, one a line
apply("pause_never_happens")                   breaks this process
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.model import Effect, Sample

DC01, L2, MF01, MF02 = (
    "DC01_sustained_pressure",
    "L2_HTM_queue_flood",
    "MF01_triple_threat",
    "MF02_cascading_corruption",
)
HERE = "benchmarks/defects/scenarios"
LIAR = "benchmarks.defects.lying_helper"


@dataclass(frozen=True, kw_only=True)
class Defect:
    """*code* is that of a finding which is not a PASS; *args* are more of Locust's command line."""

    scenario: str
    code: str
    breaks: str
    args: tuple[str, ...] = ()
    workers: int = 0


def _d(scenario: str, code: str, breaks: str, **more: Any) -> Defect:
    return Defect(scenario=scenario, code=code, breaks=breaks, **more)


ATTAINED, LOAD = "fault_attained", "load_accounted"
DEFECTS: dict[str, Defect] = {
    "cpu_load_at_half": _d(MF01, f"{ATTAINED}.never_reached", "the CPU helper is told half"),
    "helper_reports_more_than_it_does": _d(MF01, f"{ATTAINED}.witness_disagrees", "the CPU helper idles and says 90 %"),
    "acl_flood_half": _d(MF01, f"{ATTAINED}.witness_disagrees", "half the messages, reported twice"),
    "pause_never_happens": _d(MF01, f"{ATTAINED}.witness_disagrees", "no signal is sent, the sample says paused"),
    "fault_taken_back_early": _d(MF01, f"{ATTAINED}.witness_disagrees", "the CPU fault is healed after 4 s in secret"),
    "duration_cut_short": _d(MF01, f"{ATTAINED}.ended_early", "each fault ends after two thirds of its time"),
    "witness_unreadable": _d(MF01, f"{ATTAINED}.witness_silent", "the target's counters cannot be read"),
    "disk_load_without_io": _d(DC01, f"{ATTAINED}.witness_disagrees", "the disk helper does no I/O and says it does"),
    "memory_holder_lets_go": _d(DC01, f"{ATTAINED}.witness_disagrees", "the memory helper holds nothing"),
    "corruption_undone_at_once": _d(MF02, f"{ATTAINED}.witness_disagrees", "the file is restored in secret"),
    "kill_never_happens": _d(f"{HERE}/kill.yaml", f"{ATTAINED}.witness_disagrees", "no signal is sent"),
    "latency_half": _d(f"{HERE}/latency.yaml", f"{ATTAINED}.witness_disagrees", "half the delay, reported twice"),
    "loss_half": _d(f"{HERE}/loss.yaml", f"{ATTAINED}.witness_disagrees", "half the loss, reported twice"),
    "spam_at_half_rate": _d(f"{HERE}/spam.yaml", f"{ATTAINED}.rate_short", "forbidden messages at half their rate"),
    "flood_at_half_rate": _d(f"{HERE}/open_loop.yaml", f"{ATTAINED}.rate_short", "requests at half their rate"),
    "stall_never_happens": _d("L2_worker_stall", f"{ATTAINED}.witness_disagrees", "no loop, the sample says stalled"),
    "drift_half": _d("EXT_model_drift", f"{ATTAINED}.witness_disagrees", "half the confidence lost, reported twice"),
    "flood_half_concurrency": _d(L2, f"{ATTAINED}.concurrency_short", "half the connections"),
    "invalid_share_lower": _d(L2, f"{ATTAINED}.invalid_share_short", "half the invalid requests"),
    "flood_half_sent": _d(L2, f"{ATTAINED}.witness_disagrees", "half the requests, reported twice"),
    "flood_retries_uncounted": _d(L2, f"{LOAD}.requests_missing", "the engine counts no deferred attempt"),
    "locust_stats_doubled": _d(L2, f"{LOAD}.requests_missing", "floods are added twice to Locust's statistics"),
    "requests_csv_drops_half": _d(MF01, f"{LOAD}.requests_missing", "every second row is not written"),
    "ledger_drops_rows": _d(MF01, f"{LOAD}.ledger_missing", "every fifth row is not written"),
    "users_silent": _d(MF01, f"{LOAD}.users_silent", "users send nothing from the tenth second on"),
    "one_user_dies": _d(MF01, f"{LOAD}.users_silent", "one user ends by an error"),
    "second_worker_uncounted": _d(MF01, f"{LOAD}.requests_missing", "a worker tells half of its rows", workers=2),
}


def apply(name: str) -> None:
    """Breaks the part in this process. Raises KeyError for an unknown name."""
    PATCHES[name]()


# Injectors and their helpers


def _start_other(fits: str, change: Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]) -> None:
    """Helpers of the module *fits* are started as *change* says."""
    from harness.guardian_link import FaultHands

    start = FaultHands.start_helper

    def other(self: Any, module: str, arguments: Mapping[str, Any]) -> Any:
        if module == fits:
            module, arguments = change(dict(arguments))
        return start(self, module, arguments)

    FaultHands.start_helper = other  # type: ignore[method-assign]


def _with(module: str, **changed: Callable[[Any], Any]) -> None:
    """Starts *module* with other arguments."""
    _start_other(module, lambda one: (module, {**one, **{key: new(one[key]) for key, new in changed.items()}}))


def _lie(module: str, row: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Starts a helper that only tells *row* in the place of *module*."""
    _start_other(module, lambda one: (LIAR, {"row": row(one), "limit_s": one["limit_s"]}))


def _half(value: float) -> float:
    return value / 2


def _twice(fault: str) -> None:
    """The samples of *fault* report twice what was measured."""
    from harness import catalog

    kind = catalog.faults()[fault]
    sample = kind.sample

    def doubled(self: Any, *rest: Any) -> Sample:
        one: Sample = sample(self, *rest)
        return one if one.achieved is None else replace(one, achieved=2 * one.achieved)

    kind.sample = doubled


def _says(fault: str, value: Callable[[Any], float]) -> None:
    """*fault* reports what was asked for, whatever is."""
    from harness import catalog

    catalog.faults()[fault].sample = lambda self, *rest: Sample(achieved=value(self))


def _cpu_load_at_half() -> None:
    _with("faults.helpers.cpu_pacer", cpu_percent=_half)


def _helper_reports_more() -> None:
    _lie("faults.helpers.cpu_pacer", lambda one: {"busy_percent": one["cpu_percent"]})


def _acl_flood_half() -> None:
    _with("faults.helpers.acl_flooder", messages_per_second=_half)
    _twice("acl_flood")


def _spam_at_half_rate() -> None:
    _with("faults.helpers.acl_flooder", messages_per_second=_half)


def _pause_never_happens() -> None:
    from faults.kernel_pause import KernelPause

    KernelPause._stop = lambda self, process: None  # type: ignore[method-assign]
    _says("kernel_pause", lambda _: 1.0)


def _fault_taken_back_early() -> None:
    from faults.cpu_spike import CpuSpike

    sample, began = CpuSpike.sample, {}

    def early(self: Any, target: Any, undo: Any, effect: Effect, hands: Any) -> Sample:
        since_s = began.setdefault(hands.fault_id, time.monotonic())
        if time.monotonic() - since_s < 3.0:
            return sample(self, target, undo, effect, hands)
        if began.get("healed") is None:
            began["healed"] = time.monotonic()
            hands.link.heal(hands.fault_id)
        return Sample(achieved=self.percent)

    CpuSpike.sample = early  # type: ignore[method-assign]


def _duration_cut_short() -> None:
    from harness import conductor

    whole = conductor.length_s
    conductor.length_s = lambda fault, step: whole(fault, step) * 2 / 3


def _witness_unreadable() -> None:
    from faults.helpers import witness

    witness.counted = lambda text, family, label="": None


def _disk_load_without_io() -> None:
    def row(one: dict[str, Any]) -> dict[str, Any]:
        return {"rate": one["io_ops_per_second"], "device_busy_percent": one["busy_percent"]}

    _lie("faults.helpers.disk_pacer", row)


def _memory_holder_lets_go() -> None:
    _lie("faults.helpers.memory_holder", lambda one: {"memory_percent": one["memory_percent"]})


def _corruption_undone() -> None:
    from pathlib import Path

    from faults.helpers import damaged_files

    inject = damaged_files.inject

    def undone(undo: Any, kind: str, wound: Any) -> Effect:
        files = {one["path"]: Path(one["path"]).read_bytes() for one in undo.primitives if "sha256" in one}
        effect = inject(undo, kind, wound)
        for path, data in files.items():
            Path(path).write_bytes(data)
        return effect

    damaged_files.inject = undone
    for name in ("file_corruption", "model_corruption", "snapshot_corruption", "config_corruption"):
        _says(name, lambda self: self.asked.value)


def _kill_never_happens() -> None:
    from faults.helpers import killing

    killing.send = lambda process, number: True
    killing.left = lambda effect: []


def _latency_half() -> None:
    _with("faults.helpers.link_proxy", delay_ms=_half)
    _twice("network_latency")


def _loss_half() -> None:
    _with("faults.helpers.link_proxy", drop_percent=_half)
    _twice("network_loss")


def _drift_half() -> None:
    _with("faults.helpers.link_proxy", degrade=lambda one: {**one, "confidence_drop": one["confidence_drop"] / 2})
    _twice("model_degradation")


def _stall_never_happens() -> None:
    from faults.helpers import stalling

    stalling.inject = lambda undo, names, *rest: Effect(facts={"workers": {name: {} for name in names}})
    for name in ("worker_stall", "code_patch"):
        _says(name, lambda self: self.share_percent)


# The load generator and its counts


def _order(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Attacks are sent by other parameters than those that were asked for."""
    from locustfiles.users.attack import AttackUser

    init = AttackUser.__init__

    def other(self: Any, environment: Any, order: Any) -> None:
        init(self, environment, replace(order, params=change(dict(order.params))))

    AttackUser.__init__ = other  # type: ignore[method-assign]


def _flood_at_half_rate() -> None:
    _order(lambda one: {**one, "requests_per_second": one["requests_per_second"] / 2})


def _flood_half_concurrency() -> None:
    _order(lambda one: {**one, "concurrency": max(1, int(one["concurrency"]) // 2)})


def _invalid_share_lower() -> None:
    _order(lambda one: {**one, "invalid_ratio": one.get("invalid_ratio", 0.0) / 2})


def _flood_half_sent() -> None:
    from locustfiles.users.attack import Attack

    _order(lambda one: {**one, "total_requests": int(one["total_requests"]) // 2})
    told = Attack.told

    def doubled(self: Any) -> Any:
        one = told(self)
        return replace(one, total=2 * one.total, sent=2 * one.sent, answered=2 * one.answered, settled=2 * one.settled)

    Attack.told = doubled  # type: ignore[method-assign]


def _flood_retries_uncounted() -> None:
    from locustfiles.engine.counts import Counts

    add = Counts.add

    def kept(self: Any, name: str, outcome: str, *rest: Any) -> None:
        if outcome not in ("limited", "shed"):
            add(self, name, outcome, *rest)

    Counts.add = kept  # type: ignore[method-assign]


def _locust_stats_doubled() -> None:
    from locustfiles import flood

    add = flood.add

    def twice(stats: Any, batches: Any, now_s: float) -> None:
        batches = list(batches)
        add(stats, batches, now_s)
        add(stats, batches, now_s)

    flood.add = twice


def _requests_csv_drops_half() -> None:
    from harness.run import Run

    keep = Run.add_rows
    Run.add_rows = lambda self, rows: keep(self, list(rows)[::2])  # type: ignore[method-assign]


def _ledger_drops_rows() -> None:
    from harness.run import Run

    keep, seen = Run.add_ledger, [0]

    def some(self: Any, rows: Any) -> None:
        kept = []
        for row in rows:
            seen[0] += 1
            if seen[0] % 5:
                kept.append(row)
        keep(self, kept)

    Run.add_ledger = some  # type: ignore[method-assign]


def _users_silent() -> None:
    from locustfiles.users.legitimate import LegitimateUser

    send, began_s = LegitimateUser._send, time.monotonic()

    def silent(self: Any, *rest: Any, **more: Any) -> None:
        if not 10.0 < time.monotonic() - began_s < 20.0:
            send(self, *rest, **more)

    LegitimateUser._send = silent  # type: ignore[method-assign]


def _one_user_dies() -> None:
    from locustfiles.users.legitimate import LegitimateUser

    send, began_s = LegitimateUser._send, time.monotonic()

    def dies(self: Any, *rest: Any, **more: Any) -> None:
        if self.me.endswith("-0") and time.monotonic() - began_s > 8.0:
            self.wait_time = lambda: 1000.0
            return
        send(self, *rest, **more)

    LegitimateUser._send = dies  # type: ignore[method-assign]


def _second_worker_uncounted() -> None:
    from harness import worker

    class Half(worker.Sinks):
        def take(self, all_of_it: bool = False) -> Any:
            return super().take(all_of_it)[::2]

    worker.Sinks = Half  # type: ignore[misc]


PATCHES: dict[str, Callable[[], None]] = {
    "cpu_load_at_half": _cpu_load_at_half,
    "helper_reports_more_than_it_does": _helper_reports_more,
    "acl_flood_half": _acl_flood_half,
    "pause_never_happens": _pause_never_happens,
    "fault_taken_back_early": _fault_taken_back_early,
    "duration_cut_short": _duration_cut_short,
    "witness_unreadable": _witness_unreadable,
    "disk_load_without_io": _disk_load_without_io,
    "memory_holder_lets_go": _memory_holder_lets_go,
    "corruption_undone_at_once": _corruption_undone,
    "kill_never_happens": _kill_never_happens,
    "latency_half": _latency_half,
    "loss_half": _loss_half,
    "spam_at_half_rate": _spam_at_half_rate,
    "flood_at_half_rate": _flood_at_half_rate,
    "stall_never_happens": _stall_never_happens,
    "drift_half": _drift_half,
    "flood_half_concurrency": _flood_half_concurrency,
    "invalid_share_lower": _invalid_share_lower,
    "flood_half_sent": _flood_half_sent,
    "flood_retries_uncounted": _flood_retries_uncounted,
    "locust_stats_doubled": _locust_stats_doubled,
    "requests_csv_drops_half": _requests_csv_drops_half,
    "ledger_drops_rows": _ledger_drops_rows,
    "users_silent": _users_silent,
    "one_user_dies": _one_user_dies,
    "second_worker_uncounted": _second_worker_uncounted,
}


if __name__ == "__main__":
    for one, defect in DEFECTS.items():
        print(json.dumps({"name": one, **asdict(defect)}))
