"""A setting has the value that is asked for when the run ends, as the harness itself reads it from the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.checks import finding
from harness.model import Finding, Kind, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class ConfigValue:
    """Of the manifest's path `config`. *key* is SECTION.NAME. A file that nobody saw change says nothing."""

    claim: str
    key: str
    value: Any

    def check(self, record: Record) -> Finding:
        rows = [e for e in record.of_kind(Kind.FILE_CHANGED) if e.subject == "config" and "values" in e.detail]
        if not rows:
            return finding(self, Verdict.INCONCLUSIVE, "nobody saw the configuration change, so nobody read it")
        last, values = rows[-1], rows[-1].detail["values"]
        if self.key not in values:
            return finding(self, Verdict.FAIL, f"the configuration has no {self.key} at the end", last)
        found = values[self.key]
        verdict = Verdict.PASS if _same(found, self.value) else Verdict.FAIL
        seen = ", ".join(dict.fromkeys(repr(row.detail["values"].get(self.key)) for row in rows))
        if verdict is Verdict.PASS and all(_same(row.detail["values"].get(self.key), found) for row in rows):
            why = f"nobody saw {self.key} as anything but {found!r}: what is said of it was not tried"
            return finding(self, Verdict.INCONCLUSIVE, why, last)
        return finding(self, verdict, f"{self.key} is {found!r} at the end (it was seen as {seen})", rows[0], last)


def _same(found: Any, wanted: Any) -> bool:
    """true is not 1."""
    return bool(found == wanted and isinstance(found, bool) == isinstance(wanted, bool))


CHECK = ConfigValue
