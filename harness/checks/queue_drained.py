"""The target's queues came back to nothing: no work is open in what it holds, and the depth that it told ended at 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import early, finding
from harness.ledger import HELD_IN, KEPT, OVER, Wrongs, not_read, span
from harness.model import Finding, Verdict
from harness.record import Record

WORK = tuple(one for one in HELD_IN.values() if one[0] not in KEPT)  # what is only kept waits in no queue
DEPTH = "htm_queue_depth"


@dataclass(frozen=True, kw_only=True)
class QueueDrained:
    """Whoever sent it: work that is left over by others keeps a queue from being empty as well. Only what the
    harness's own probes asked for, which the ledger names one by one, does not count.

    A depth that was not told to the end leaves open what came after it, and where nothing ever was, nothing drained.
    """

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "signals.csv: htm_queue_depth",
        "target/intents.jsonl",
        "target/retrospectives.jsonl",
    )

    def check(self, record: Record) -> Finding:
        wrong, unread = Wrongs(), ""
        probed = {row.id for row in record.probes}
        told: list[str] = []
        cited: list[str] = []
        for name, field in WORK:
            held = record.held(name)
            if held is None:
                unread = unread or not_read(name)
                continue
            open_ones = [
                (f"{row.text(field)}: {row.text('status')}", row)
                for row in held
                if row.text("status") not in OVER and row.text(field) not in probed
            ]
            wrong.add(f"of {len(held)} {name} are still open", open_ones, code="work_open")
            told.append(f"{len(held)} {name}, none of them open")
            cited += span(held)
        series = record.signals(DEPTH)
        depth = series.rows
        if depth:
            peak_s, peak, peak_line = max(depth, key=lambda row: row[1])
            busy = max((n for n, row in enumerate(depth) if row[1]), default=-1)
            if busy == len(depth) - 1 and not wrong and (stale := early(record, series)):
                why = f"the depth of the queue was {depth[-1][1]:.0f}, and {stale}"
                return finding(
                    self, Verdict.INCONCLUSIVE, why, *cited, f"signals.csv:{depth[-1][2]}", code="depth_told_early"
                )
            if busy == len(depth) - 1:  # a queue that was empty once, and fills again, has not drained
                words = (
                    f"the depth of the queue was {peak:.0f} at {peak_s:.1f} s and {depth[-1][1]:.0f} at its last sample"
                )
                why = "; ".join([*wrong.words, words])
                return finding(
                    self, Verdict.FAIL, why, *wrong.cited, f"signals.csv:{depth[-1][2]}", code="depth_not_zero"
                )
            back = depth[busy + 1]
            told.append(f"the depth was {peak:.0f} at most and back at 0 at {back[0]:.1f} s")
            cited += [f"signals.csv:{peak_line}", f"signals.csv:{back[2]}"]
        if wrong:
            return finding(self, Verdict.FAIL, str(wrong), *wrong.cited, code=wrong.codes)
        if not unread and depth and (stale := early(record, series)):
            unread = f"the depth of the queue {stale}"
        worked = any(record.held(name) for name, _ in WORK) or any(waiting for _, waiting, _ in depth)
        if not unread and not worked:
            unread = "no work was ever in the queues"
        if unread:
            return finding(
                self, Verdict.INCONCLUSIVE, unread, *cited, record.looked("signals.csv"), code="not_read_or_idle"
            )
        return finding(self, Verdict.PASS, "; ".join(told), *cited)


CHECK = QueueDrained
