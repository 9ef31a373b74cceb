"""Invariant 7: a playbook's effect is counted by clients, of each kind of work that it names, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.judge import judge_claim
from harness.model import INVARIANT, Claim, Finding, Kind, Verdict
from harness.traffic import RequestRow
from tests.drafts import END, KNOWLEDGE, PRESSURE, RETRO, SHED_END, Draft, healthy

FAIL, PASS, UNSURE = Verdict.FAIL, Verdict.PASS, Verdict.INCONCLUSIVE
CPU, BYPASS, REFUSE, FIX = (
    *("resource_pressure_cpu", "dependency_bypass", "refuse_unrecorded", "message_bus_acl_violation_fix"),
)
EFFECTS: dict[str, dict[str, tuple[str, ...]]] = {
    CPU: {"defers": ("intent.deferrable", "retrospective")},
    BYPASS: {"serves_stale": (KNOWLEDGE,)},
    REFUSE: {"refuses": ("decision", "intent")},
    FIX: {"cuts_off": ("actor",)},
}
STARTED, OVER = 14.0, 24.0  # of the playbooks that a test adds


@dataclass
class World:
    """A run in which each request is counted: MF01, whose pressure on the CPU lasts for eight seconds."""

    draft: Draft = field(default_factory=healthy)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def send(self, work: str, outcome: str, at_s: float, deferred_for: str = "", user: str = "legitimate") -> None:
        kind = work.partition(".")[0]
        status = {"accepted": 200, "refused": 503, "limited": 429}[outcome]
        row = {"at_s": at_s, "user": user, "kind": kind, "id": f"{work}-{len(self.rows)}", "valid": True, "flaw": ""}
        row |= {"attempts": 1, "outcome": "refused" if outcome == "limited" else outcome, "status": status}
        self.rows.append({**row, "work": work, "deferred_for": deferred_for})

    def judge(self, folder: Path) -> Finding:
        offers = ("signals.events", *(f"playbook_effects.{name}" for name in EFFECTS))
        self.draft.plan = replace(self.draft.plan, offers=offers, effects=EFFECTS)
        if self.rows:
            self.draft.files["ledger.jsonl"] = "".join(json.dumps(row) + "\n" for row in self.rows)
        claim = Claim(claim="effective", check="playbooks_effective", group=INVARIANT)
        return judge_claim(self.draft.record(folder), claim)


def world(per_s: int = 8) -> World:
    """Work of every kind in every second, deferred where the pressure's playbook says so."""
    made = World()
    for number in range(int(END) * per_s):
        at_s = number / per_s
        under = PRESSURE < at_s < SHED_END
        for work in ("intent.deferrable", "retrospective"):
            made.send(work, "refused" if under else "accepted", at_s, "cpu" if under else "")
        made.send("intent", "accepted", at_s)
        made.send("decision", "accepted", at_s)
    return made


def inside(row: dict[str, Any], work: str) -> bool:
    return bool(row["work"] == work and PRESSURE + 1.5 < row["at_s"] < SHED_END - 1.5)


def leak(work: str, every: int = 1) -> Callable[[World], None]:
    """One in so many requests of a kind goes through although it should not."""

    def change(made: World) -> None:
        mine = [row for row in made.rows if inside(row, work)]
        for row in mine[::every]:
            row.update(outcome="accepted", status=200, deferred_for="")

    return change


def defer(work: str, at_s: float, why: str = "cpu", for_s: float = 0.3) -> Callable[[World], None]:
    def change(made: World) -> None:
        for row in made.rows:
            if row["work"] == work and at_s <= row["at_s"] < at_s + for_s:
                row.update(outcome="refused", status=503, deferred_for=why)

    return change


def shed(made: World) -> None:
    """In requests.csv alone: the ledger says nothing of it."""
    made.draft.requests = [
        replace(row, outcome="shed", status=503) if row.name == RETRO and 25.0 < row.at_s < 29.0 else row
        for row in made.draft.requests
    ]


def own_ids(made: World) -> None:
    """Playbooks have incident ids of their own."""
    made.draft.events = [
        replace(event, detail={**event.detail, "incident_id": f"play-{event.detail['incident_id']}"})
        if event.kind in (Kind.PLAYBOOK_STARTED, Kind.PLAYBOOK_FINISHED)
        else event
        for event in made.draft.events
    ]


def of_no_safeguard(made: World) -> None:
    """And what they ran for was never told."""
    own_ids(made)
    made.draft.drop(Kind.SAFEGUARD_ENGAGED, "resource_pressure_monitor")
    made.draft.drop(Kind.SAFEGUARD_RELEASED, "resource_pressure_monitor")


