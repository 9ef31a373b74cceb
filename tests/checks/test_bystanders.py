"""Invariant 6, clause by clause: each is green on a healthy run and red when what it checks is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import catalog
from harness.bystanders import actors
from harness.expect import alarm_witnesses
from harness.model import Finding, Kind, Verdict
from harness.record import Record
from harness.traffic import RequestRow
from tests.drafts import CHECK, END, INJECTED, KERNELS, KNOWLEDGE, PRESSURE, RECOVERED, RETRO, SHED_END, Draft, healthy
from tests.trails import trail
from twin.config import SAFEGUARDS

Break = Callable[[Draft], None]
FAIL, PASS, UNSURE = Verdict.FAIL, Verdict.PASS, Verdict.INCONCLUSIVE
MONITOR, WATCHDOG, LIMITER = "resource_pressure_monitor", "kernel_watchdog", "rate_limiter"
TOLD = "control_plane"
UNSAID = {"sent": 2000, "refused": 900, "refused_by_reason": {"busy": 400}}


def draft() -> Draft:
    """A healthy run on a target whose kernels are heard on the bus and whose safeguards are told of."""
    made = healthy()
    effects = {"message_bus_acl_violation_fix": {"cuts_off": ("actor",)}}
    offers = ("bus.heartbeat_topic", "signals.events")
    made.plan = replace(made.plan, offers=offers, effects=effects)
    for second in range(int(END) + 1):
        made.signals += [(second + 0.1, "bus_heartbeats", kernel, float(second)) for kernel in KERNELS[1:]]
    made.signals += [(half / 2, "htm_queue_depth", "", 3.0) for half in range(int(END * 2))]
    return made


def judged(made: Draft, folder: Path) -> Finding:
    record: Record = made.record(folder)
    found: Finding = catalog.build_check("bystanders_unharmed", "unharmed", {}).check(record)
    return found


def down(route: str, *times: float) -> Break:
    """Misses of the route's probes."""

    def change(made: Draft) -> None:
        made.signals = [
            (a, n, s, 0.0 if (n, s) == ("route_up", route) and a in times else v) for a, n, s, v in made.signals
        ]

    return change


def timed_out(route: str, *times: float) -> Break:
    """Probes that were not answered within 2 s."""
    latencies = [(at_s, "route_latency_ms", route, 2001.0) for at_s in times]
    return both(down(route, *times), lambda made: made.signals.extend(latencies))


def deferred(route: str, *times: float) -> Break:
    """Probes that were told to come again later."""
    return lambda made: made.signals.extend((at_s, "route_deferred", route, 1.0) for at_s in times)


def defers(made: Draft) -> None:
    """The target says that its playbook against pressure defers retrospectives."""
    effects = {**made.plan.effects, "resource_pressure_cpu": {"defers": ("intent.deferrable", "retrospective")}}
    made.plan = replace(made.plan, effects=effects)


def slow(made: Draft) -> None:
    made.signals += [(half / 2, "route_latency_ms", RETRO, 6000.0) for half in range(int(END * 2))]


def answered(at_s: float, name: str, outcome: str, status: int, count: int = 4, ms: int = 5) -> Break:
    row = RequestRow(at_s, "legitimate", name, outcome, status, count, ((ms, count),))
    return lambda made: made.requests.append(row)


def unheard(kernel: str, since_s: float, until_s: float = END + 1) -> Break:
    """A kernel of which nothing comes over the bus for a while."""

    def change(made: Draft) -> None:
        made.signals = [
            row for row in made.signals if row[1:3] != ("bus_heartbeats", kernel) or not since_s <= row[0] <= until_s
        ]

    return change


def deaf(made: Draft) -> None:
    """The subscriber hears nothing at all, also nothing of itself."""
    unheard("sandbox", 12.0, 20.0)(made)
    made.signals = [(a, n, s, min(v, 23.0) if n == "bus_canary" else v) for a, n, s, v in made.signals]


