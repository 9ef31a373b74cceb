"""coding_agent: reads Python source and says what is in it and how tangled it is."""

from __future__ import annotations

import ast
from typing import Any

from twin.fields import text
from twin.kernel import Kernel
from twin.rpc import KernelError

BRANCHES = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.BoolOp, ast.IfExp, ast.comprehension)


class CodingAgent(Kernel):
    name = "coding_agent"

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "analyse":
            raise KernelError(404, "unknown_operation", op=op)
        try:
            tree = ast.parse(text(payload, "source", 20_000))
        except (SyntaxError, ValueError, RecursionError) as error:
            raise KernelError(422, "invalid_field", field="source", expected=f"Python source: {error}") from None
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        return {
            "functions": [
                {
                    "name": node.name,
                    "line": node.lineno,
                    "complexity": 1 + sum(isinstance(inner, BRANCHES) for inner in ast.walk(node)),
                }
                for node in functions
            ],
            "classes": [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)],
        }


KERNEL = CodingAgent
