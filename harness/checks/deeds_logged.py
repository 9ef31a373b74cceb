"""What the harness did stands in the target's immutable log, under its own name, once, and the chain is whole with it.

What it did is what the timeline tells, not only what was sent. It was written after the last reading of the verdict:
what was written before that could have been judged by.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.checks import finding
from harness.checks.audit_complete import chain_problem
from harness.deeds import deeds
from harness.ledger import AUDIT, REFERENCE, HeldRow, Wrongs, not_read
from harness.ledger_start import last_before
from harness.model import Event, Finding, Kind, Verdict
from harness.record import Record

AFTER = "audit_after"
SAMPLED = ("cpu_percent", "loop_lag_ms")  # all the time, for as long as anybody looks
UNDECIDED = {"absent": "", "nothing": "", "unwritten": "not taken: ", "unread": "not read back: "}
TEXTS = ("action", "resource", "result")


@dataclass(frozen=True, kw_only=True)
class DeedsLogged:
    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: cpu_percent, loop_lag_ms",
        "target/audit.jsonl",
        "target/audit_after.jsonl",
        "timeline: deeds_logged, every row, read_back, run_finished",
    )

    def check(self, record: Record) -> Finding:
        event = record.first(Kind.DEEDS_LOGGED)
        if event is None:
            why = "it was not written"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_written")
        if early := _early(record, event):
            why = f"written before the last reading of the verdict: {early}"
            return finding(self, Verdict.INCONCLUSIVE, why, event, code="written_early")
        for key, words in UNDECIDED.items():
            if key in event.detail:
                why = f"{words}{event.detail[key]}"
                return finding(
                    self,
                    Verdict.INCONCLUSIVE,
                    why,
                    event,
                    code="not_read_back"
                    if key == "unread"
                    else "not_taken"
                    if key == "unwritten"
                    else "nothing_written",
                )
        if unsent := _unsent(record, event):
            return finding(self, Verdict.INCONCLUSIVE, unsent, event, code="sent_otherwise")
        before, after = record.held(AUDIT), record.held(AFTER)
        if before is None or after is None:
            return finding(self, Verdict.INCONCLUSIVE, not_read(AUDIT), event, code="not_read")
        wrong = chain_problem([*before, *after], last_before(record.events, AUDIT))
        entries, actor = list(event.detail["entries"]), str(event.detail["actor"])
        _compare(entries, actor, after, wrong)
        if wrong:
            return finding(self, Verdict.FAIL, str(wrong), event, *wrong.cited, code=wrong.codes)
        why = f"{len(entries)} entries of {actor}, each once in a chain of {len(before) + len(after)}"
        return finding(self, Verdict.PASS, why, event)


def _early(record: Record, event: Event) -> str:
    """What was still read when it was written, or had been of it; "" for nothing."""
    read = record.first(Kind.READ_BACK)
    if read is None or read.seq > event.seq:
        return "what the target holds was not yet read back"
    began_s = float(event.detail["began_s"])
    later = [one for one in record.events if one.seq > event.seq and one != record.sealed]
    if later:
        return f"{later[0].kind} of {later[0].subject} was still to come"
    sampled = [name for name in SAMPLED if any(at_s > began_s for at_s, _ in record.signal_times(name))]
    if sampled:
        return f"{sampled[0]} was still sampled"
    sent = [str(one["reference"]) for one in event.detail.get("entries", ())]
    seen = next((row for row in record.held(AUDIT) or () for one in sent if _is(row, one)), None)
    return f"{seen.place} is one of its own" if seen else ""


def _unsent(record: Record, event: Event) -> str:
    """What the timeline tells of faults that began and ended, and was not sent so; "" for nothing."""
    sent = {str(one["reference"]): one for one in event.detail["entries"]}
    run_id = next((reference.rpartition("/")[0] for reference in sent), "")
    known = [one for one in record.events if one.seq < event.seq]
    told = {one["reference"]: one for one in deeds(record.plan, run_id, known, {})}
    wrong = {
        "were not sent": [name for name in told if name not in sent],
        "were sent otherwise": [name for name, one in told.items() if name in sent and not _tells(sent[name], one)],
        "were sent, and are none of it": [name for name in sent if name not in told],
    }
    parts = [f"{len(names)} {words} ({', '.join(names[:3])})" for words, names in wrong.items() if names]
    return f"of {len(told)} deeds that the timeline tells {'; '.join(parts)}" if parts else ""


def _tells(sent: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    """Whether all of *told* was sent; the harness's version and such may be more."""
    payload = sent.get("payload") or {}
    known = all(payload.get(key) == value for key, value in told["payload"].items())
    return known and all(sent.get(key) == told[key] for key in TEXTS)


def _is(row: HeldRow, reference: str) -> bool:
    """A target may put something before the reference that it was given."""
    return row.text(REFERENCE) == reference or row.text(REFERENCE).endswith(f"/{reference}")


def _compare(entries: Sequence[Mapping[str, Any]], actor: str, after: Sequence[HeldRow], wrong: Wrongs) -> None:
    found = {str(one["reference"]): [row for row in after if _is(row, str(one["reference"]))] for one in entries}
    place = after[-1:] or ()
    missing = [name for name, rows in found.items() if not rows]
    if missing:
        wrong.words.append(f"{len(missing)} entries were taken and are not there ({', '.join(missing[:3])})")
        wrong.cited += [row.place for row in place]
        wrong.codes.append("entry_missing")
    wrong.add(
        "entries stand there more than once",
        [(n, rows[1]) for n, rows in found.items() if len(rows) > 1],
        code="entered_twice",
    )
    there = [(one, found[str(one["reference"])][0]) for one in entries if found[str(one["reference"])]]
    strange = [(str(one["reference"]), row) for one, row in there if row.text("actor") != actor]
    wrong.add(f"entries are not of {actor}", strange, code="other_actor")
    others = [(str(one["reference"]), row) for one, row in there if not _same(one, row)]
    wrong.add("entries stand there otherwise", others, code="entry_differs")


def _same(one: Mapping[str, Any], row: HeldRow) -> bool:
    held = row.fields.get("payload")
    try:
        payload = json.loads(held) if isinstance(held, str) else held
    except ValueError:
        payload = None
    return payload == one["payload"] and all(row.text(key) == one[key] for key in TEXTS)


CHECK = DeedsLogged
