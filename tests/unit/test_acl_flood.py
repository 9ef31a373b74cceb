"""acl_flood: what the bus would not take is no flood; more than 1 % of it, and the magnitude is missed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import zmq

from faults.acl_flood import AclFlood
from faults.helpers.acl_flooder import Flooder
from faults.helpers.reading import helper_facts
from harness.checks.fault_attained import FaultAttained
from harness.contracts import Helper, ProcessId
from harness.model import Effect, Hold, Kind, Sample, Undo, Verdict
from tests.drafts import healthy

FLOOD = AclFlood(messages_per_second=1000, duration_seconds=10, blocked_actor="mallory")


class Hands:
    """A helper that lives."""

    def alive(self, helper: Helper) -> bool:
        return True


def sample(folder: Path, sent: int, dropped: int, rate: float) -> Sample:
    row = {"at": time.monotonic(), "rate": rate, "sent": sent, "dropped": dropped, "refused": sent - 7}
    (folder / "f.jsonl").write_text(json.dumps(row) + "\n")
    process = ProcessId(pid=7, start_ticks=1, boot_id="b")
    effect = Effect(facts=helper_facts(Helper(process=process, output=folder / "f.jsonl")))
    return FLOOD.sample(None, Undo(), effect, Hands())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sent", "dropped", "hold"),
    [
        (9_500, 500, Hold.LOST),  # 5 %: its rate alone is within the tolerance
        (9_899, 101, Hold.LOST),
        (9_900, 100, Hold.HOLDS),
        (900, 100, Hold.HOLDS),  # a stumble at the start, of 10,000 that are to come
        (1_899, 101, Hold.LOST),  # more than 1 % of all that is to come: it can only stay so
        (29_750, 250, Hold.HOLDS),  # a long way to full strength, and still below 1 % of what was tried
    ],
)
def test_dropped_beyond_one_percent_is_a_magnitude_missed(tmp_path: Path, sent: int, dropped: int, hold: Hold) -> None:
    found = sample(tmp_path, sent, dropped, 950.0)
    assert found.hold is hold and found.achieved == 950.0 >= FLOOD.asked.floor
    told = f"{dropped} messages were dropped" in found.because and f"({sent} sent, {sent - 7} of them refused"
    assert bool(told and told in found.because) == (hold is Hold.LOST)


def test_its_finding_names_what_became_of_the_messages(tmp_path: Path) -> None:
    lost = sample(tmp_path, 9_500, 500, 950.0)
    draft = healthy().change(Kind.FAULT_ENDED, "acl_flood", ended_by="lost", because=lost.because)
    found = FaultAttained(claim="acl_flood reached its rate", step_id="acl_flood").check(draft.record(tmp_path))
    assert found.verdict is Verdict.INCONCLUSIVE
    for word in ("500 messages were dropped", "9500 sent", "9493 of them refused"):
        assert word in found.because


class Full:
    """A socket whose bounded queue takes 19 of 20 messages."""

    def __init__(self) -> None:
        self.calls = 0

    def send(self, data: bytes, flags: int = 0) -> None:
        assert flags == zmq.NOBLOCK, "it never waits"
        self.calls += 1
        if self.calls % 20 == 0:
            raise zmq.Again


def test_the_flooder_counts_what_the_socket_did_not_take() -> None:
    flooder = Flooder({"actor": "mallory"})
    flooder.socket.close()
    flooder.socket = Full()  # type: ignore[assignment]
    for _ in range(1000):
        flooder.attempt("system.control")
    assert (flooder.sent, flooder.dropped) == (950, 50)
    flooder.context.term()
