"""A setting has the value that is asked for when the run ends, as the harness reads it, and not by its own doing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.checks import FILES, finding, lost
from harness.mendings import damaged
from harness.model import Event, Finding, Kind, Verdict
from harness.primitives.restore_file import OP as RESTORE_FILE
from harness.record import FaultRecord, Record

GIVEN_BACK = "restored"  # what this harness says of a file that it gave back itself


@dataclass(frozen=True, kw_only=True)
class ConfigValue:
    """Of the manifest's path `config`. *key* is SECTION.NAME. A file that nobody saw change says nothing.

    Who made the value what it is again: the harness heals a fault whose time is up, and gives the file back. A value
    that came back only then is not the target's doing.
    """

    observers: ClassVar[tuple[str, ...]] = (FILES,)

    claim: str
    key: str
    value: Any
    sources: ClassVar[tuple[str, ...]] = (
        "timeline: fault_ended, fault_healed, fault_injected, fault_planned, file_changed, run_started",
        "timeline: signal_back, signal_lost",
    )

    def check(self, record: Record) -> Finding:
        rows = [e for e in record.of_kind(Kind.FILE_CHANGED) if e.subject == "config" and "values" in e.detail]
        if not rows:
            why = "nobody saw the configuration change, so nobody read it"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="change_not_seen")
        last, values = rows[-1], rows[-1].detail["values"]
        if blind := lost(record, FILES):
            why = "nobody looked at the configuration to the end"
            return finding(self, Verdict.INCONCLUSIVE, why, last, blind, code="not_looked")
        if self.key not in values:
            why = f"the configuration has no {self.key} at the end"
            return finding(self, Verdict.FAIL, why, last, code="key_missing")
        found = values[self.key]
        seen = ", ".join(dict.fromkeys(repr(row.detail["values"].get(self.key)) for row in rows))
        told = f"{self.key} is {found!r} at the end (it was seen as {seen})"
        if not _same(found, self.value):
            return finding(self, Verdict.FAIL, told, rows[0], last, code="other_value")
        back = _back(rows, self.key, found)
        if back is None:
            why = f"nobody saw {self.key} as anything but {found!r}: what is said of it was not tried"
            return finding(self, Verdict.INCONCLUSIVE, why, last, code="never_otherwise")
        return self._by_whom(record, back, told)

    def _by_whom(self, record: Record, back: Event, told: str) -> Finding:
        """Who gave the value back, with the row that shows it."""
        faults = damaged(record, "config_corruption", "config")
        if not any(fault.injected for fault in faults):
            why = f"{told}; no fault of this plan damages the configuration, so it was not tried"
            return finding(self, Verdict.INCONCLUSIVE, why, back, code="no_such_fault")
        for fault in faults:
            if fault.ended is None or fault.healed is None:
                why = f"{told}; {fault.step.step_id} did not come to its end, so who did it is not known"
                return finding(self, Verdict.INCONCLUSIVE, why, fault.planned, back, code="fault_not_ended")
            if _gave_back(fault) and back.at_s >= fault.ended.at_s:
                why = f"{told}, and it was this harness that gave the file back when {fault.step.step_id} had ended"
                verdict = Verdict.FAIL if fault.ended_by == "plan" else Verdict.INCONCLUSIVE
                return finding(self, verdict, why, fault.ended, fault.healed, back, code="given_back_by_harness")
        ends = [fault.ended for fault in faults]
        return finding(self, Verdict.PASS, f"{told}, by the target's doing", *ends, back)


def _back(rows: Sequence[Event], key: str, value: Any) -> Event | None:
    """The row since which it has had this value to the end; None when it was never seen otherwise before."""
    others = [n for n, row in enumerate(rows) if not _same(row.detail["values"].get(key), value)]
    return rows[others[-1] + 1] if others else None


def _gave_back(fault: FaultRecord) -> bool:
    """Whether the harness healed it by giving a file back; also when its heal does not say what it did."""
    done = fault.healed.detail.get("primitives") if fault.healed else None
    files = [one for one in done or () if one.get("op") == RESTORE_FILE]
    return fault.ended_by != "target" if not files else any(one.get("did") == GIVEN_BACK for one in files)


def _same(found: Any, wanted: Any) -> bool:
    """true is not 1."""
    return bool(found == wanted and isinstance(found, bool) == isinstance(wanted, bool))


CHECK = ConfigValue