def engaged(safeguard: str, subject: str, at_s: float = 12.0, released_s: float | None = 15.0, **more: object) -> Break:
    def change(made: Draft) -> None:
        about = {"subject": subject, "incident_id": f"{safeguard}-{subject}", **more}
        made.add(at_s, Kind.SAFEGUARD_ENGAGED, safeguard, TOLD, **about)
        if released_s is not None:
            made.add(released_s, Kind.SAFEGUARD_RELEASED, safeguard, TOLD, **about)

    return change


def stay(safeguard: str) -> Break:
    return lambda made: made.drop(Kind.SAFEGUARD_RELEASED, safeguard) and None


def signal(name: str, subject: str, value: float, since_s: float = 8.0, until_s: float = 14.0) -> Break:
    times = [half / 2 for half in range(int(since_s * 2), int(until_s * 2))]
    return lambda made: made.signals.extend((at_s, name, subject, value) for at_s in times)


def uncovered(made: Draft) -> None:
    """The flood of the bus is one that no safeguard answers."""
    made.plan = replace(made.plan, coverage={**made.plan.coverage, "acl_flood": ()})


def permitted(**refused: int) -> Break:
    """The flood sends only what its actor may send, and the bus refuses some of it."""

    def change(made: Draft) -> None:
        made.change(Kind.FAULT_INJECTED, "acl_flood", permitted=True)
        made.change(Kind.FAULT_ENDED, "acl_flood", told={"sent": 2000, "refused_by_reason": refused})

    return change


def unalarmed(made: Draft) -> None:
    made.drop(Kind.SAFEGUARD_ENGAGED, "acl_violation_monitor").drop(Kind.SAFEGUARD_RELEASED, "acl_violation_monitor")


def replaced(made: Draft) -> None:
    made.signals += [(half / 2, "model_first", "upstream", float(half < 20)) for half in range(int(END * 2))]


def both(*changes: Break) -> Break:
    def change(made: Draft) -> None:
        for one in changes:
            one(made)

    return change


RED: dict[str, tuple[Break, str]] = {
    "two probes missed in a row": (down(RETRO, 12.0, 12.5), "route_failing"),
    "three probes time out": (timed_out(RETRO, 12.0, 12.5, 13.0), "route_failing"),
    "one probe of two times out": (both(timed_out(RETRO, 12.0), down(RETRO, 12.5)), "route_failing"),
    "work is deferred by nobody": (deferred(RETRO, 22.0, 22.5), "route_failing"),
    "other work than the playbook's is deferred": (both(defers, deferred(CHECK, 12.0, 12.5)), "route_failing"),
    "a p99 of six seconds": (slow, "route_failing"),
    "users fail at a route": (answered(12.0, CHECK, "failed", 500), "route_failing"),
    "users wait six seconds": (answered(12.0, CHECK, "ok", 200, 9, 6000), "route_failing"),
    "users are limited": (answered(12.0, CHECK, "limited", 429, 40), "route_failing"),
    "users of the struck route are limited": (answered(12.0, KNOWLEDGE, "limited", 429, 40), "actor_cut_off"),
    "a kernel is cut off for good": (unheard("sandbox", 9.0), "actor_cut_off"),
    "a kernel is cut off for a while": (unheard("sandbox", 9.0, 16.0), "actor_cut_off"),
    "a kernel is cut off after the faults": (unheard("sandbox", 20.0), "not_released"),
    "memory is said to be short": (engaged(MONITOR, "memory"), "false_alarm"),
    "the queue is said to be long": (engaged("queue_pressure_monitor", "htm_queue"), "false_alarm"),
    "a kernel is said to be away": (
        both(engaged(WATCHDOG, "sandbox"), signal("kernel_heartbeat_age_s", "sandbox", 0.3)),
        "false_alarm",
    ),
    "users are said to be a flood": (engaged(LIMITER, "127.0.0.2"), "false_alarm"),
    "an innocent is said to violate": (engaged("acl_violation_monitor", "sandbox"), "false_alarm"),
    "a permitted flood is said to violate": (both(uncovered, permitted()), "false_alarm"),
    "permitted messages are refused": (both(uncovered, permitted(acl=20, blacklisted=993)), "actor_denied"),
    "one of them is refused": (both(uncovered, permitted(malformed=1)), "actor_denied"),
    "they are refused for a quota": (both(uncovered, unalarmed, permitted(quota=400)), "actor_denied"),
    "they are refused as None": (both(uncovered, unalarmed, permitted(**{"None": 400})), "actor_denied"),
    "they are refused without a word": (
        both(
            uncovered,
            unalarmed,
            permitted(),
            lambda made: made.change(Kind.FAULT_ENDED, "acl_flood", told=UNSAID) and None,
        ),
        "actor_denied",
    ),
    "they are refused, and the alarm came long before": (
        both(
            permitted(blacklisted=9),
            lambda made: made.change(Kind.SAFEGUARD_ENGAGED, "acl_violation_monitor", at_s=1.0) and None,
        ),
        "actor_denied",
    ),
    "every second probe is missed": (down(RETRO, *(12.0 + n for n in range(7))), "route_failing"),
    "a fault is over for a minute": (engaged(MONITOR, "cpu", 2.0, 4.0), "false_alarm"),
    "a route is said to be late": (engaged("dependency_latency_monitor", "governance"), "false_alarm"),
    "an error is recognised without one": (engaged("error_recognition_system", "governance"), "false_alarm"),
    "a safeguard stays engaged": (stay(MONITOR), "not_released"),
    "work is still deferred": (answered(RECOVERED + 2, RETRO, "shed", 503), "not_released"),
    "answers are still stale": (answered(RECOVERED + 2, KNOWLEDGE, "stale", 200), "not_released"),
    "a model stays replaced": (replaced, "not_released"),
}


