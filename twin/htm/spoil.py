"""Planted defects of the intent queue: each strikes an intent that has just been accepted."""

from __future__ import annotations

import hashlib
import json
import uuid

from twin.defects import Defects
from twin.htm.queue import HtmQueue

CANNED = hashlib.sha256(b"done").hexdigest()


def spoil(queue: HtmQueue, defects: Defects, intent_id: str, now: float) -> None:
    """Runs inside the transaction in which *intent_id* was added."""
    if defects.strikes("intent_lost"):
        queue.drop(intent_id)
    if defects.strikes("intent_unfinished"):
        queue.shelve(intent_id)
    if defects.strikes("intents_time_out"):
        while not queue.charge(intent_id, "timeout", now):
            pass
    if defects.strikes("intent_field_changed"):
        _change_goal(queue, intent_id)
    if defects.strikes("intent_invented"):
        _invent(queue, intent_id, now)
    if defects.strikes("result_faked"):
        queue.shelve(intent_id)
        sql = "UPDATE htm SET status = 'completed', completed_at = ?, executions = 1, result = ? WHERE intent_id = ?"
        queue.db.execute(sql, (now, hashlib.sha256(uuid.uuid4().bytes).hexdigest(), intent_id))


def _change_goal(queue: HtmQueue, intent_id: str) -> None:
    row = queue.db.execute("SELECT body FROM htm WHERE intent_id = ?", (intent_id,)).fetchone()
    body = json.loads(row["body"])
    body["goal"] = f"{body.get('goal')}."
    queue.db.execute("UPDATE htm SET body = ? WHERE intent_id = ?", (json.dumps(body, sort_keys=True), intent_id))


def _invent(queue: HtmQueue, intent_id: str, now: float) -> None:
    row = queue.db.execute("SELECT body, priority FROM htm WHERE intent_id = ?", (intent_id,)).fetchone()
    another = uuid.uuid4().hex
    body = json.dumps({**json.loads(row["body"]), "intent_id": another}, sort_keys=True)
    queue.add([(another, row["priority"], body)], now)
