"""sandbox: works out arithmetic that a stranger wrote, and nothing else."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from twin.fields import text
from twin.kernel import Kernel
from twin.rpc import KernelError

OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
LARGEST = 1e15


def evaluate(node: ast.AST) -> float:
    """The value of an arithmetic expression. Raises ValueError for all that is not one, or is too large."""
    if isinstance(node, ast.Expression):
        return evaluate(node.body)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        value = float(node.value) if isinstance(node.value, bool) else node.value
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        value = OPERATORS[type(node.op)](evaluate(node.left), evaluate(node.right))
    elif isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        value = OPERATORS[type(node.op)](evaluate(node.operand))
    else:
        raise ValueError(f"{type(node).__name__} is not arithmetic")
    if abs(value) > LARGEST:
        raise ValueError("too large")
    return value


class Sandbox(Kernel):
    name = "sandbox"

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "evaluate":
            raise KernelError(404, "unknown_operation", op=op)
        try:
            return {"value": evaluate(ast.parse(text(payload, "expression", 500), mode="eval"))}
        except (ValueError, SyntaxError, ZeroDivisionError, RecursionError) as error:
            raise KernelError(422, "invalid_field", field="expression", expected=f"arithmetic: {error}") from None


KERNEL = Sandbox
