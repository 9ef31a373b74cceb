"""Asks what a model answers for the same again and again: which model it is that answers, what, and how sure it is."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterable
from typing import ClassVar

from harness.contracts import Question, Target, View
from harness.loopback import Client
from harness.model import Kind, Reading
from harness.observers.events import dig


class ModelFallback:
    """model_confidence, model_first (1: the model that answered at first) and model_label_same (1: it said the same).

    An edge when another model answers. What is no whole answer is no sample of these: model_answered is 0 then.
    """

    every_s: ClassVar[float] = 0.25

    def __init__(self, target: Target, model: str, question: Question) -> None:
        self.model = self.about = model
        self.question = question
        self.client = Client(target.base_url, permitted=target.permitted)
        self.first: tuple[str, str] | None = None  # model, label
        self.now = ""

    @staticmethod
    def missing(target: Target) -> str:
        """What the manifest lacks for this observer; "" for nothing."""
        return "" if any(one.fields for one in target.models.values()) else "models with fields"

    @staticmethod
    def instances(target: Target) -> list[ModelFallback]:
        return [ModelFallback(target, model, one) for model, one in target.models.items() if one.fields]

    def observe(self, view: View) -> Iterable[Reading]:
        answer = self._ask()
        answered = float(answer is not None)
        yield Reading(at_s=view.now_s(), name="model_answered", subject=self.model, value=answered)
        if answer is None:
            return
        at_s, (model, label, confidence) = view.now_s(), answer
        self.first = self.first or (model, label)
        samples = {
            "model_confidence": confidence,
            "model_first": float(model == self.first[0]),
            "model_label_same": float(label == self.first[1]),
        }
        for name, value in samples.items():
            yield Reading(at_s=at_s, name=name, subject=self.model, value=value)
        before, self.now = self.now or model, model
        if model != before:
            detail = {"what": "model_switched", "from": before, "to": model, "label": label, "confidence": confidence}
            yield Reading(at_s=at_s, name="model_fallback", subject=self.model, kind=Kind.SYMPTOM_SEEN, detail=detail)

    def _ask(self) -> tuple[str, str, float] | None:
        """(model, label, confidence); None for what is no such answer."""
        status, body = 0, b""
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _, body = self.client.send(self.question.method, self.question.path, self.question.body)
        if not 200 <= status < 300:
            return None
        with contextlib.suppress(ValueError, RecursionError):
            told = json.loads(body)
            model, label, confidence = (
                dig(told, self.question.fields[one]) for one in ("model", "label", "confidence")
            )
            number = isinstance(confidence, int | float) and not isinstance(confidence, bool)
            if isinstance(model, str) and model and isinstance(label, str) and number:
                return model, label, float(confidence)
        return None

    def close(self) -> None:
        self.client.close()


OBSERVER = ModelFallback
