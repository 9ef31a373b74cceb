"""api_flood and api_spam: what they ask the load generator for, when they are done, and what they refuse."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from harness import catalog
from harness.catalog import CatalogError, build_fault
from harness.contracts import TargetError, TargetLacks, Told
from harness.loopback import PROBE_ADDRESS
from harness.model import Effect, Hold, Undo
from tests.processes import ROOT

ROUTES = (SimpleNamespace(name="POST /api/htm/intents"), SimpleNamespace(name="POST /x"))
TARGET: Any = SimpleNamespace(routes=ROUTES, base_url="http://127.0.0.1:8000", permitted=())
V6: Any = SimpleNamespace(
    routes=ROUTES, base_url="http://[::1]:8000", permitted=()
)  # as a host elsewhere: not of 127/8
FLOOD = {"endpoint": "/api/htm/intents", "total_requests": 100, "invalid_ratio": 0.5, "duration_seconds": 9}


class Hands:
    """A load generator that says what it is told to say."""

    def __init__(self, told: Told) -> None:
        self.told, self.order = told, {}

    def open_gate(self, params: dict[str, Any]) -> None:
        self.order = params

    def traffic(self) -> Told:
        return self.told


def sample(told: Told) -> Any:
    fault = build_fault("api_flood", FLOOD)
    hands: Any = Hands(told)
    return fault.sample(TARGET, Undo(), Effect(), hands)


def test_it_is_attained_when_all_is_sent_and_done_when_all_is_settled() -> None:
    fault = build_fault("api_flood", FLOOD)
    assert (fault.asked.floor, fault.limit_s, fault.subject) == (100.0, 9, "127.0.0.10")
    some = sample(Told(total=100, sent=40, settled=10))
    assert (some.achieved, some.hold) == (40.0, Hold.HOLDS)
    assert sample(Told(total=100, sent=100, settled=99)).hold is Hold.HOLDS
    assert sample(Told(total=100, sent=100, settled=100)).hold is Hold.DONE
    assert sample(Told()).hold is Hold.HOLDS, "a generator that has not begun is not done"


def test_a_generator_in_trouble_loses_it() -> None:
    lost = sample(Told(total=100, sent=100, settled=100, problem="worker x was lost"))
    assert (lost.hold, lost.because) == (Hold.LOST, "worker x was lost")


def test_an_attack_that_never_left_the_machine_is_lost_and_never_attained() -> None:
    refused = {"refused": 98, "no free port": 2}
    lost = sample(Told(total=100, sent=0, settled=100, given_up=100, unreached=refused))
    assert (lost.achieved, lost.hold) == (None, Hold.LOST)
    assert lost.because == "nothing reached the target: 98 x refused, 2 x no free port"
    trying = sample(Told(total=100, sent=0, settled=99, given_up=99, unreached={"refused": 99}))
    assert (trying.achieved, trying.hold) == (0.0, Hold.HOLDS), "the target may come back yet"


def test_what_is_given_up_is_told_apart_from_what_is_answered() -> None:
    some = sample(Told(total=100, sent=100, answered=90, settled=100, given_up=30))
    assert some.hold is Hold.DONE
    assert some.because == "70 of 100 requests have their last answer, 30 were given up"
    none = sample(Told(total=100, sent=100, settled=100, given_up=100))
    assert (none.achieved, none.hold) == (100.0, Hold.DONE), "a target that takes all and never answers was attacked"
    assert none.because == "0 of 100 requests have their last answer, 100 were given up"


def test_each_client_has_an_address_of_its_own_and_none_is_the_legitimate_one() -> None:
    hands: Any = Hands(Told())
    build_fault("api_flood", {**FLOOD, "clients": 3}).inject(TARGET, Undo(), hands)
    assert hands.order["addresses"] == ["127.0.0.10", "127.0.0.11", "127.0.0.12"]
    build_fault("api_flood", {**FLOOD, "clients": 2, "client_block": 7}).inject(TARGET, Undo(), hands)
    assert hands.order["addresses"] == ["127.0.7.10", "127.0.7.11"], "each block has addresses of its own"
    users = (ROOT / "locustfiles" / "users" / "legitimate.py").read_text()  # importing it would patch this process
    (legitimate,) = re.findall(r'^LEGITIMATE_ADDRESS = "(.+)"', users, re.MULTILINE)
    assert not {legitimate, PROBE_ADDRESS} & set(hands.order["addresses"])


@pytest.mark.parametrize("kind", ["api_flood", "api_spam"])
def test_whether_clients_are_impatient_is_told_to_the_load_generator(kind: str) -> None:
    values: dict[str, Any] = {"api_flood": FLOOD, "api_spam": {"endpoint": "/x", "count": 3}}[kind]
    for impatient in (False, True):
        hands: Any = Hands(Told())
        build_fault(kind, {**values, "impatient": impatient}).inject(TARGET, Undo(), hands)
        assert hands.order["impatient"] is impatient


@pytest.mark.parametrize("kind", ["api_flood", "api_spam"])
def test_where_there_are_no_addresses_to_choose_from_it_sends_from_the_one_that_there_is(kind: str) -> None:
    """A limiter of a host elsewhere names the address that this machine has towards it; 127.0.0.10 can't be bound."""
    values: dict[str, Any] = {"api_flood": FLOOD, "api_spam": {"endpoint": "/x", "count": 3}}[kind]
    fault = build_fault(kind, values)
    assert (fault.subject_on(TARGET), fault.subject_on(V6)) == ("127.0.0.10", "::1")
    hands: Any = Hands(Told())
    effect = fault.inject(V6, Undo(), hands)
    assert hands.order["addresses"] == [] and effect.facts["from"] == ["::1"]
    assert fault.prepare(V6).primitives == ()


