"""A witness that cannot disagree is none: one that hardly looked, that counts for two, or whose error is the defect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faults.helpers.request_witness import LOOKS_MIN, Connections
from faults.helpers.witness import Total
from harness.conductor import Witnessed
from harness.judge import judge
from harness.model import Effect, Finding, Kind, Magnitude, Step, Verdict
from harness.traffic import RequestRow
from tests.drafts import FLOOD_END, INJECTED, INTENT, Draft, healthy

PASS = Verdict.PASS
FLOOD, SPIKE, PAUSE = "acl_flood", "cpu_spike", "kernel_pause"
RATE = Magnitude(name="rate", value=1000.0, unit="msg/s", tolerance=50.0)


def attained(draft: Draft, folder: Path, step_id: str) -> Finding:
    findings = judge(draft.record(folder))
    return next(one for one in findings if one.check == "fault_attained" and one.claim.split()[0] == step_id)


def seen(mean: float, **more: Any) -> dict[str, Any]:
    return {"name": "the kernel", "mean": mean, "error": 0.0, **more}


@pytest.mark.parametrize(
    ("step_id", "lasted_s", "witness", "code"),
    [
        (SPIKE, 7.0, seen(90.0, looks=28, fresh=1), "witness_silent"),
        (SPIKE, 7.0, seen(90.0, looks=28, fresh=2), "witness_silent"),
        (SPIKE, 60.0, seen(90.0, looks=240, fresh=200, unseen_s=31.0), "witness_silent"),
        # as runs that are well have them: a loop is seen once a second, a probe through a slow link as it answers
        (SPIKE, 60.0, seen(90.0, looks=240, fresh=150, unseen_s=3.0), "shown"),
        (SPIKE, 7.0, seen(90.0, looks=28, fresh=6, unseen_s=1.3), "shown"),
        (SPIKE, 5.8, seen(90.0, looks=2, fresh=1, unseen_s=5.0), "shown"),
        (SPIKE, 7.0, seen(90.0), "shown"),  # a run folder of before this was written
    ],
)
def test_a_witness_that_hardly_looked_shows_nothing(
    tmp_path: Path, step_id: str, lasted_s: float, witness: Mapping[str, Any], code: str
) -> None:
    draft = healthy().change(Kind.FAULT_ENDED, step_id, lasted_s=lasted_s, witness=dict(witness))
    found = attained(draft, tmp_path, step_id)
    assert found.code == f"fault_attained.{code}", found


class Shows:
    """A witness with a value at these looks only."""

    also_names: Mapping[str, str] = {}
    error = 0.0

    def __init__(self, looks: set[int]) -> None:
        self.looks, self.number = looks, -1

    def sample(self, effect: Effect) -> float | None:
        self.number += 1
        return 1.0 if self.number in self.looks else None

    def attained(self) -> None:
        """Keeps nothing."""

    def mean(self) -> float:
        return 1.0

    def also(self) -> Mapping[str, float]:
        return {}


@pytest.mark.parametrize(("looks", "unseen_s"), [({0}, 9.0), (set(range(10)), 1.0), ({0, 1, 2, 8, 9}, 6.0), ({9}, 9.0)])
def test_how_long_a_witness_saw_nothing_is_told(looks: set[int], unseen_s: float) -> None:
    witness = Witnessed("w", Shows(looks))  # type: ignore[arg-type]
    for second in range(10):
        witness.look(float(second), Effect(), 1.0)
        if not second:
            witness.attained(0.0)
    assert witness.summary()["unseen_s"] == unseen_s


# Two on one counter


def with_another(other: Step, value: float, since_s: float = 9.2, **more: Any) -> Draft:
    """The flood of the story, and another one beside it that says *value* of itself."""
    draft = healthy()
    draft.plan = replace(draft.plan, steps=(*draft.plan.steps, other))
    draft.plan = replace(draft.plan, coverage={**draft.plan.coverage, other.step_id: ()})
    achieved = {"mean": value, "sd": 0.0, "p5": value, "p95": value, "max": value, "n": 20.0}
    draft.add(INJECTED, Kind.FAULT_INJECTED, other.step_id, "conductor", mechanism="on paper")
    draft.add(since_s, Kind.FAULT_ATTAINED, other.step_id, "conductor", achieved=value)
    ended = {"ended_by": "plan", "because": "its time is up", "achieved": achieved, **more}
    draft.add(FLOOD_END, Kind.FAULT_ENDED, other.step_id, "conductor", **ended)
    return draft


def flood(draft: Draft) -> Step:
    return next(one for one in draft.plan.steps if one.step_id == FLOOD)


@pytest.mark.parametrize(
    ("told", "mean", "code"),
    [
        (1000.0, 1500.0, "witness_disagrees"),  # one of the two does half of what it says
        (1000.0, 1990.0, "shown"),
        (1000.0, 1930.0, "shown"),
        (300.0, 1010.0, "witness_disagrees"),
        (90000.0, 91000.0, "witness_hidden"),  # all of it may be the other one's
    ],
)
def test_two_floods_on_one_counter_are_their_sum(tmp_path: Path, told: float, mean: float, code: str) -> None:
    other = replace(flood(healthy()), step_id="acl_flood#2")
    draft = with_another(other, told, witness=seen(mean), lasted_s=7.0)
    draft.change(Kind.FAULT_ENDED, FLOOD, witness=seen(mean))
    found = attained(draft, tmp_path, FLOOD)
    assert found.code == f"fault_attained.{code}", found


def test_a_flood_that_came_later_is_counted_for_its_own_time_only(tmp_path: Path) -> None:
    other = replace(flood(healthy()), step_id="acl_flood#2")
    for mean, code in ((1510.0, "shown"), (1020.0, "witness_disagrees")):
        draft = with_another(other, 1000.0, since_s=(9.2 + FLOOD_END) / 2, witness=seen(2000.0))
        draft.change(Kind.FAULT_ENDED, FLOOD, witness=seen(mean))
        assert attained(draft, tmp_path / code, FLOOD).code == f"fault_attained.{code}"


def test_a_count_beside_a_rate_is_less_what_the_rate_brought(tmp_path: Path) -> None:
    asked = Magnitude(name="refused", value=2000.0, unit="messages", tolerance=0.0)
    spam = replace(flood(healthy()), step_id="acl_spam", type="acl_spam", asked=asked, also_asked=(RATE,), duration_s=0)
    took_s = FLOOD_END - 9.2
    for share, code in ((1.0, "shown"), (0.4, "witness_disagrees")):
        mean = 1000.4 * took_s + 2000 * share
        told = {"also": {"rate": 1000.0}}
        draft = with_another(spam, 2000.0, since_s=15.0, witness=seen(mean), told=told)
        found = attained(draft, tmp_path / code, "acl_spam")
        assert found.code == f"fault_attained.{code}", found
        assert code != "shown" or "no second witness of its rate" in found.because


def test_a_rate_beside_a_count_has_the_counters_growth_for_its_witness(tmp_path: Path) -> None:
    asked = Magnitude(name="refused", value=60.0, unit="messages", tolerance=0.0)
    for rate, code in ((990.0, "shown"), (500.0, "witness_disagrees")):
        draft = healthy()
        spam = replace(flood(draft), asked=asked, also_asked=(RATE,), duration_s=0.0)
        draft.plan = replace(draft.plan, steps=tuple(spam if one.step_id == FLOOD else one for one in draft.plan.steps))
        also = {"also": {"rate": rate}, "also_names": {"rate": "the bus"}}
        told = {"also": {"rate": 1000.0}}
        draft.change(Kind.FAULT_ENDED, FLOOD, witness=seen(1000.4, **also), told=told)
        found = attained(draft, tmp_path / code, FLOOD)
        assert found.code == f"fault_attained.{code}" and "no second witness" not in found.because


def test_the_pace_of_a_counter_is_that_between_its_first_and_last_step() -> None:
    for per_s in (20.0, 10.0):
        now = [(0.0, 5.0)]
        total = Total(lambda _, now=now: now[0])  # type: ignore[misc]
        for tick in range(40):
            at_s = 0.4 * tick
            now[0] = (at_s, 5.0 + min(60.0, per_s * max(0.0, at_s - 1.1)))
            total.sample(Effect())
        pace = total.pace()
        assert pace is not None and per_s <= pace < 1.1 * per_s and total.mean() == 60
    short = Total(lambda _: (1.0, 9.0))
    short.sample(Effect())
    assert short.pace() is None, "what came at once has no rate that a page could show"


# Two floods of one route, and the share of the invalid


def api_flood(step_id: str, share: float, endpoint: str = "/api/htm/intents") -> Step:
    also = (Magnitude(name="invalid share", value=share, unit="%", tolerance=share / 20),) if share else ()
    asked = Magnitude(name="sent", value=100.0, unit="requests", tolerance=0.0)
    made = replace(flood(healthy()), step_id=step_id, type="api_flood", asked=asked, also_asked=also, duration_s=0.0)
    return replace(made, params={"endpoint": endpoint, "concurrency": 2, "invalid_ratio": share / 100})


def two_floods(invalid: int, endpoint: str, told: tuple[float, float], counted: float) -> Draft:
    """acl_flood's place is taken by a flood of which half is to be invalid; another one is beside it."""
    other = api_flood("api_flood#2", 0.0, endpoint)
    detail = {"told": {"attempts": 100}, "witness": seen(counted, route=f"POST {endpoint}")}
    draft = with_another(other, told[1], **detail)
    mine = api_flood(FLOOD, 50.0)
    draft.plan = replace(draft.plan, steps=tuple(mine if one.step_id == FLOOD else one for one in draft.plan.steps))
    achieved = {"mean": told[0], "sd": 0.0, "p5": told[0], "p95": told[0], "max": told[0], "n": 20.0}
    said = {"attempts": 100, "also": {"invalid share": 50.0}}
    draft.change(Kind.FAULT_ENDED, FLOOD, achieved=achieved, told=said, witness=seen(counted, route=INTENT))
    draft.requests.append(RequestRow(11.0, "htm_flood", INTENT, "ok", 200, 100, ((5, 100),)))
    draft.requests.append(RequestRow(11.0, "htm_flood", f"POST {endpoint}", "ok", 200, 100, ((5, 100),)))
    kinds = ["intent", "intent" if endpoint.endswith("intents") else "decision"]
    rows = [
        {"at_s": 11.0, "user": "htm_flood", "kind": kind, "id": f"{kind}-{flood}-{n}", "valid": True, "flaw": ""}
        for flood, kind in enumerate(kinds)
        for n in range(100)
    ]
    for row in rows[:invalid]:
        row |= {"valid": False, "flaw": "too_long"}
    rows = [{**row, "attempts": 1, "outcome": "accepted", "status": 200} for row in rows]
    draft.files["ledger.jsonl"] = "".join(json.dumps(one) + "\n" for one in rows)
    return draft