def own_ids_and_too_much(made: World) -> None:
    own_ids(made)
    defer("retrospective", 25.0, "")(made)


def ran(made: World, playbook: str, subject: str) -> None:
    """A playbook of another safeguard that is in force from STARTED to OVER."""
    about = {"subject": subject, "incident_id": playbook}
    made.draft.add(STARTED - 0.2, Kind.SAFEGUARD_ENGAGED, f"guard_of_{playbook}", "control_plane", **about)
    made.draft.add(STARTED - 0.1, Kind.PLAYBOOK_STARTED, playbook, "control_plane", **about)
    made.draft.add(STARTED, Kind.PLAYBOOK_FINISHED, playbook, "control_plane", outcome="succeeded", **about)
    made.draft.add(OVER, Kind.SAFEGUARD_RELEASED, f"guard_of_{playbook}", "control_plane", **about)


def bypassed(fresh_every: int = 0, stale_at_s: float | None = None) -> Callable[[World], None]:
    """Reads are answered from the store while their dependency is late; one in so many is not."""

    def change(made: World) -> None:
        ran(made, BYPASS, "memory_fusion")
        kept = [row for row in made.draft.requests if row.name != KNOWLEDGE]
        for number in range(int(END) * 5):
            at_s = number / 5
            stale = STARTED <= at_s < OVER and not (fresh_every and number % fresh_every == 0)
            outcome = "stale" if stale or at_s == stale_at_s else "ok"
            kept.append(RequestRow(at_s, "legitimate", KNOWLEDGE, outcome, 200, 1, ((5, 1),)))
        made.draft.requests = sorted(kept, key=lambda row: row.at_s)

    return change


def refusing(passes_every: int = 0) -> Callable[[World], None]:
    """Nothing can be recorded for a while; one request in so many is taken all the same."""

    def change(made: World) -> None:
        ran(made, REFUSE, "immutable_log")
        for number, row in enumerate(made.rows):
            struck = row["work"] in EFFECTS[REFUSE]["refuses"] and STARTED < row["at_s"] < OVER
            if struck and not (passes_every and number % passes_every == 0):
                row.update(outcome="refused", status=503)

    return change


def passes_after_the_cut(made: World) -> None:
    made.draft.signals = [
        (a, n, s, v + (a > 20.0)) if (n, s) == ("bus_delivered", "rogue_kernel") else (a, n, s, v)
        for a, n, s, v in made.draft.signals
    ]


def flood_passes(made: World) -> None:
    """Clients of an attack, which ask again until they are accepted, get half of their attempts through."""
    for number in range(30):
        at_s = PRESSURE + 1.5 + number / 8
        made.send("intent.deferrable", "accepted", at_s, user="htm_flood")
        made.draft.requests.append(RequestRow(at_s, "htm_flood", "POST /x", "shed", 503, 1, ((5, 1),)))


RED: dict[str, tuple[Callable[[World], None], str]] = {
    "every second intent is not deferred": (leak("intent.deferrable", 2), "leaks"),
    "one in ten intents is not deferred": (leak("intent.deferrable", 10), "leaks"),
    "no retrospective is deferred": (leak("retrospective"), "leaks"),
    "urgent intents are deferred too": (defer("intent", 14.0), "too_much"),
    "work is deferred before": (defer("retrospective", 5.0), "too_much"),
    "work is deferred after the release": (defer("intent.deferrable", 25.0), "too_much"),
    "work is deferred after the release, and nobody says why": (defer("intent.deferrable", 25.0, ""), "too_much"),
    "decisions are deferred, and nobody says why": (defer("decision", 20.0, ""), "too_much"),
    "work is shed by requests.csv alone": (shed, "too_much"),
    "work is deferred by what has ids of its own": (own_ids_and_too_much, "too_much"),
    "one in five reads is not from the store": (bypassed(fresh_every=5), "leaks"),
    "a read is from the store after the release": (bypassed(stale_at_s=30.0), "too_much"),
    "one in five is taken without a record": (refusing(passes_every=5), "leaks"),
    "an actor is heard after its cut-off": (passes_after_the_cut, "leaks"),
    "an attack gets half of its work through": (flood_passes, "leaks"),
}
GREEN: dict[str, Callable[[World], None]] = {
    "all of the work is deferred": lambda made: None,
    "one in twenty-five intents is not deferred": leak("intent.deferrable", 25),
    "all reads are from the store": bypassed(),
    "all that must be recorded is refused": refusing(),
    "playbooks have incident ids of their own": own_ids,
}
COLOURS = [("playbooks_effective", name, colour) for some, colour in ((RED, FAIL), (GREEN, PASS)) for name in some]


