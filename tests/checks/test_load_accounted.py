"""load_accounted: three counts of each request agree and no user falls silent, or nothing else is to be relied on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import judge as judging
from harness.judge import judge
from harness.model import Finding, Kind, Verdict
from harness.traffic import RequestRow
from tests.drafts import CHECK, INTENT, RETRO, Draft, healthy

PASS, UNSURE = Verdict.PASS, Verdict.INCONCLUSIVE
KIND_OF = {INTENT: "intent", CHECK: "decision", RETRO: "retrospective"}
FLOOD = "acl_flood"  # any step of the plan, made an attack here
ATTACK = {"total": 8, "sent": 8, "answered": 8, "settled": 8, "attempts": 10, "resent": 0, "counted": 10}
Change = Callable[[Draft], Any]


def row(user: str, kind: str, number: int, attempts: int = 1) -> dict[str, Any]:
    about = {"at_s": 12.0, "user": user, "kind": kind, "id": f"{user}-{kind}-{number}", "valid": True, "flaw": ""}
    return {**about, "attempts": attempts, "outcome": "accepted", "status": 200}


def story() -> Draft:
    """Users with their ledger, and a flood of 8 intents of which 2 were sent twice."""
    draft = healthy()
    step = next(one for one in draft.plan.steps if one.step_id == FLOOD)
    flood = replace(step, params={"endpoint": "/api/htm/intents", "concurrency": 2})
    draft.plan = replace(draft.plan, steps=tuple(flood if one is step else one for one in draft.plan.steps))
    counts: Counter[str] = Counter()
    for one in draft.requests:
        counts[one.name] += one.count
    rows = [row("legitimate", kind, n) for name, kind in KIND_OF.items() for n in range(counts[name])]
    rows += [row("htm_flood", "intent", n, attempts=2 if n < 2 else 1) for n in range(8)]
    ended = sum(counts.values())
    draft.requests.append(RequestRow(12.0, "htm_flood", INTENT, "ok", 200, 10, ((5, 10),)))
    counts[INTENT] += 10
    users = {"": {"started": ended, "ended": ended, "cut": 0}}
    detail = {"locust": dict(counts), "reset": False, "users": users, "attacks": {FLOOD: ATTACK}}
    draft.add(35.0, Kind.LOAD_COUNTED, draft.plan.scenario_id, "load", **detail)
    return ledger(draft, rows)


def ledger(draft: Draft, rows: list[dict[str, Any]]) -> Draft:
    draft.files["ledger.jsonl"] = "".join(json.dumps(one) + "\n" for one in rows)
    return draft


def told(draft: Draft, **changes: Any) -> Draft:
    return draft.change(Kind.LOAD_COUNTED, draft.plan.scenario_id, **changes)


def half_of_a_worker(draft: Draft) -> None:
    """Every fourth row never came: half of one of two workers."""
    draft.requests = [one for number, one in enumerate(draft.requests) if number % 4]


def doubled(draft: Draft) -> None:
    detail = next(one.detail for one in draft.events if one.kind is Kind.LOAD_COUNTED)
    told(draft, locust={name: 2 * count for name, count in detail["locust"].items()})


def too_many_rows(draft: Draft) -> None:
    draft.requests.append(RequestRow(13.0, "legitimate", "GET /api/knowledge", "ok", 200, 1, ((5, 1),)))


def without_rows(draft: Draft, user: str, kind: str) -> None:
    rows = [json.loads(text) for text in draft.files["ledger.jsonl"].splitlines()]
    gone = next(one for one in rows if (one["user"], one["kind"]) == (user, kind))
    ledger(draft, [one for one in rows if one is not gone])


def another_row(draft: Draft) -> None:
    draft.files["ledger.jsonl"] += json.dumps(row("htm_flood", "intent", 99)) + "\n"


def attack(draft: Draft, **changes: int) -> None:
    told(draft, attacks={FLOOD: {**ATTACK, **changes}})


def silent(draft: Draft) -> None:
    draft.signals = [(a, n, s, a - 14.0 if n == "users_idle_s" and a > 15 else v) for a, n, s, v in draft.signals]


def stalled(draft: Draft) -> None:
    """No user begins anything from 14 s to 21 s, and none waits."""
    changed = []
    for at_s, name, subject, value in draft.signals:
        quiet = 14.0 <= at_s <= 21.0
        if quiet and name in ("users_started", "users_waiting"):
            value = 280.0 if name == "users_started" else 0.0
        changed.append((at_s, name, subject, value))
    draft.signals = changed


def waiting(draft: Draft) -> None:
    stalled(draft)
    draft.hold("users_waiting", 1.0)


def present(*levels: tuple[float, float, str], workers: int = 0) -> Change:
    """(from when on, how many, of which process) of the users who were there."""

    def act(draft: Draft) -> None:
        mine = [one for one in draft.signals if one[1].startswith("users_")]
        draft.signals = [one for one in draft.signals if one not in mine]
        for at_s, name, _, value in mine:
            for process in [f"w{number}" for number in range(workers)] or [""]:
                if name == "users_present":
                    told = [level for since_s, level, of in levels if of == process and since_s <= at_s]
                    value = told[-1] if told else 0.0
                draft.signals.append((at_s, name, process, value))

    return act


CASES: list[tuple[str, Change, Verdict, str]] = [
    ("load_accounted", present((0, 1, "")), UNSURE, "users_missing"),
    ("load_accounted", present((0, 20, ""), (20, 19, "")), UNSURE, "users_missing"),
    ("load_accounted", present((0, 20, ""), (20, 25, "")), UNSURE, "users_added"),
    ("load_accounted", present((0, 10, "w0"), (0, 9, "w1"), workers=2), UNSURE, "users_missing"),
    ("load_accounted", present((0, 10, "w0"), (0, 10, "w1"), (15, 4, "w1"), workers=2), UNSURE, "users_missing"),
    # they come one by one before the baseline, two processes tell at two times, and at the end they leave
    ("load_accounted", present((0, 1, ""), (3, 9, ""), (6, 20, "")), PASS, "shown"),
    ("load_accounted", present((0, 10, "w0"), (2, 10, "w1"), (33, 3, "w1"), workers=2), PASS, "shown"),
    ("load_accounted", present((0, 20, ""), (15, 19, ""), (18, 20, "")), PASS, "shown"),
    ("load_accounted", lambda draft: None, PASS, "shown"),
    ("load_accounted", waiting, PASS, "shown"),
    ("load_accounted", half_of_a_worker, UNSURE, "requests_missing"),
    ("load_accounted", doubled, UNSURE, "requests_missing"),
    ("load_accounted", too_many_rows, UNSURE, "locust_differs"),
    ("load_accounted", lambda draft: told(draft, reset=True), UNSURE, "stats_reset"),
    ("load_accounted", lambda draft: told(draft, users={"": {"ended": 1, "cut": 0}}), UNSURE, "users_differ"),
    ("load_accounted", lambda draft: without_rows(draft, "legitimate", "decision"), UNSURE, "ledger_missing"),
    ("load_accounted", lambda draft: without_rows(draft, "htm_flood", "intent"), UNSURE, "ledger_missing"),
    ("load_accounted", another_row, UNSURE, "ledger_differs"),
    ("load_accounted", lambda draft: attack(draft, counted=11), UNSURE, "requests_missing"),
    ("load_accounted", lambda draft: attack(draft, counted=9), UNSURE, "locust_differs"),
    ("load_accounted", lambda draft: attack(draft, attempts=14), UNSURE, "requests_missing"),
    ("load_accounted", silent, UNSURE, "users_silent"),
    ("load_accounted", stalled, UNSURE, "users_silent"),
    ("load_accounted", lambda draft: draft.silence("users_idle_s"), UNSURE, "users_silent"),
]


def found(draft: Draft, folder: Path) -> Finding:
    return next(one for one in judge(draft.record(folder)) if one.check == "load_accounted")


@pytest.mark.parametrize(("check", "change", "verdict", "code"), CASES)
def test_load_check(tmp_path: Path, check: str, change: Change, verdict: Verdict, code: str) -> None:
    draft = story()
    change(draft)
    one = found(draft, tmp_path)
    assert (one.verdict, one.code) == (verdict, f"{check}.{code}"), one.because
    assert one.evidence


def test_a_run_without_statistics_is_not_counted(tmp_path: Path) -> None:
    draft = story()
    draft._counted = list  # type: ignore[method-assign, assignment]
    draft.drop(Kind.LOAD_COUNTED)
    one = found(draft, tmp_path)
    assert (one.verdict, one.code) == (UNSURE, "load_accounted.not_counted")


def test_users_cut_at_the_end_have_only_a_ledger_row(tmp_path: Path) -> None:
    draft = story()
    draft.files["ledger.jsonl"] += json.dumps(row("legitimate", "intent", 9999)) + "\n"
    assert found(draft, tmp_path / "one").code == "load_accounted.requests_missing"
    detail = next(one.detail for one in draft.events if one.kind is Kind.LOAD_COUNTED)
    told(draft, users={"": {**detail["users"][""], "cut": 1}})
    assert found(draft, tmp_path / "two").verdict is PASS


@pytest.mark.parametrize(
    ("load", "code", "also", "verdict"),
    [
        ("ledger_missing", "work_kept.stranger", (), UNSURE),
        ("ledger_missing", "audit_trail_kept.invented_entry", (), UNSURE),
        ("ledger_missing", "valid_processed.retrospective_stranger", (), UNSURE),
        ("ledger_missing", "work_kept.lost", (), Verdict.FAIL),
        ("ledger_missing", "work_kept.stranger", ("work_kept.lost",), Verdict.FAIL),
        ("users_silent", "work_kept.stranger", (), Verdict.FAIL),
    ],
)
def test_what_stands_beyond_a_partial_ledger_accuses_nobody(
    monkeypatch: pytest.MonkeyPatch, load: str, code: str, also: tuple[str, ...], verdict: Verdict
) -> None:
    name = code.partition(".")[0]
    held = Finding(check=name, verdict=Verdict.FAIL, claim="c", because="b", code=code, also=also)
    codes = ("load_accounted.requests_missing", f"load_accounted.{load}")
    counted = Finding(check="load_accounted", verdict=UNSURE, claim="l", because="b", code=codes[0], also=codes[1:])
    held, counted = replace(held, evidence=("timeline:3",)), replace(counted, evidence=("timeline:9",))
    record: Any = None
    monkeypatch.setattr(judging, "_judged", lambda _: [held, counted])
    first, second = judge(record)
    assert first.verdict is verdict and second == counted
    assert (first.code == code) is (verdict is Verdict.FAIL)
    assert ("timeline:9" in first.evidence) is (verdict is UNSURE) and "timeline:3" in first.evidence