@pytest.mark.parametrize("endpoint", ["/api/htm/intents", "/api/governance/check"])
@pytest.mark.parametrize(("invalid", "code"), [(50, "shown"), (20, "invalid_share_short")])
def test_a_share_is_witnessed_also_beside_another_flood(tmp_path: Path, endpoint: str, invalid: int, code: str) -> None:
    users = sum(one.count for one in healthy().requests if one.name == INTENT and INJECTED < one.at_s < FLOOD_END)
    draft = two_floods(invalid, endpoint, (100.0, 100.0), users + 210.0)
    found = attained(draft, tmp_path, FLOOD)
    assert found.code == f"fault_attained.{code}" and "no second witness of its invalid share" not in found.because
    del draft.files["ledger.jsonl"]
    alone = attained(draft, tmp_path / "alone", FLOOD)
    assert alone.verdict is PASS and "no second witness of its invalid share" in alone.because


def test_the_route_s_count_is_less_what_another_flood_has_sent(tmp_path: Path) -> None:
    users = sum(one.count for one in healthy().requests if one.name == INTENT and INJECTED < one.at_s < FLOOD_END)
    for sent, code in ((200.0, "shown"), (150.0, "witness_disagrees")):
        draft = two_floods(50, "/api/htm/intents", (100.0, 100.0), users + sent)
        assert attained(draft, tmp_path / code, FLOOD).code == f"fault_attained.{code}"


