"""Payloads: the same seed gives the same bytes, counts are exact, each flaw is the only one, shares are the whole."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locustfiles.attacks import governance, intents, retros
from locustfiles.attacks.payload import Payload, shares
from tests.processes import ROOT

LISTS: dict[str, Callable[..., Iterator[Payload]]] = {
    "intents": lambda seed, **share: intents.generate(seed, 1000, 0.5, **share),
    "governance": lambda seed, **share: governance.generate(seed, 300, **share),
    "retros": lambda seed, **share: retros.generate(seed, 50, **share),
}
TEXTS = {"intent_id": 100, "goal": 2000, "expected_outcome": 2000, "created_by": 100}


def fault_of(data: bytes) -> str:
    """What is wrong with an intent, by the words of its interface; "" for nothing. Knows neither generator nor twin."""
    if len(data) > 16 * 1024:
        return "oversized"
    try:
        body = json.loads(data.decode())
    except ValueError:
        return "broken_json"
    if not isinstance(body, dict):
        return "not_an_object"
    for name, longest in TEXTS.items():
        if not isinstance(body.get(name), str):
            return name
        if not 0 < len(body[name]) <= longest:
            return name
    for name, low, high in (("sla_ms", 1, 86_400_000), ("confidence", 0, 1)):
        value = body.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return name
    words = {"domain": intents.DOMAINS, "risk_level": intents.RISKS, "priority": intents.PRIORITIES}
    for name, known in words.items():
        if isinstance(body.get(name), bool) or body.get(name) not in known:
            return name
    return "" if isinstance(body.get("context"), dict) else "context"


def fingerprint(payloads: Iterator[Payload]) -> str:
    return hashlib.sha256(repr(list(payloads)).encode()).hexdigest()


@pytest.fixture(scope="module")
def flood() -> list[Payload]:
    return list(intents.generate(7, 10_000, 0.5))


@pytest.mark.parametrize("name", LISTS)
def test_the_same_seed_gives_the_same_bytes_also_in_another_process(name: str) -> None:
    mine = fingerprint(LISTS[name](7))
    assert fingerprint(LISTS[name](7)) == mine != fingerprint(LISTS[name](8))
    code = f"from tests.attacks.test_payloads import *; print(fingerprint(LISTS[{name!r}](7)))"
    environment = {"PYTHONHASHSEED": "99", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == mine


def test_exactly_the_asked_share_is_invalid_and_every_flaw_is_there_equally_often(flood: list[Payload]) -> None:
    assert len(flood) == 10_000 and sum(not one.valid for one in flood) == 5000
    counts = Counter(one.flaw for one in flood if not one.valid)
    assert set(counts) == set(intents.FLAWS) and max(counts.values()) - min(counts.values()) <= 1
    assert all(bool(one.flaw) is not one.valid for one in flood)


@given(total=st.integers(0, 700), ratio=st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.5, 2 / 3, 0.9, 1.0]))
@settings(max_examples=40, deadline=None)
def test_the_count_is_exact_for_any_total_and_ratio(total: int, ratio: float) -> None:
    made = list(intents.generate(3, total, ratio))
    assert [one.number for one in made] == list(range(total))
    assert sum(not one.valid for one in made) == math.floor(total * ratio + 0.5)


@pytest.mark.parametrize("ratio", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused_in_words(ratio: float) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        next(intents.generate(1, 10, ratio))


def test_a_valid_one_is_valid_and_an_invalid_one_has_the_fault_that_it_is_named_for(flood: list[Payload]) -> None:
    fields = {"missing_field": intents.NEEDED, "negative_sla": ("sla_ms",)}
    fields["wrong_type"] = tuple(name for name, _ in intents.WRONG_TYPES)
    fields["unknown_enum"] = tuple(name for name, _ in intents.UNKNOWN_WORDS)
    fields["out_of_range"] = tuple(name for name, _ in intents.OUT_OF_RANGE)
    for one in flood:
        found = fault_of(one.body)
        if one.valid or one.flaw == "duplicate_id":
            assert found == "", one
        else:
            assert found in fields.get(one.flaw, (one.flaw,)), one


def test_every_variant_of_a_flaw_is_sent(flood: list[Payload]) -> None:
    sent: dict[str, set[str]] = {}
    for one in flood:
        if one.flaw in ("missing_field", "wrong_type", "unknown_enum", "out_of_range"):
            sent.setdefault(one.flaw, set()).add(fault_of(one.body))
    assert sent["missing_field"] == set(intents.NEEDED)
    for flaw, table in (
        ("wrong_type", intents.WRONG_TYPES),
        ("unknown_enum", intents.UNKNOWN_WORDS),
        ("out_of_range", intents.OUT_OF_RANGE),
    ):
        assert sent[flaw] == {name for name, _ in table}


def test_valid_ones_use_every_word_and_the_sizes_come_near_the_bound(flood: list[Payload]) -> None:
    bodies = [json.loads(one.body) for one in flood if one.valid]
    assert {body["priority"] for body in bodies} == set(intents.PRIORITIES)
    assert {body["domain"] for body in bodies} == set(intents.DOMAINS)
    assert {body["risk_level"] for body in bodies} == set(intents.RISKS)
    assert any(not one.body.isascii() for one in flood if one.valid)
    assert max(len(one.body) for one in flood if one.valid) == intents.BODY_BYTES_MAX // 2
    assert min(len(one.body) for one in flood if one.flaw == "oversized") == intents.BODY_BYTES_MAX + 1


def test_ids_are_unique_but_for_duplicates_which_follow_another_body_of_their_own_share() -> None:
    for index in range(3):
        seen: dict[str, Payload] = {}
        duplicates = 0
        for one in intents.generate(7, 2000, 0.5, tag="run", index=index, of=3):
            if one.flaw == "duplicate_id":
                duplicates += 1
                original = seen[one.id]
                assert one.after == one.id and original.valid and original.number < one.number
                assert json.loads(one.body)["intent_id"] == one.id and one.body != original.body
                continue
            assert one.id not in seen and one.id.startswith("run-") and not one.after
            seen[one.id] = one
        assert duplicates > 30


@given(
    total=st.integers(0, 500), of=st.integers(1, 7), block=st.sampled_from([1, 20]), name=st.sampled_from(sorted(LISTS))
)
@settings(max_examples=60, deadline=None)
def test_all_shares_together_are_exactly_the_whole(total: int, of: int, block: int, name: str) -> None:
    parts = [[n for numbers in shares(total, index, of, block) for n in numbers] for index in range(of)]
    assert sorted(n for part in parts for n in part) == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= block


@pytest.mark.parametrize("name", LISTS)
def test_a_payload_is_the_same_in_whatever_share_it_is_sent(name: str) -> None:
    whole = list(LISTS[name](7))
    split = [one for index in range(3) for one in LISTS[name](7, index=index, of=3)]
    assert sorted(split, key=lambda one: one.number) == whole


@pytest.mark.parametrize(("index", "of"), [(2, 2), (-1, 2), (0, 0)])
def test_a_share_of_nobody_is_refused(index: int, of: int) -> None:
    with pytest.raises(ValueError, match="is none"):
        list(shares(10, index, of))


def test_ten_thousand_cost_little_and_come_one_by_one() -> None:
    started = time.process_time()
    source = intents.generate(11, 10_000, 0.5)
    next(source)
    first = time.process_time() - started
    assert sum(1 for _ in source) == 9999
    assert time.process_time() - started < 2.0
    assert first < 0.5, "the whole list was made before its first"


def test_questions_repeat_and_the_main_one_is_half_of_them() -> None:
    asked = Counter(one.question for one in governance.generate(7, 1000))
    main = "chaos_tester|critical_operation|production_database"
    assert 400 < asked[main] < 600 and len(asked) > 15
    assert all(count > 1 for count in asked.values()), "a question that comes once shows nothing of consistency"


def test_a_scenario_may_ask_another_question_and_send_more_along() -> None:
    made = list(governance.generate(7, 50, {"actor": "me", "resource": "lamp", "urgent": True}))
    bodies = [json.loads(one.body) for one in made]
    assert {body["action"] for body in bodies if body["actor"] == "me"} == {"critical_operation"}
    assert any(one.question == "me|critical_operation|lamp" for one in made)
    assert all(body["payload"]["urgent"] is True and body["payload"]["request"] for body in bodies)
    for one, body in zip(made, bodies, strict=True):
        assert one.question == "|".join(body[key] for key in ("actor", "action", "resource"))
    assert len({one.body for one in made}) == 50


def test_retrospectives_have_ids_of_their_own_and_events_that_recur() -> None:
    made = list(retros.generate(7, 100))
    bodies: list[dict[str, Any]] = [json.loads(one.body) for one in made]
    assert [body["retro_id"] for body in bodies] == [one.id for one in made] and len({one.id for one in made}) == 100
    counts = [len(body["events"]) for body in bodies]
    assert retros.EVENTS_MIN <= min(counts) < 60 and 340 < max(counts) <= retros.EVENTS_MAX
    assert all(len(set(body["events"])) < len(body["events"]) for body in bodies)