def test_a_healthy_run_passes(tmp_path: Path) -> None:
    found = judged(draft(), tmp_path)
    assert (found.verdict, found.code, found.missing) == (PASS, "bystanders_unharmed.shown", ())
    assert {one.partition(":")[0] for one in found.evidence} == {"signals.csv", "requests.csv", "timeline"}


@pytest.mark.parametrize("name", RED)
def test_each_harm_is_red(tmp_path: Path, name: str) -> None:
    change, code = RED[name]
    made = draft()
    change(made)
    found = judged(made, tmp_path)
    assert (found.verdict, found.code) == (FAIL, f"bystanders_unharmed.{code}"), found.because
    assert found.evidence


GREEN: dict[str, Break] = {
    "two probes time out": timed_out(RETRO, 12.0, 12.5),
    "work is deferred by its playbook": both(defers, deferred(RETRO, 12.0, 12.5)),
    "one probe is missed": down(RETRO, 12.0),
    "two probes of many are missed": down(RETRO, 12.0, 20.0),
    "three are missed, and far from a tenth": down(RETRO, 12.0, 18.0, 24.0),
    "the struck route is down": down(KNOWLEDGE, *(10.0 + n / 2 for n in range(20))),
    "the struck kernel is not heard": unheard("memory_fusion", 9.0, 20.0),
    "a kernel is late for four seconds": unheard("sandbox", 12.0, 15.0),
    "memory is short": both(engaged(MONITOR, "memory"), signal("memory_percent", "target", 91.0)),
    "the queue is long": both(
        engaged("queue_pressure_monitor", "htm_queue"), signal("htm_queue_depth", "", 260.0, 11.25, 12.25)
    ),
    "a kernel is away": both(engaged(WATCHDOG, "sandbox"), signal("kernel_heartbeat_age_s", "sandbox", 2.6)),
    "an error is recognised beside another": engaged("error_recognition_system", "memory_fusion"),
    "a safeguard of the scenario cuts a flood off": permitted(blacklisted=993),
    "the bus has no room for a flood": both(uncovered, unalarmed, permitted(busy=400)),
    "a safeguard was engaged before": engaged(MONITOR, "disk", 0.1, None, before_run=True),
    "the faulted actor stays cut off": stay("acl_violation_monitor"),
    "work is deferred by a new engagement": both(
        engaged(MONITOR, "cpu", RECOVERED + 1, RECOVERED + 4), answered(RECOVERED + 2, RETRO, "shed", 503)
    ),
    "a route answers late": both(
        engaged("dependency_latency_monitor", "governance"), answered(11.0, CHECK, "ok", 200, 2, 180)
    ),
}
COLOURS = [("bystanders_unharmed", name, colour) for some, colour in ((RED, FAIL), (GREEN, PASS)) for name in some]