@pytest.mark.parametrize("name", RED)
def test_a_playbook_without_its_effect_is_red(tmp_path: Path, name: str) -> None:
    change, code = RED[name]
    made = world()
    change(made)
    found = made.judge(tmp_path)
    assert (found.verdict, found.code) == (FAIL, f"playbooks_effective.{code}"), found.because
    assert found.evidence


@pytest.mark.parametrize("name", GREEN)
def test_a_playbook_with_its_effect_passes(tmp_path: Path, name: str) -> None:
    made = world()
    GREEN[name](made)
    found = made.judge(tmp_path)
    assert found.verdict is PASS and found.evidence, found.because


def test_a_playbook_whose_end_nobody_knows_is_inconclusive(tmp_path: Path) -> None:
    made = world()
    of_no_safeguard(made)
    found = made.judge(tmp_path)
    assert (found.verdict, found.code) == (UNSURE, "playbooks_effective.end_unknown"), found.because


def test_few_that_nothing_explains_are_inconclusive(tmp_path: Path) -> None:
    made = world()
    defer("retrospective", 25.0, "", for_s=0.2)(made)
    found = made.judge(tmp_path)
    assert (found.verdict, found.code) == (UNSURE, "playbooks_effective.few_unexplained"), found.because


STRUCK: dict[str, tuple[float, Callable[[World], Any]]] = {
    "a kernel of the route is struck": (12.0, lambda made: strike(made, target="governance", subject="governance")),
    "an attack floods this very work": (12.0, lambda made: strike(made, params={"endpoint": "/api/governance/check"})),
    "a safeguard is engaged for a kernel of the route": (STARTED + 1, lambda made: breaker(made)),
}


def strike(made: World, **step: Any) -> None:
    """The load on the CPU is another fault."""
    plan = made.draft.plan
    steps = tuple(replace(one, **step) if one.step_id == "cpu_spike" else one for one in plan.steps)
    made.draft.plan = replace(plan, steps=steps)


def breaker(made: World) -> None:
    about = {"subject": "governance", "incident_id": "away"}
    made.draft.add(STARTED, Kind.SAFEGUARD_ENGAGED, "dependency_breaker", "control_plane", **about)
    made.draft.add(OVER, Kind.SAFEGUARD_RELEASED, "dependency_breaker", "control_plane", **about)


@pytest.mark.parametrize("name", STRUCK)
def test_a_kernel_away_or_a_flood_explains_what_is_put_off(tmp_path: Path, name: str) -> None:
    at_s, change = STRUCK[name]
    made = world()
    routes = {**made.draft.plan.routes, "POST /api/governance/check": ("api_server", "governance")}
    made.draft.plan = replace(made.draft.plan, routes=routes)
    defer("decision", at_s, "", for_s=1.0)(made)
    assert made.judge(tmp_path / "red").code == "playbooks_effective.too_much"
    change(made)
    found = made.judge(tmp_path / "green")
    assert found.verdict is PASS, found.because
    defer("retrospective", 25.0, "", for_s=1.0)(made)
    found = made.judge(tmp_path / "other")
    assert (found.verdict, found.code) == (FAIL, "playbooks_effective.too_much"), "it needs nothing that is struck"


def test_too_few_requests_are_inconclusive(tmp_path: Path) -> None:
    found = world(per_s=1).judge(tmp_path)
    assert (found.verdict, found.code) == (UNSURE, "playbooks_effective.too_few")


@pytest.mark.parametrize(("passed", "verdict"), [(2, PASS), (3, FAIL)])
def test_a_pool_hides_no_rare_kind_that_mostly_leaks(tmp_path: Path, passed: int, verdict: Verdict) -> None:
    made = world(per_s=16)
    rare = [row for row in made.rows if inside(row, "retrospective")]
    under = [row for row in made.rows if row["work"] == "retrospective" and PRESSURE < row["at_s"] < SHED_END]
    made.rows = [row for row in made.rows if row not in under or row in rare[:4]]
    for row in rare[:passed]:
        row.update(outcome="accepted", status=200, deferred_for="")
    found = made.judge(tmp_path)
    assert found.verdict is verdict, found.because