# The kernel's table, and who ended it


def test_a_table_without_a_connection_says_so_once_it_was_looked_at(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text("header\n")
    here, elsewhere = (Connections(senders, 80, table) for senders in (("127.0.0.10",), ("10.0.0.7",)))
    for number in range(LOOKS_MIN):
        assert (here.blank, here.looks) == (False, number)
        assert here.look() == elsewhere.look() == 0
    assert here.blank and not elsewhere.blank, "another machine's connections are not in this table"
    table.unlink()
    unread = Connections(("127.0.0.10",), 80, table)
    assert [unread.look() for _ in range(LOOKS_MIN)] == [0] * LOOKS_MIN and not unread.blank


def test_none_in_flight_by_the_table_contradicts_the_generator(tmp_path: Path) -> None:
    for most, code in ((0.0, "witness_disagrees"), (9.0, "shown")):
        draft = healthy()
        also = (Magnitude(name="concurrency", value=9.0, unit="in flight", tolerance=0.5),)
        steps = (replace(one, also_asked=also) if one.step_id == FLOOD else one for one in draft.plan.steps)
        draft.plan = replace(draft.plan, steps=tuple(steps))
        witness = seen(1000.4, also={"concurrency": most})
        draft.change(Kind.FAULT_ENDED, FLOOD, told={"also": {"concurrency": 9.0}}, witness=witness)
        assert attained(draft, tmp_path / code, FLOOD).code == f"fault_attained.{code}"


@pytest.mark.parametrize(
    ("kernel", "at_s", "code"),
    [
        ("memory_fusion", 8.4, "ended_early"),
        ("governance", 8.4, "shown"),
        ("memory_fusion", 20.0, "shown"),
        ("memory_fusion", 5.0, "shown"),
    ],
)
def test_a_pause_that_our_own_kill_ended_was_not_ended_by_the_target(
    tmp_path: Path, kernel: str, at_s: float, code: str
) -> None:
    draft = healthy()
    pause = next(one for one in draft.plan.steps if one.step_id == PAUSE)
    asked = Magnitude(name="killed", value=1.0, unit="processes", tolerance=0.0)
    kill = replace(pause, step_id="kernel_kill", type="kernel_kill", target=kernel, subject=kernel, kernels=(kernel,))
    draft.plan = replace(draft.plan, steps=(*draft.plan.steps, replace(kill, asked=asked, duration_s=0.0)))
    draft.add(at_s, Kind.FAULT_INJECTED, "kernel_kill", "conductor", mechanism="SIGKILL")
    assert attained(draft, tmp_path, PAUSE).code == f"fault_attained.{code}"