@pytest.mark.parametrize("name", GREEN)
def test_what_is_no_harm_stays_green(tmp_path: Path, name: str) -> None:
    made = draft()
    GREEN[name](made)
    found = judged(made, tmp_path)
    assert found.verdict is PASS, found.because


def test_a_side_effect_is_listed(tmp_path: Path) -> None:
    made = draft()
    GREEN["memory is short"](made)
    assert "side effects: resource_pressure_monitor(memory)" in judged(made, tmp_path).because


def test_a_cause_that_lasts_keeps_a_safeguard_engaged(tmp_path: Path) -> None:
    made = draft()
    engaged(MONITOR, "memory", 20.0, None)(made)
    signal("memory_percent", "target", 91.0, 17.0, 23.0)(made)
    assert judged(made, tmp_path / "over").code == "bystanders_unharmed.not_released"
    signal("memory_percent", "target", 91.0, 23.0, END)(made)
    found = judged(made, tmp_path / "lasts")
    assert found.verdict is PASS and "its cause is still there: resource_pressure_monitor(memory)" in found.because


def test_a_missing_witness_is_inconclusive(tmp_path: Path) -> None:
    made = draft().silence("htm_queue_depth")
    engaged("queue_pressure_monitor", "htm_queue")(made)
    found = judged(made, tmp_path)
    assert (found.verdict, found.code) == (UNSURE, "bystanders_unharmed.alarm_unwitnessed")


@pytest.mark.parametrize(
    ("percent", "verdict", "code"),
    [
        (None, UNSURE, "bystanders_unharmed.alarm_unwitnessed"),
        (20.0, FAIL, "bystanders_unharmed.false_alarm"),
        (90.0, PASS, "bystanders_unharmed.shown"),
    ],
)
def test_an_alarm_as_the_run_begins_is_judged_by_what_was_before(
    tmp_path: Path, percent: float | None, verdict: Verdict, code: str
) -> None:
    made = draft()
    engaged(MONITOR, "cpu", 0.4, 2.0)(made)
    if percent is not None:
        made.signals += [(at / 2, "cpu_percent_before", "", percent) for at in range(-6, 1)]
    found = judged(made, tmp_path)
    assert (found.verdict, found.code) == (verdict, code), found.because


def test_a_safeguard_without_a_witness_is_inconclusive(tmp_path: Path) -> None:
    made = draft()
    engaged("guard_of_another_target", "x")(made)
    assert judged(made, tmp_path).code == "bystanders_unharmed.alarm_unwitnessed"


@pytest.mark.parametrize(
    ("signal_name", "subject", "code"),
    [("route_up", CHECK, "route_unseen"), ("bus_heartbeats", None, "bus_unheard")],
)
def test_a_silent_source_is_inconclusive(tmp_path: Path, signal_name: str, subject: str | None, code: str) -> None:
    found = judged(draft().silence(signal_name, subject), tmp_path)
    assert (found.verdict, found.code) == (UNSURE, f"bystanders_unharmed.{code}")


def test_a_deaf_subscriber_is_inconclusive(tmp_path: Path) -> None:
    made = draft()
    deaf(made)
    found = judged(made, tmp_path)
    assert (found.verdict, found.code) == (UNSURE, "bystanders_unharmed.bus_deaf") and found.evidence


def test_a_struck_bus_excuses_a_deaf_subscriber(tmp_path: Path) -> None:
    made = draft()
    since, until = 13.0, 22.0
    made.signals = [row for row in made.signals if row[1] != "bus_canary" or not since <= row[0] <= until]
    assert judged(made, tmp_path / "deaf").code == "bystanders_unharmed.bus_deaf"
    made.add(since, Kind.KERNEL_CHANGED, "message_bus", TOLD, **{"from": "running", "to": "crashed"})
    assert judged(made, tmp_path / "struck").verdict is PASS


