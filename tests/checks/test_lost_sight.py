"""What nobody saw is nobody's failing: an observer that was lost, a series that was cut, a client who never asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.model import Kind, Verdict
from harness.traffic import RequestRow
from tests import drafts
from tests.checks import test_drift_checks as drift
from tests.checks import test_file_checks as files
from tests.checks import test_playbook_spans as spans
from tests.checks import test_refused as refused
from tests.checks.test_blind_checks import check, colours, lose, silent_guards, until
from tests.drafts import END, INJECTED, KNOWLEDGE, RECOVERED, Draft, healthy
from tests.ledgers import World, world

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    "check", ["safeguard_engaged", "playbook_ran", "each_fault_detected", "load_shed", "actor_cut_off"]
)
def test_what_the_target_may_have_told_unheard_is_not_red(tmp_path: Path, check: str) -> None:
    for name, change, expected in (
        ("lost", lose("events"), UNSURE),
        ("back", lose("events", back_s=9.0), FAIL),
        ("another", lose("routes of GET /x"), FAIL),
        ("heard", lambda draft: None, FAIL),
    ):
        draft = healthy()
        silent_guards(draft)
        change(draft)
        verdict, because = colours(tmp_path / name, draft, check)
        assert (verdict, "events was lost at 8.0 s" in because) == (expected, expected is UNSURE), because


def test_a_new_process_that_nobody_looked_for_is_not_missing(tmp_path: Path) -> None:
    for name, at_s, expected in (("seen", None, FAIL), ("lost", 8.0, UNSURE)):
        draft = healthy().drop(Kind.KERNEL_CHANGED, "memory_fusion")
        if at_s is not None:
            lose("processes", at_s)(draft)
        assert colours(tmp_path / name, draft, "restarted")[0] is expected


def test_one_of_several_of_a_kind_that_is_lost_is_lost(tmp_path: Path) -> None:
    draft = healthy()
    silent_guards(draft)
    lose("events of the one")(draft)
    lose("events of the other", back_s=9.0)(draft)
    assert colours(tmp_path, draft, "safeguard_engaged")[0] is UNSURE


def test_an_alert_that_may_have_been_raised_unheard_is_not_missing(tmp_path: Path) -> None:
    for name, change, expected in (("heard", drift.same, FAIL), ("lost", lose("events"), UNSURE)):
        draft = drift.story()
        drift.silent(draft)
        change(draft)
        assert check("alerts_raised", draft.record(tmp_path / name)).verdict is expected


def alone_and_lost(draft: Draft) -> None:
    """Two playbooks seem to be in force together, for nobody saw the one released."""
    spans.one_after_the_other(draft)
    draft.drop(Kind.SAFEGUARD_RELEASED, "acl_violation_monitor")
    lose("events", 12.0)(draft)


@pytest.mark.parametrize("seen", [True, False])
def test_playbooks_that_nobody_saw_ended_are_not_together(tmp_path: Path, seen: bool) -> None:
    draft = spans.story("playbooks_concurrent")
    (spans.one_after_the_other if seen else alone_and_lost)(draft)
    assert colours(tmp_path, draft, "playbooks_concurrent")[0] is (FAIL if seen else UNSURE)


@pytest.mark.parametrize("name", ["load_shed", "answered_stale", "refused_unrecorded"])
def test_work_that_was_put_off_while_nobody_heard_the_safeguard_is_not_put_off_for_nothing(
    tmp_path: Path, name: str
) -> None:
    """What clients were told is known, and whether anything was engaged then is not."""
    for lost, expected in ((False, FAIL), (True, UNSURE)):
        if name == "refused_unrecorded":
            made = refused.story()
            refused.also(refused.RELEASED + 5, "refused", 503)(made)
            draft = made.draft
        else:
            made, draft = World(sent=None), spans.story(name) if name == "answered_stale" else healthy()
            rows = [("shed", 503, 28.0), ("stale", 200, 28.0)]
            draft.requests += [RequestRow(at_s, "legitimate", KNOWLEDGE, *one, 2, ((3, 2),)) for *one, at_s in rows]
            made.draft = draft
        if lost:
            lose("events", RECOVERED - 4)(draft)
        args = {"load_shed": "resource_pressure_cpu", "answered_stale": spans.BYPASS}
        playbook = args.get(name, refused.PLAYBOOK)
        assert check(name, made.record(tmp_path / str(lost)), playbook=playbook).verdict is expected


@pytest.mark.parametrize("name", ["load_shed", "answered_stale", "refused_unrecorded"])
def test_that_nobody_asked_while_it_was_engaged_shows_nothing(tmp_path: Path, name: str) -> None:
    if name == "refused_unrecorded":
        made, playbook = refused.story(), refused.PLAYBOOK
        made.sent = [row for row in made.sent or [] if row["id"].startswith("early-0")]
    else:
        made, playbook = World(sent=None), "resource_pressure_cpu" if name == "load_shed" else spans.BYPASS
        made.draft = spans.story(name) if name == "answered_stale" else healthy()
        made.draft.requests = [row for row in made.draft.requests if row.at_s < INJECTED]
    found = check(name, made.record(tmp_path), playbook=playbook)
    assert found.verdict is UNSURE and ("no client had any answer" in found.because or "nobody asked" in found.because)


def test_a_route_that_nobody_asked_for_long_may_have_answered_earlier(tmp_path: Path) -> None:
    args = {"kernel": "memory_fusion", "within_s": 5.0}
    for name, since_s, expected in (("asked", 19.0, FAIL), ("unasked", 20.0, UNSURE)):
        draft = healthy()
        draft.signals = [row for row in draft.signals if row[1] != "route_up" or not drafts.RESTARTED < row[0] < 20]
        draft.signals += [
            (since_s, "route_up", KNOWLEDGE, float(expected is UNSURE)),
            (20.5, "route_up", KNOWLEDGE, 1.0),
        ]
        found = check("restarted", draft.record(tmp_path / name), **args)
        assert (found.verdict, "nobody had asked for so long" in found.because) == (expected, expected is UNSURE)


@pytest.mark.parametrize("name", ["models_restored", "config_restored", "snapshot_regenerated"])
def test_a_file_that_nobody_looked_at_any_more_is_not_known_to_be_whole(tmp_path: Path, name: str) -> None:
    draft = files.story()
    lose("file_hashes", RECOVERED)(draft)
    found = check(name, draft.record(tmp_path))
    assert found.verdict is UNSURE and "nobody looked at " in found.because


def test_a_queue_that_was_not_told_of_any_more_may_have_drained(tmp_path: Path) -> None:
    for name, end_s, expected in (("cut", 10.0, UNSURE), ("full", END, FAIL)):
        made = world()
        made.draft.hold("htm_queue_depth", 7.0)
        if expected is UNSURE:
            until("htm_queue_depth", end_s)(made.draft)
        assert check("queue_drained", made.record(tmp_path / name)).verdict is expected


def test_a_model_that_nobody_asked_again_may_have_come_back(tmp_path: Path) -> None:
    draft = drift.story()
    drift.set_to("model_first", 0.0, drift.BACK)(draft)
    assert check("fallback_model_activated", draft.record(tmp_path / "asked")).verdict is FAIL
    for name in ("model_first", "model_confidence", "model_label_same"):
        until(name, drift.ENDED + 4)(draft)
    assert check("fallback_model_activated", draft.record(tmp_path / "unasked")).verdict is UNSURE
    draft = files.story()
    for at_s in (7.0, 12.0):
        draft.signals = [row for row in draft.signals if row[1] != "model_answers_same" or not at_s < row[0] < at_s + 9]
    found = check("models_restored", draft.record(tmp_path / "file"))
    assert found.verdict is UNSURE and "nobody asked a.pkl in the 5 s" in found.because
