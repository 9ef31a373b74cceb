"""A metric of the run compares with a number as the scenario says."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from harness.checks import finding
from harness.metrics import MEASURED, METRICS, PERCENTILES, REQUESTS_MIN, SOURCES
from harness.model import Finding, Setup, Verdict
from harness.record import Record

OPERATORS = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}


ACL_VIOLATIONS = "message_bus.acl_violations"


@dataclass(frozen=True, kw_only=True)
class Metric:
    claim: str
    metric: str
    op: str
    number: float

    @property
    def observers(self) -> tuple[str, ...]:
        return () if self.metric in MEASURED else ("counters",)

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        rises = self.op in (">", ">=", "==") and self.number > 0
        if self.metric != ACL_VIOLATIONS or not rises or any("acl" in step.type for step in setup.steps):
            return ""
        return f"no fault of the scenario violates the bus's access rules: {setup.types}"

    @property
    def sources(self) -> tuple[str, ...]:
        """Those of its metric."""
        return SOURCES[self.metric]

    def check(self, record: Record) -> Finding:
        found = METRICS[self.metric](record)
        if found is None:
            of = f" on at least {REQUESTS_MIN} requests" if self.metric in PERCENTILES else ""
            why = f"{self.metric} was not measured{of}"
            return finding(
                self,
                Verdict.INCONCLUSIVE,
                why,
                record.looked("timeline"),
                record.looked("signals.csv"),
                code="not_measured",
            )
        value, evidence = found
        held = OPERATORS[self.op](value, self.number)
        verdict = Verdict.PASS if held else Verdict.FAIL
        return finding(self, verdict, f"{self.metric} is {value:.6g}", *evidence, code="out_of_bounds")


CHECK = Metric
