"""agentic_spine: the conversation; finds what a message wants and remembers who said what."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

from twin.fields import text
from twin.kernel import Kernel
from twin.rpc import KernelError

INTENTS = {
    "greeting": r"\b(hello|hi|hey)\b",
    "question": r"\?|\b(what|why|how|when|who)\b",
    "request": r"\b(please|run|make|create|do)\b",
}
USERS_MAX = 1000


class AgenticSpine(Kernel):
    name = "agentic_spine"

    async def setup(self) -> None:
        self.turns: OrderedDict[str, int] = OrderedDict()

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "chat":
            raise KernelError(404, "unknown_operation", op=op)
        message, user = text(payload, "message"), text(payload, "user", 100, default="anonymous")
        intent = next((name for name, shape in INTENTS.items() if re.search(shape, message, re.I)), "statement")
        turn = self.turns[user] = self.turns.pop(user, 0) + 1
        if len(self.turns) > USERS_MAX:
            self.turns.popitem(last=False)
        return {"reply": f"I take that as a {intent}.", "intent": intent, "turn": turn}


KERNEL = AgenticSpine
