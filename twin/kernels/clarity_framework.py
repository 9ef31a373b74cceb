"""clarity_framework: measures how easily a text can be read."""

from __future__ import annotations

import re
from typing import Any

from twin.fields import text
from twin.kernel import Kernel
from twin.rpc import KernelError


class ClarityFramework(Kernel):
    name = "clarity_framework"

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "measure":
            raise KernelError(404, "unknown_operation", op=op)
        content = text(payload, "text", 20_000)
        words = re.findall(r"[A-Za-z']+", content)
        sentences = max(1, len(re.findall(r"[.!?]+", content)))
        syllables = sum(max(1, len(re.findall(r"[aeiouy]+", word.lower()))) for word in words)
        count = max(1, len(words))
        # Flesch's reading ease (1948)
        ease = 206.835 - 1.015 * count / sentences - 84.6 * syllables / count
        return {"words": len(words), "sentences": sentences, "reading_ease": round(ease, 1)}


KERNEL = ClarityFramework
