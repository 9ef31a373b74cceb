"""How the conversation watches the model upstream: it asks it, beside what clients ask, and goes by what is told."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import Awaitable, Callable

from twin.config import Thresholds
from twin.incidents import Incidents
from twin.models.conversation import PROBES
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable
from twin.safeguards.drift_detector import DriftDetector, Output
from twin.upstream import MODEL

AGAIN_AFTER_S = 0.2
SCHEMA = "CREATE TABLE IF NOT EXISTS reference (model TEXT PRIMARY KEY, outputs TEXT);"
Ask = Callable[[str], Awaitable[tuple[str, float]]]  # raises what a call raises


async def watch(thresholds: Thresholds, db: sqlite3.Connection, incidents: Incidents, ask: Ask) -> None:
    """Never ends. An answer that does not come is no drift: it says nothing of how the model answers."""
    draw = random.Random()
    reference = await _reference(thresholds, db, ask)
    detector = await asyncio.to_thread(DriftDetector, thresholds, reference, draw)  # its limits take a moment
    detector.engaged = MODEL in incidents.open  # before a restart
    while True:
        await asyncio.sleep(1 / thresholds.drift_probes_per_s)
        answer = await _answer(ask, draw.choice(PROBES))
        change = detector.take(*answer) if answer is not None else None
        if change is None:
            continue
        if change.engaged:
            await incidents.engage(MODEL, detector.playbook, change.reason, change.details)
        else:
            incidents.release(MODEL, change.reason, change.details)


async def _reference(thresholds: Thresholds, db: sqlite3.Connection, ask: Ask) -> list[Output]:
    """How the model answered when it was taken into use: kept, so that no later start learns what has drifted."""
    row = db.execute("SELECT outputs FROM reference WHERE model = ?", (MODEL,)).fetchone()
    if row is not None:
        return [(question, label, confidence) for question, label, confidence in json.loads(row["outputs"])]
    found: list[Output] = []
    while len(found) < thresholds.drift_reference:
        answer = await _answer(ask, PROBES[len(found) % len(PROBES)])
        if answer is None:
            await asyncio.sleep(AGAIN_AFTER_S)
        else:
            found.append(answer)
    db.execute("INSERT INTO reference VALUES (?, ?)", (MODEL, json.dumps(found)))
    return found


async def _answer(ask: Ask, question: str) -> Output | None:
    try:
        return question, *await ask(question)
    except (KernelTimeout, KernelUnavailable, KernelError):
        return None
