"""acl_spam: a number of messages that are not allowed, each with the bus's refusal, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from faults.acl_spam import AclSpam
from harness.catalog import CatalogError, build_fault
from harness.guardian_link import GuardianLink
from harness.model import Hold
from tests.contract.resources import bring
from tests.contract.test_topic_flood import Answer, Broker
from tests.processes import wait_for

SPAM = AclSpam(topic="system.control", messages=60, messages_per_second=200, actor="mallory")


@pytest.fixture
def broker() -> Iterator[Callable[[Answer], Broker]]:
    made: list[Broker] = []

    def make(answer: Answer) -> Broker:
        made.append(Broker(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


def refusing(number: int, message: dict[str, Any]) -> dict[str, Any]:
    return {"op": "refused", "reason": "acl"} if message["topic"] == "system.control" else {"op": "accepted"}


def test_so_many_are_refused_and_then_it_is_done(broker: Callable[[Answer], Broker], link: GuardianLink) -> None:
    bus = broker(refusing)
    force = bring(SPAM, bus, link)
    sample = wait_for(lambda: s if (s := force.sample()).hold is not Hold.HOLDS else None, 10, "its end")
    assert (sample.hold, sample.achieved, SPAM.asked.floor) == (Hold.DONE, 60.0, 60.0)
    assert sum(one["topic"] == "system.control" for one in bus.heard) == 60
    assert {one["topic"] for one in bus.heard} == {"system.control", "telemetry.open"}, "and canaries beside them"
    force.heal_twice()


def test_what_the_bus_takes_was_not_forbidden(broker: Callable[[Answer], Broker], link: GuardianLink) -> None:
    bus = broker(lambda number, message: {"op": "accepted"})
    force = bring(SPAM, bus, link)
    wait_for(lambda: sum(one["topic"] == "system.control" for one in bus.heard) == 60, 10, "all messages")
    assert force.sample().hold is Hold.HOLDS and (force.sample().achieved or 0.0) < SPAM.asked.floor
    force.heal_twice()


def test_a_count_is_not_scaled_and_ends_in_time() -> None:
    assert SPAM.duration_field == "" and SPAM.limit_s == 30.3 == SPAM.attain_limit_s and SPAM.subject == "mallory"
    assert replace(SPAM, messages=200, messages_per_second=20.0).limit_s == 40.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"messages": 1.5}, r"messages: a whole number is expected, not 1\.5"),
        ({"messages": 0}, "messages: above 0 and below"),
        ({"messages": 1, "messages_per_second": 0}, "messages_per_second: above 0 and below"),
        ({"mesages": 5}, "no parameter 'mesages'. Did you mean 'messages'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(values: dict[str, object], words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        build_fault("acl_spam", {"topic": "t", **values})