def test_a_rare_kind_is_judged_with_the_rest_of_its_playbook(tmp_path: Path) -> None:
    made = world()
    rare = [row for row in made.rows if inside(row, "retrospective")]
    made.rows = [row for row in made.rows if row not in rare[10:]]
    assert made.judge(tmp_path / "green").verdict is PASS
    leak("retrospective")(made)
    found = made.judge(tmp_path / "red")
    assert (found.verdict, found.code) == (FAIL, "playbooks_effective.leaks"), "ten of ten that pass are not hidden"


def test_two_short_engagements_are_counted_together(tmp_path: Path) -> None:
    made = world(per_s=2)
    again = {"subject": "cpu", "incident_id": "again"}
    made.draft.add(19.0, Kind.SAFEGUARD_ENGAGED, "resource_pressure_monitor", "control_plane", **again)
    made.draft.add(19.1, Kind.PLAYBOOK_STARTED, CPU, "control_plane", **again)
    made.draft.add(19.2, Kind.PLAYBOOK_FINISHED, CPU, "control_plane", outcome="succeeded", **again)
    made.draft.add(28.0, Kind.SAFEGUARD_RELEASED, "resource_pressure_monitor", "control_plane", **again)
    for row in made.rows:
        if row["work"] in EFFECTS[CPU]["defers"] and 19.2 < row["at_s"] < 28.0:
            row.update(outcome="refused", status=503, deferred_for="cpu")
    assert made.judge(tmp_path).verdict is PASS


def test_the_latency_of_switching_does_not_count(tmp_path: Path) -> None:
    made = world()
    for row in made.rows:
        if row["work"] == "retrospective" and (row["at_s"] < PRESSURE + 0.9 or row["at_s"] > SHED_END - 0.9):
            row.update(outcome="accepted", status=200, deferred_for="")
    assert made.judge(tmp_path).verdict is PASS


def test_without_a_playbook_nothing_may_be_deferred(tmp_path: Path) -> None:
    made = world()
    for kind in (Kind.PLAYBOOK_STARTED, Kind.PLAYBOOK_FINISHED):
        made.draft.drop(kind, CPU)
    assert made.judge(tmp_path / "red").code == "playbooks_effective.too_much"
    made.rows = [{**row, "outcome": "accepted", "status": 200, "deferred_for": ""} for row in made.rows]
    made.draft.requests = [replace(row, outcome="ok", status=200) for row in made.draft.requests]
    assert made.judge(tmp_path / "green").verdict is PASS


def test_a_limited_user_is_not_counted(tmp_path: Path) -> None:
    made = world()
    for n in range(30):
        made.send("intent.deferrable", "limited", PRESSURE + 1.5 + n / 10)
    assert made.judge(tmp_path).verdict is PASS


def test_lost_events_are_inconclusive(tmp_path: Path) -> None:
    made = world()
    leak("retrospective")(made)
    made.draft.add(14.0, Kind.SIGNAL_LOST, "Events", "watcher", error="gone")
    found = made.judge(tmp_path)
    assert (found.verdict, found.code) == (UNSURE, "playbooks_effective.silent")


def test_a_run_without_a_ledger_is_inconclusive(tmp_path: Path) -> None:
    found = World().judge(tmp_path)
    assert (found.verdict, found.code) == (UNSURE, "playbooks_effective.silent")


def test_a_target_that_tells_no_events_is_not_judged(tmp_path: Path) -> None:
    made = healthy()
    made.plan = replace(made.plan, offers=("playbook_effects.x",), effects=EFFECTS)
    check = catalog.build_check("playbooks_effective", "effective", {})
    found = check.check(made.record(tmp_path))
    assert (found.verdict, found.missing) == (Verdict.NOT_APPLICABLE, ("signals.events",))


def test_too_few_of_a_playbook_that_nobody_expects_is_a_remark(tmp_path: Path) -> None:
    made = world()
    bypassed()(made)
    made.draft.requests = [row for row in made.draft.requests if row.outcome != "stale" or row.at_s < STARTED + 3]
    found = made.judge(tmp_path)
    assert found.verdict is PASS and "dependency_bypass was in force for only" in found.because


def test_what_began_before_the_playbook_took_hold_does_not_count(tmp_path: Path) -> None:
    made = world()
    leak("retrospective", 2)(made)
    for row in made.rows:
        if inside(row, "retrospective") and row["outcome"] == "accepted":
            row["begun_s"] = PRESSURE + 0.5
    assert made.judge(tmp_path).verdict is PASS
