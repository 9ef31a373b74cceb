"""Stop conditions: when a run does more harm than it may, all faults are taken back and the load stops.

A condition reads `EXPRESSION` or `EXPRESSION for Ns`, over the live values of NAMES, such as
`failure_percent > 50 for 5s` or `cpu_percent > 99 and latency_p95_ms > 2000 for 10s`. Only legitimate traffic
counts: what an attack meets is the target's business.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simpleeval import SimpleEval

from harness.catalog import nearest

NAMES = {
    "failure_percent": "legitimate requests that failed, of those of the last 5 s",
    "requests_per_s": "legitimate requests answered, over the last 5 s",
    "latency_p95_ms": "of legitimate requests, over the last 5 s",
    "latency_p99_ms": "of legitimate requests, over the last 5 s",
    "cpu_percent": "of the machine",
    "memory_percent": "of the machine",
    "disk_busy_percent": "of the busiest device",
    "free_memory_mb": "that programs can still have",
    "free_disk_mb": "where the run folder is",
    "kernels_down": "kernels without a running process",
    "faults_in_force": "faults that are injected and not ended",
}
WINDOW_S = 5.0
FORM = re.compile(r"^(?P<expression>.+?)(?:\s+for\s+(?P<seconds>\d+(?:\.\d+)?)\s*s)?$")
LENGTH_MAX = 300
ALLOWED = (
    *(ast.Expression, ast.Compare, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Name, ast.Constant, ast.Load),
    *(ast.And, ast.Or, ast.Not, ast.USub, ast.Add, ast.Sub, ast.Mult, ast.Div),
    *(ast.Gt, ast.GtE, ast.Lt, ast.LtE, ast.Eq, ast.NotEq),
)


class StopError(Exception):
    """A stop condition that cannot be evaluated; the text says why, what is known and what is nearest."""


@dataclass(frozen=True, kw_only=True)
class StopCondition:
    """*expression* must hold without a break for *for_s* seconds."""

    text: str
    expression: str
    for_s: float

    @property
    def names(self) -> set[str]:
        nodes = ast.walk(ast.parse(self.expression, mode="eval"))
        return {node.id for node in nodes if isinstance(node, ast.Name)}

    def holds(self, values: Mapping[str, float | None]) -> bool:
        """False as long as a value that it names is not known."""
        known = {name: value for name in self.names if (value := values.get(name)) is not None}
        if len(known) < len(self.names):
            return False
        try:
            return bool(SimpleEval(names=known, functions={}).eval(self.expression))
        except ZeroDivisionError:
            return False


def parse_stop(text: str) -> StopCondition:
    """Raises StopError for what is no comparison of the known names."""
    match = FORM.match(text.strip())
    if match is None or len(text) > LENGTH_MAX:
        raise StopError(f"{text[:60]!r}: `EXPRESSION` or `EXPRESSION for Ns` is expected")
    expression = match["expression"].strip()
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise StopError(f"{expression!r} is not an expression") from None
    for node in ast.walk(tree):
        if not isinstance(node, ALLOWED):
            raise StopError(f"{expression!r}: {type(node).__name__} is not allowed; comparisons, and, or, not are")
        if isinstance(node, ast.Name) and node.id not in NAMES:
            raise StopError(f"no live value is called {node.id!r}.{nearest(node.id, NAMES)}")
        if isinstance(node, ast.Constant) and (isinstance(node.value, bool) or not isinstance(node.value, int | float)):
            raise StopError(f"{expression!r}: a number is expected, not {node.value!r}")
    if not isinstance(tree.body, ast.Compare | ast.BoolOp) and not (
        isinstance(tree.body, ast.UnaryOp) and isinstance(tree.body.op, ast.Not)
    ):
        raise StopError(f"{expression!r} compares nothing")
    if not any(isinstance(node, ast.Name) for node in ast.walk(tree)):
        raise StopError(f"{expression!r} names no live value.{nearest('', NAMES)}")
    return StopCondition(text=text.strip(), expression=expression, for_s=float(match["seconds"] or 0.0))


class StopWatch:
    """tick(now_s, values) → the first condition that has held for long enough, in words; "" for none."""

    def __init__(self, conditions: Sequence[StopCondition]) -> None:
        self.conditions = conditions
        self._since: dict[str, float] = {}

    def tick(self, now_s: float, values: Mapping[str, float | None]) -> str:
        for one in self.conditions:
            if not one.holds(values):
                self._since.pop(one.text, None)
                continue
            if now_s - self._since.setdefault(one.text, now_s) >= one.for_s:
                told = ", ".join(f"{name} {values[name]:g}" for name in sorted(one.names))
                return f"stop condition {one.text!r} ({told})"
        return ""
