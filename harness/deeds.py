"""Writes what a run did into the target's immutable log, as an actor of its own, and reads back that it stands there.

Only after the last reading of the verdict: what the harness writes must never be part of what it judges by.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.contracts import LogRoute, Target
from harness.ledger import AUDIT, held_file
from harness.loopback import Client
from harness.model import Event, Kind, Plan
from harness.read_back import NotRead, pages_of

AFTER = "audit_after"  # the ledger of what was added since the last reading
PART = 50  # entries of one request
TRIES = 4
PAUSE_S = 0.5
RETRY_AFTER_S_MAX = 3.0
LIMIT_S = 10.0  # for all of it
HURRIED_S = 3.0  # when the run was cut short: somebody waits for its end
REQUEST_LIMIT_S = 3.0
NO_ROUTE = "the manifest has no immutable_log: what the run did is not written into the target's own log"
TOLD = (Kind.FAULT_INJECTED, Kind.FAULT_ENDED)
DONE = {Kind.FAULT_INJECTED: "inject", Kind.FAULT_ENDED: "end"}


class NotWritten(Exception):
    """The target did not take the entries; the text says why."""


def deeds(plan: Plan, run_id: str, events: Sequence[Event], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An entry for each fault that began or ended, and one for the run; [] for a run that has done nothing."""
    steps = {step.step_id: step for step in plan.steps}
    mine = [event for event in events if event.kind in TOLD and event.subject in steps]
    whole = next((event for event in events if event.kind is Kind.STEADY_STATE_MET), None)
    if not mine and whole is None:
        return []
    found = []
    about = {"run_id": run_id, "scenario_id": plan.scenario_id, "seed": plan.seed}
    for event in mine:
        step = steps[event.subject]
        what = {**about, "fault": step.step_id, "type": step.type, "target": step.target, "at": event.wall_time}
        result = str(event.detail.get("ended_by", "")) if event.kind is Kind.FAULT_ENDED else "injected"
        found.append(_entry(f"{DONE[event.kind]}_fault", step.subject, what, result, f"{run_id}/{event.seq}"))
    times = {
        "started_at": events[0].wall_time,
        "recovered_at": next((event.wall_time for event in events if event.kind is Kind.RECOVERED), None),
        "read_until": events[-1].wall_time,
        # who has the run folder can show that it is the one of which this entry tells
        "timeline_rows": len(events),
        "timeline_head": events[-1].hash,
    }
    cut = any(event.kind is Kind.RUN_ABORTED for event in events)
    told = {**about, **times, "faults": len({event.subject for event in mine}), "control": plan.control, **facts}
    return [*found, _entry("run", plan.scenario_id, told, "cut_short" if cut else "came_to_its_end", f"{run_id}/run")]


def _entry(action: str, resource: str, payload: Mapping[str, Any], result: str, reference: str) -> dict[str, Any]:
    texts = {"action": action, "resource": resource[:200] or "-", "result": result or "-", "reference": reference}
    return {**texts, "payload": dict(payload)}


def log_deeds(
    target: Target,
    folder: Path,
    entries: Sequence[Mapping[str, Any]],
    now_s: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    limit_s: float = LIMIT_S,
    since: Any = 0,
) -> dict[str, Any]:
    """What came of it, for the journal: the actor and what was sent, why it was not written, why not read back.

    What the log holds since the last reading, which began at the cursor *since*, goes to target/audit_after.jsonl.
    """
    route = target.immutable_log
    if route is None:
        return {"absent": NO_ROUTE}
    told: dict[str, Any] = {"actor": route.actor, "route": route.append, "entries": [dict(one) for one in entries]}
    if not entries:
        return {**told, "nothing": "no fault was injected"}
    end_s = now_s() + limit_s
    client = Client(target.base_url, timeout_s=min(limit_s, REQUEST_LIMIT_S), permitted=target.permitted)
    try:
        _write(client, route, entries, end_s, now_s, pause)
        if AUDIT not in target.ledgers:
            return {**told, "unread": f"the manifest has no ledger {AUDIT}"}
        written = _take_down(client, target, folder, end_s, now_s, pause, since)
        return {**told, "added": written}
    except NotWritten as error:
        return {**told, "unwritten": str(error)}
    except (NotRead, OSError) as error:
        return {**told, "unread": str(error)}
    finally:
        client.close()


def _write(
    client: Client,
    route: LogRoute,
    entries: Sequence[Mapping[str, Any]],
    end_s: float,
    now_s: Callable[[], float],
    pause: Callable[[float], None],
) -> None:
    """Each part until it is taken; one that was taken unheard is sent again under its references."""
    for begin in range(0, len(entries), PART):
        body = {"entries": [dict(one) for one in entries[begin : begin + PART]]}
        for left in reversed(range(TRIES)):
            why, wait_s = _sent(client, route, body)
            if not why:
                break
            if not left or now_s() + wait_s >= end_s:
                raise NotWritten(why)
            pause(wait_s)


def _sent(client: Client, route: LogRoute, body: Mapping[str, Any]) -> tuple[str, float]:
    """("" when it was taken, else why not; how long to wait before the next try)."""
    try:
        status, headers, content = client.send(
            "POST", route.append, body, {"Authorization": f"Bearer {route.secret_key}"}
        )
    except (OSError, http.client.HTTPException) as error:
        return f"{route.append}: {error or type(error).__name__}", PAUSE_S
    if 200 <= status < 300:
        return "", 0.0
    said = content[:200].decode(errors="replace")
    after = headers.get("Retry-After") or headers.get("retry-after") or ""
    wait_s = min(RETRY_AFTER_S_MAX, float(after)) if after.isdigit() else PAUSE_S
    return f"{route.append} answers {status}: {said}", wait_s


def _take_down(
    client: Client,
    target: Target,
    folder: Path,
    end_s: float,
    now_s: Callable[[], float],
    pause: Callable[[float], None],
    since: Any,
) -> int:
    """Writes the rows that follow those of the last reading; how many. Raises NotRead, and leaves no file then."""
    before = folder / held_file(AUDIT)
    known = sum(1 for _ in before.open("rb")) if before.exists() else 0
    path = folder / held_file(AFTER)
    part = path.with_suffix(".part")
    number = 0
    try:
        with part.open("w", encoding="utf-8") as file:
            for row in _rows(pages_of(client, AUDIT, target.ledgers[AUDIT], end_s, now_s, pause, since)):
                number += 1
                if number > known:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if number < known:
            raise NotRead(f"it has {number} entries where it had {known}")
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return number - known


def _rows(pages: Iterable[list[dict[str, Any]]]) -> Iterable[dict[str, Any]]:
    for page in pages:
        yield from page
