"""voice_conversation: cuts a text into breaths for speech, with how long each takes."""

from __future__ import annotations

import re
from typing import Any

from twin.fields import text
from twin.kernel import Kernel
from twin.rpc import KernelError

WORDS_PER_S = 2.5


class VoiceConversation(Kernel):
    name = "voice_conversation"

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "speak":
            raise KernelError(404, "unknown_operation", op=op)
        breaths = [part.strip() for part in re.split(r"[,.;:!?]", text(payload, "text")) if part.strip()]
        return {
            "segments": [{"text": part, "duration_s": round(len(part.split()) / WORDS_PER_S, 2)} for part in breaths]
        }


KERNEL = VoiceConversation
