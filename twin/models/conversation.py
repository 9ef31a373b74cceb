"""What a message is: the model upstream is fitted to these, and the rules that stand in for it are measured by them."""

from __future__ import annotations

import re

from twin.models import classifier

# Beginnings and ends: each beginning with each end was said. Most of what people say is a statement, so that is what a
# message without a known word is taken for.
PARTS = {
    "greeting": (
        ("hello", "hey", "good morning", "good evening", "greetings", "hello again"),
        ("there", "everybody", "team", "everyone", "friends", "from the other team"),
    ),
    "question": (
        ("what is", "why was", "how many are", "when will there be", "who has approved", "which one was", "where is"),
        ("the status of the kernel", "the service in the night", "the intents in the queue", "the release", "the rule"),
    ),
    "request": (
        ("please restart", "please create", "run", "make", "create", "please send", "please show"),
        ("the service", "a report of the incident", "a backup of the table", "the list of tasks", "the analysis"),
    ),
    "statement": (
        *(("the release", "our service", "the queue", "the disk", "the board", "nobody", "the report", "this kernel"),),
        (
            *("went well for the whole team", "was slow during the morning", "has been empty since the restart"),
            *("was nearly full again", "agrees with the plan", "has seen the alert", "needs less memory than before"),
            *("is in force since monday", "leads nowhere", "is shorter than last week", "takes four minutes"),
            *("was sent to the people in charge", "has a missing value", "is two days old", "is well and busy"),
        ),
    ),
}
SAID = {label: tuple(f"{begin} {end}" for begin in begins for end in ends) for label, (begins, ends) in PARTS.items()}
# What the model is asked beside the conversation, to see how it answers: like what is said, and none of it.
PROBES = (
    *("hello my friends", "good evening to the team", "hey, good morning", "hello from the night shift"),
    *("greetings to everybody", "good morning again", "hey, anybody there", "hello other team"),
    *("what is in the queue", "why is the disk full", "how does the rule work", "who has seen the report"),
    *("when was the backup made", "which service was slow", "where is the list", "how many workers are busy"),
    *("please send the report", "run the backup of the disk", "create a list of incidents", "make a new table"),
    *("please restart the kernel", "create a task for the team", "run the new analysis", "please show the plan"),
    *("the disk is full again", "our team was busy during the week", "the report has a missing page"),
    *("the workers are slow since monday", "the plan is two weeks old", "nobody has seen the new rule"),
    *("the table was nearly empty", "there is less memory than before"),
)
RULES = (
    ("greeting", r"\b(hello|hey|hi|greetings|good (morning|evening))\b"),
    ("question", r"\?|\b(what|why|how|when|who|which|where)\b"),
    ("request", r"\b(please|run|make|create)\b"),
)
OTHERWISE = "statement"


def fitted() -> classifier.NaiveBayes:
    return classifier.fit([(label, text) for label, texts in SAID.items() for text in texts])


class Rules:
    """The stand-in: the first rule that fits. As sure as it was right so far (by Laplace's rule)."""

    def __init__(self) -> None:
        self._rules = [(label, re.compile(shape, re.IGNORECASE)) for label, shape in RULES]
        told = [(self._label(text), label) for label, texts in SAID.items() for text in texts]
        self._sure = {
            said: (1 + sum(one == right for one, right in told if one == said))
            / (2 + sum(one == said for one, _ in told))
            for said in SAID
        }

    def _label(self, text: str) -> str:
        return next((label for label, shape in self._rules if shape.search(text)), OTHERWISE)

    def predict(self, text: str) -> tuple[str, float]:
        label = self._label(text)
        return label, self._sure[label]
