"""A log that cannot be written: who was refused, who was told when to come again, and who was taken all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.model import Kind, Verdict
from tests.drafts import END, INJECTED
from tests.ledgers import LEGITIMATE, World, sent

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
GUARD, PLAYBOOK, SUBJECT = "log_write_guard", "refuse_unrecorded", "immutable_log"
ENGAGED, RELEASED = INJECTED + 2.0, INJECTED + 12.0
Change = Callable[[World], Any]


def ask(identity: str, at_s: float, outcome: str = "accepted", status: int = 200, kind: str = "decision") -> Any:
    return sent(kind, identity, LEGITIMATE, at_s=at_s, outcome=outcome, status=status)


def story() -> World:
    """Ten decisions, four of them while the log cannot be written, and an intent before it."""
    made = World()
    step, *_ = made.draft.plan.steps
    made.draft.plan = replace(made.draft.plan, coverage={step.step_id: ((GUARD, PLAYBOOK),)})
    same = {"subject": SUBJECT, "incident_id": "log"}
    made.draft.add(ENGAGED, Kind.SAFEGUARD_ENGAGED, GUARD, "control_plane", **same)
    made.draft.add(ENGAGED, Kind.PLAYBOOK_STARTED, PLAYBOOK, "control_plane", **same)
    made.draft.add(ENGAGED + 0.1, Kind.PLAYBOOK_FINISHED, PLAYBOOK, "control_plane", outcome="succeeded", **same)
    made.draft.add(RELEASED, Kind.SAFEGUARD_RELEASED, GUARD, "control_plane", **same)
    made.sent = [
        *(ask(f"early-{n}", INJECTED + n / 4) for n in range(4)),
        ask("own", ENGAGED - 0.3, "refused", 503),
        *(ask(f"late-{n}", ENGAGED + 1.5 + n, "refused", 503) for n in range(4)),
        ask("under-way", RELEASED - 0.1),
        ask("i", ENGAGED + 0.5, kind="intent"),
    ]
    return made


def same(world: World) -> None:
    """As it goes well."""


def also(*arguments: Any, **more: Any) -> Change:
    def act(world: World) -> None:
        assert world.sent is not None
        world.sent.append(ask("more", *arguments, **more))

    return act


def not_refused(world: World) -> None:
    world.sent = [one for one in world.sent or [] if one["outcome"] != "refused"]


def unheard(world: World) -> None:
    world.draft.drop(Kind.SAFEGUARD_ENGAGED, GUARD)


def never_released(world: World) -> None:
    world.draft.drop(Kind.SAFEGUARD_RELEASED, GUARD)
    world.sent = [one for one in world.sent or [] if one["id"] != "under-way"]
    also(END - 3.0, "refused", 503)(world)


def playbook_failed(world: World) -> None:
    """What was not brought about cannot be held against who asked; playbook_ran says so."""
    world.draft.change(Kind.PLAYBOOK_FINISHED, PLAYBOOK, outcome="failed")
    also(ENGAGED + 3.0)(world)


def no_ledger(world: World) -> None:
    world.sent = None


def not_injected(world: World) -> None:
    world.draft.drop(Kind.FAULT_INJECTED)


REFUSED: list[tuple[Change, Verdict, str]] = [
    (same, PASS, "5 of 10 decisions were refused with a time to come again"),
    (never_released, PASS, "6 of 10 decisions"),
    (playbook_failed, PASS, "5 of 11 decisions"),
    (also(ENGAGED + 3.0, "refused", 429), PASS, "5 of 11 decisions"),  # for another reason, and no matter of ours
    (also(ENGAGED + 3.0), FAIL, "1 requests were taken although nothing could be recorded (more: 200)"),
    (also(ENGAGED + 3.0, kind="intent"), FAIL, "1 requests were taken although nothing could be recorded"),
    (also(ENGAGED + 3.0, "unanswered", 500), FAIL, "1 decisions ended in an error that does not say when"),
    (also(ENGAGED + 8.0, "unanswered", 0), FAIL, "1 decisions got no answer at all while nothing could be recorded"),
    (also(ENGAGED + 3.0, "unanswered", 0), PASS, "5 of 11 decisions"),  # who had asked before
    (also(ENGAGED - 1.2, "refused", 503), FAIL, "1 decisions were refused while the log could be written"),
    (also(RELEASED + 1.2, "refused", 503), FAIL, "1 decisions were refused while the log could be written"),
    (not_refused, FAIL, "no client was refused while it was engaged"),
    (unheard, FAIL, "log_write_guard never engaged, nothing was refused"),
    (no_ledger, UNSURE, "no ledger"),
    (not_injected, UNSURE, "no fault was injected"),
]
CASES = [("refused_unrecorded", *one) for one in REFUSED]


@pytest.mark.parametrize(("check", "act", "verdict", "words"), CASES)
def test_what_it_says(tmp_path: Path, check: str, act: Change, verdict: Verdict, words: str) -> None:
    world = story()
    act(world)
    found = catalog.checks()[check](claim="x", playbook=PLAYBOOK).check(world.record(tmp_path))
    assert (found.verdict, words in found.because) == (verdict, True), found.because
    assert found.evidence or verdict is UNSURE or "never engaged" in found.because
