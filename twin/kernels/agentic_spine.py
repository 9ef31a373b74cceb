"""agentic_spine: the conversation; has a model say what a message is, and remembers who said what."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from twin.fields import text
from twin.incidents import SCHEMA, Incidents
from twin.kernel import Kernel
from twin.models.conversation import Rules
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable
from twin.safeguards.drift_detector import DriftDetector
from twin.upstream import FALLBACK, MODEL
from twin.upstream.watching import SCHEMA as REFERENCE
from twin.upstream.watching import watch

USERS_MAX = 1000
ASK_LIMIT_S = 0.8  # well below the gateway's own limit: without an answer there is still the fallback


class AgenticSpine(Kernel):
    name = "agentic_spine"

    async def setup(self) -> None:
        self.turns: OrderedDict[str, int] = OrderedDict()
        self.rules = Rules()
        self.leading = MODEL
        if self.config.enabled(DriftDetector.name):
            db = self.open_db("agentic_spine", f"{SCHEMA};{REFERENCE}")
            incidents = Incidents(self, DriftDetector.name, db)
            self.leading = FALLBACK if MODEL in incidents.open else MODEL
            self.spawn(watch(self.config.thresholds, db, incidents, self._upstream))

    async def _upstream(self, message: str) -> tuple[str, float]:
        answer = await self.rpc.call(MODEL, "answer", {"text": message}, ASK_LIMIT_S)
        return str(answer["label"]), float(answer["confidence"])

    async def _say(self, message: str) -> tuple[str, float, str]:
        """(label, confidence, the model that says so). Without an answer from upstream it is the fallback's."""
        if self.leading == MODEL:
            try:
                return *await self._upstream(message), MODEL
            except (KernelTimeout, KernelUnavailable, KernelError):
                pass
        elif "fallback_is_the_old_model" in self.config.defects:
            return *await self._upstream(message), FALLBACK
        return *self.rules.predict(message), FALLBACK

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "fallback":
            if payload["model"] != MODEL:
                raise KernelError(404, "no_such_model", model=payload["model"])
            self.leading = FALLBACK if payload["on"] else MODEL
            return {"model": self.leading}
        if op != "chat":
            raise KernelError(404, "unknown_operation", op=op)
        message, user = text(payload, "message"), text(payload, "user", 100, default="anonymous")
        intent, confidence, model = await self._say(message)
        turn = self.turns[user] = self.turns.pop(user, 0) + 1
        if len(self.turns) > USERS_MAX:
            self.turns.popitem(last=False)
        reply = f"I take that as a {intent}."
        return {"reply": reply, "intent": intent, "turn": turn, "model": model, "confidence": round(confidence, 4)}


KERNEL = AgenticSpine
