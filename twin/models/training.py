"""What the models are fitted to at the first start: a small set of sentences, and what became of each source's word."""

from __future__ import annotations

from typing import Any

from twin.models import CLASSIFIER, TRUST, classifier, trust

TEXTS = {
    "platform": (
        "The platform is made of kernels that run as processes of their own.",
        "Each kernel of the agent platform has a heartbeat and a route.",
        "The gateway turns a request into a call to a kernel.",
        "Messages travel over the bus from one kernel to another.",
        "Agents are started by the platform and report their progress.",
        "The scheduler of the platform hands intents to its workers.",
    ),
    "operations": (
        "A playbook is started by an incident and says what it has done.",
        "The watchdog restarts a process whose heartbeat has stopped.",
        "When the disk is full, operators free space and restart the service.",
        "An incident is closed when the alert has been quiet for a while.",
        "Deploy the service at night and roll back when an alert comes.",
        "Backups are taken every night and restored in a drill each month.",
    ),
    "security": (
        "A secret key must never be written into a log.",
        "The access list says which actor may publish on which topic.",
        "An actor that attacks is put on the blacklist.",
        "Passwords are hashed, and tokens expire after an hour.",
        "A signed message shows who has sent it; a forged one is refused.",
        "Governance must approve access to the production database.",
    ),
    "planning": (
        "The goal of the quarter is to halve the time of a release.",
        "The next milestone of the plan is due in two weeks.",
        "The budget of the project was approved by the board.",
        "Priorities are agreed in the meeting on Monday.",
        "A task without an owner and a deadline is not a plan.",
        "The team estimates the effort of each story before the sprint.",
    ),
    "data": (
        "The table has a column for each measured value.",
        "Rows with a missing value are dropped before the analysis.",
        "The mean and the median of the sample differ by far.",
        "A schema says the type of each column in the dataset.",
        "The dataset is split into a part to train on and a part to test on.",
        "The query joins two tables and sorts the rows by date.",
    ),
}
# source → (how often its word was confirmed, how often it was not)
CONFIRMED = {"handbook": (58, 0), "runbook": (43, 3), "documentation": (36, 6), "agent": (14, 10), "user": (11, 11)}
# What each model must answer, if it is the one that it should be.
REFERENCE = {
    CLASSIFIER: ("The watchdog restarts a process after an incident.", "operations"),
    TRUST: (trust.Knowledge(1.0, "handbook", 10, 0.0, 1.0), 0.9958),
}


def fitted() -> dict[str, Any]:
    """{file: model}; the same every time."""
    rows = [(category, text) for category, texts in TEXTS.items() for text in texts]
    observed = [(source, n < yes) for source, (yes, no) in CONFIRMED.items() for n in range(yes + no)]
    return {CLASSIFIER: classifier.fit(rows), TRUST: trust.fit(observed)}


def answers_wrongly(name: str, model: Any) -> str:
    """Why *model* is not the one that it should be, from what it answers; "" when it is."""
    question, expected = REFERENCE[name]
    try:
        answer = model.predict(question)[0] if name == CLASSIFIER else model.score(question)
    except Exception as error:  # whatever a wrong object does when it is asked
        return f"asked, it fails: {type(error).__name__}: {error}"
    return "" if answer == expected else f"asked, it says {answer!r} and not {expected!r}"