def test_a_kernel_that_was_never_heard_is_named(tmp_path: Path) -> None:
    found = judged(draft().silence("bus_heartbeats", "sandbox"), tmp_path)
    assert (found.verdict, found.code) == (UNSURE, "bystanders_unharmed.bus_unheard") and "sandbox" in found.because


def test_lost_events_accuse_nobody_of_a_missing_release(tmp_path: Path) -> None:
    made = draft()
    stay(MONITOR)(made)
    made.add(14.0, Kind.SIGNAL_LOST, "Events", "watcher", error="gone")
    assert judged(made, tmp_path).verdict is UNSURE


def test_a_target_without_a_bus_is_judged_by_the_rest(tmp_path: Path) -> None:
    made = draft().silence("bus_heartbeats")
    made.plan = replace(made.plan, offers=("signals.events",))
    found = judged(made, tmp_path)
    assert (found.verdict, found.missing) == (PASS, ("bus.heartbeat_topic",))
    down(RETRO, 12.0, 12.5)(made)
    assert judged(made, tmp_path / "red").verdict is FAIL


def test_a_route_that_nobody_asks_is_named(tmp_path: Path) -> None:
    made = draft()
    made.plan = replace(made.plan, routes={**made.plan.routes, "POST /api/unasked": ("api_server", "sandbox")})
    found = judged(made, tmp_path)
    assert found.verdict is PASS and "nobody asked POST /api/unasked, and no probe does" in found.because


def test_an_alarm_in_a_fault_is_explained_by_it(tmp_path: Path) -> None:
    assert PRESSURE > INJECTED and SHED_END > PRESSURE
    made = draft()
    engaged("error_recognition_system", "rogue_kernel")(made)
    assert judged(made, tmp_path).verdict is PASS


@pytest.mark.parametrize(
    ("status", "count", "served", "faulted", "red"),
    [
        (429, 5, False, False, True),
        (403, 5, False, False, True),
        (429, 4, False, False, False),
        (429, 8, True, False, False),
        (503, 9, False, False, False),
        (429, 9, False, True, False),
    ],
)
def test_one_user_among_many_who_is_turned_away_is_cut_off(
    tmp_path: Path, status: int, count: int, served: bool, faulted: bool, red: bool
) -> None:
    made = trail()
    for number in range(count):
        body = {"actor": "user-7", "action": "read", "resource": "lamp", "payload": {}}
        made.turn_down("decision", 100 + number, "refused", "rate_limited", status, body=body, actor="user-7")
        if served and number == 4 - 1:
            made.ask("decision", 200, body=body, actor="user-7")
    if faulted:
        made.draft.change(Kind.FAULT_INJECTED, "acl_flood", actor="user-7")
    causes = [one for one in actors(made.record(tmp_path)) if "user-7" in one.words]
    assert [one.code for one in causes] == (["actor_cut_off"] if red else [])
    assert all(place.startswith("ledger.jsonl:") for one in causes for place in one.evidence)


def test_nothing_but_struck_routes_is_not_judged(tmp_path: Path) -> None:
    made = draft()
    made.plan = replace(made.plan, offers=(), routes={KNOWLEDGE: ("memory_fusion",)})
    found = judged(made, tmp_path)
    assert found.verdict is Verdict.NOT_APPLICABLE and found.missing == ("bus.heartbeat_topic", "signals.events")


def test_every_safeguard_has_a_witness() -> None:
    rows = alarm_witnesses()
    assert set(rows) == set(SAFEGUARDS)
    known = {
        "signal",
        "above",
        "mean_s",
        "subjects",
        "route_ms",
        "requests_per_s",
        "user",
        "events",
        "safeguards",
        "crew",
    }
    for row in (row for some in rows.values() for row in some.values()):
        assert set(row) <= known | {"only_faults"} and ("signal" in row) == ("above" in row)
        assert all(Kind(word) for word in row.get("events", ()))
