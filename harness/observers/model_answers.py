"""Asks each model of the target the same thing again and again: whether it still answers what it did at first."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterable
from typing import ClassVar

from harness.contracts import Question, Target, View
from harness.loopback import Client
from harness.model import Kind, Reading


class ModelAnswers:
    """model_answered (1: a 2xx) and model_answers_same (1: what it said at first) of one model; edges of the latter."""

    every_s: ClassVar[float] = 0.5

    def __init__(self, target: Target, model: str, question: Question) -> None:
        self.model = self.about = model
        self.question = question
        self.client = Client(target.base_url, permitted=target.permitted)
        self.first: bytes | None = None
        self.same = True

    @staticmethod
    def missing(target: Target) -> str:
        """What the manifest lacks for this observer; "" for nothing."""
        return "" if any(not one.fields for one in target.models.values()) else "models"

    @staticmethod
    def instances(target: Target) -> list[ModelAnswers]:
        return [ModelAnswers(target, model, one) for model, one in target.models.items() if not one.fields]

    def observe(self, view: View) -> Iterable[Reading]:
        status, body = 0, b""
        with contextlib.suppress(OSError, http.client.HTTPException):  # no answer is another answer
            status, _, body = self.client.send(self.question.method, self.question.path, self.question.body)
        answered = 200 <= status < 300
        if self.first is None and answered:
            self.first = body
        same, at_s = answered and body == self.first, view.now_s()
        yield Reading(at_s=at_s, name="model_answered", subject=self.model, value=float(answered))
        yield Reading(at_s=at_s, name="model_answers_same", subject=self.model, value=float(same))
        if same != self.same:
            self.same = same
            said = body[:200].decode(errors="replace")
            detail = {"what": "model_answer_back" if same else "model_answer_changed", "status": status, "said": said}
            yield Reading(at_s=at_s, name="model_answers", subject=self.model, kind=Kind.SYMPTOM_SEEN, detail=detail)

    def close(self) -> None:
        self.client.close()


OBSERVER = ModelAnswers