def test_many_clients_towards_a_host_elsewhere_are_lacking_in_words() -> None:
    fault = build_fault("api_flood", {**FLOOD, "clients": 3})
    fault.prepare(TARGET)
    with pytest.raises(TargetLacks, match=r"3 clients need addresses of their own, and towards ::1 there is only ::1"):
        fault.prepare(V6)


def test_nobody_is_asked_for_the_way_to_a_host_that_is_off_limits() -> None:
    fault = build_fault("api_flood", FLOOD)
    elsewhere: Any = SimpleNamespace(routes=ROUTES, base_url="http://192.0.2.1:80", permitted=())
    with pytest.raises(TargetError, match="nobody has authorised it"):
        fault.subject_on(elsewhere)


def test_a_ratio_of_nothing_may_be_written_out() -> None:
    assert build_fault("api_flood", {**FLOOD, "invalid_ratio": 0}).invalid_ratio == 0
    with pytest.raises(CatalogError, match="above 0"):
        build_fault("api_flood", {**FLOOD, "total_requests": 0})


def test_spam_takes_its_number_under_both_of_its_names() -> None:
    for name in ("count", "requests"):
        spam = build_fault("api_spam", {"endpoint": "/x", name: 100, "component": "meta_loop"})
        assert spam.asked.value == 100.0
    hands: Any = Hands(Told())
    spam.inject(TARGET, Undo(), hands)
    assert (hands.order["total_requests"], hands.order["concurrency"]) == (100, 100)


def test_a_route_that_the_target_does_not_have_is_no_error_of_the_scenario() -> None:
    with pytest.raises(TargetLacks, match="no route 'POST /nowhere'"):
        build_fault("api_flood", {**FLOOD, "endpoint": "/nowhere"}).prepare(TARGET)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"invalid_ratio": 1.5}, "api_flood.invalid_ratio: from 0 to 1"),
        ({"clients": 51}, "api_flood.clients: at most 50"),
        ({"arrivals": "poison"}, "Did you mean 'poisson'?"),
        ({"arrivals": "constant"}, "api_flood.arrivals: constant and poisson go with requests_per_second"),
        ({"requests_per_second": 10}, "api_flood.arrivals: constant and poisson go with requests_per_second"),
        ({"total_requests": 10.5}, "api_flood.total_requests: a whole number"),
        ({"client_block": 256}, "api_flood.client_block: a whole number from 1 to 255"),
        ({"client_block": 0.5}, "api_flood.client_block: a whole number from 1 to 255"),
        ({"impatient": "very"}, "api_flood.impatient: true or false is expected"),
        (
            {"impatient": True, "arrivals": "constant", "requests_per_second": 9},
            "api_flood.impatient: goes with a closed",
        ),
        ({"total_request": 10}, "Did you mean 'total_requests'?"),
    ],
)
def test_what_cannot_be_is_said(more: dict[str, Any], words: str) -> None:
    with pytest.raises(CatalogError) as told:
        build_fault("api_flood", {**FLOOD, **more})
    assert words in str(told.value)


def test_spam_without_a_number_is_refused() -> None:
    with pytest.raises(CatalogError, match="either count or requests"):
        build_fault("api_spam", {"endpoint": "/x"})


def test_what_lives_in_the_generator_has_nothing_to_undo() -> None:
    kinds = {name: kind for name, kind in catalog.faults().items() if getattr(kind, "of_generator", False)}
    assert set(kinds) == {"api_flood", "api_spam"}
    assert build_fault("api_flood", FLOOD).prepare(TARGET).primitives == ()
