"""audit_trail_kept: one true entry for each request, in a history that is never rewritten; each clause is seen red."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.model import Finding, Kind, Verdict
from tests.drafts import END
from tests.ledgers import Row
from tests.trails import NEW_FIELDS, OFFERS, PROBED, Trail, found, trail

CHECK = "audit_trail_kept"
Break = Callable[[Trail], Any]
PARTLY = tuple(key for key in OFFERS if key not in ("audit.digest", "audit.every_request"))


def judged(made: Trail, folder: Path) -> Finding:
    return found(CHECK, made.record(folder))


def entry(number: int, **fields: Any) -> Break:
    return lambda made: made.entries[number].update(fields)


def payload(number: int, **fields: Any) -> Break:
    return lambda made: made.entries[number]["payload"].update(fields)


def swap(first: int, second: int) -> Break:
    def work(made: Trail) -> None:
        made.entries[first], made.entries[second] = made.entries[second], made.entries[first]

    return work


def copied(number: int, **fields: Any) -> Break:
    return lambda made: made.entries.append({**made.entries[number], "reference": "copy", **fields})


def unexplained(made: Trail) -> None:
    row = made.turn_down("decision", 7, "refused", "log_unwritable", 503)
    made.entries.pop()
    row["reference"] = ""


def answered_for_another(made: Trail) -> None:
    """An intent that was answered as accepted, under another id, and has no entry."""
    made.row("run-i1").update(outcome="unanswered", status=202, lost=1)
    made.entries.pop(0)


# entries: 0 to 5 intent, retrospective, knowledge twice; 6 to 9 decisions; 10 refused; 11 rejected; 12, 13 probes
def lose(number: int) -> Break:
    return lambda made: made.entries.pop(number)


RED: list[tuple[str, str, Break]] = [
    *(
        (f"entry {number}", "missing_entry", lambda made, n=number: made.entries.pop(n))
        for number in (0, 1, 2, 6, 10, 11)
    ),
    ("answered under another id", "missing_entry", answered_for_another),
    ("an accepted intent twice", "extra_entry", copied(0)),
    ("a refusal twice", "extra_entry", copied(10)),
    ("twice under its reference", "extra_entry", lambda made: made.entries.append(dict(made.entries[0]))),
    ("a digest of nobody", "invented_entry", copied(0, payload={"digest": "0" * 64, "client": "c", "reason": ""})),
    ("no digest", "invented_entry", copied(6, payload={})),
    ("accepted by another", "wrong_actor", entry(0, actor="other")),
    ("a decision by another", "wrong_actor", entry(6, actor="other")),
    ("a retrospective by nobody", "wrong_actor", entry(1, actor="")),
    ("rejected by another", "wrong_actor", entry(11, actor="other")),
    ("accepted", "wrong_action", entry(0, action="reject_intent")),
    ("a decision", "wrong_action", entry(6, action="write")),
    ("refused", "wrong_action", entry(10, action="refuse_knowledge")),
    ("knowledge", "wrong_resource", entry(2, resource="run-k9")),
    ("accepted", "wrong_digest", payload(0, digest="0" * 64)),
    ("rejected", "wrong_digest", payload(11, digest="0" * 64)),
    ("refused", "no_reason", payload(10, reason="")),
    ("rejected", "no_reason", payload(11, reason="")),
    ("rejected for another reason", "wrong_reason", payload(11, reason="body_too_large")),
    ("a refusal as accepted", "wrong_result", entry(10, result="accepted")),
    ("a decision", "wrong_result", entry(6, result="deny")),
    ("intents", "reordered", swap(0, 3)),
    ("decisions", "reordered", swap(6, 9)),
    ("an answer without a reference", "no_reference", lambda made: made.row("run-k1").update(reference="")),
    ("refused for want of a record", "unrecorded_refusal", unexplained),
]


def test_a_trail_that_is_kept_passes(tmp_path: Path) -> None:
    one = judged(trail(), tmp_path)
    assert (one.verdict, one.code, one.missing) == (Verdict.PASS, "audit_trail_kept.shown", ()), one.because
    assert "each of the 2 heads" in one.because and any(place.startswith("timeline:") for place in one.evidence)


@pytest.mark.parametrize(("what", "code", "broken"), RED, ids=[f"{code}: {what}" for what, code, _ in RED])
def test_each_clause_is_red(tmp_path: Path, what: str, code: str, broken: Break) -> None:
    made = trail()
    broken(made)
    made.heads = [(10.0, 0), (20.0, 0)]  # they say nothing of later entries
    one = judged(made, tmp_path)
    assert (one.verdict, one.code) == (Verdict.FAIL, f"audit_trail_kept.{code}"), one.because
    assert one.evidence


def test_a_broken_chain_fails(tmp_path: Path) -> None:
    made = trail()
    folder = tmp_path / "first"
    rows = [dict(row.fields) for row in made.record(folder).held("audit") or ()]
    rows[3]["result"] = "changed"
    other = trail()
    other.held["audit"] = rows
    assert judged(other, tmp_path / "second").code == "audit_trail_kept.entry_changed"


@pytest.mark.parametrize(
    ("heads", "verdict", "code"),
    [
        ([(10.0, 3), (20.0, 9)], Verdict.PASS, "shown"),
        ([(10.0, 3), (20.0, 99)], Verdict.FAIL, "rewritten"),
        ([(10.0, 3), (20.0, 9), (END - 0.2, 99)], Verdict.PASS, "shown"),
        ([(10.0, 3)], Verdict.INCONCLUSIVE, "history_not_seen"),
    ],
)
def test_every_head_that_was_seen_must_be_in_the_final_log(
    tmp_path: Path, heads: list[tuple[float, int]], verdict: Verdict, code: str
) -> None:
    """One that was seen while the log was being read may lie behind its end."""
    made = trail()
    made.heads = heads
    one = judged(made, tmp_path)
    assert (one.verdict, one.code) == (verdict, f"audit_trail_kept.{code}")


def test_a_history_that_was_rewritten_with_new_hashes_fails(tmp_path: Path) -> None:
    made = trail()
    made.heads = [(10.0, 2), (20.0, 9)]
    made.draft.add(11.0, Kind.AUDIT_HEAD, "audit", "audit_head", sequence=5, entry_hash="0" * 64)
    one = judged(made, tmp_path)
    assert one.code == "audit_trail_kept.rewritten" and "entry 5" in one.because


def test_a_head_that_a_fault_had_damaged_proves_nothing(tmp_path: Path) -> None:
    made = trail()
    damage = replace(made.draft.plan.steps[0], type="log_corruption")
    made.draft.plan = replace(made.draft.plan, steps=(damage, *made.draft.plan.steps[1:]))
    made.draft.add(11.0, Kind.AUDIT_HEAD, "audit", "audit_head", sequence=5, entry_hash="0" * 64)
    assert judged(made, tmp_path).verdict is Verdict.PASS


def test_a_long_error_is_compared_as_far_as_it_was_kept(tmp_path: Path) -> None:
    made = trail()
    row = made.turn_down("intent", 7, "rejected", "w" * 150, 422, valid=False, flaw="negative_sla")
    row["error"] = "w" * 100
    assert judged(made, tmp_path).verdict is Verdict.PASS


def looks(made: Trail, *blind: tuple[float, float]) -> None:
    times = (float(second) for second in range(int(END) + 1))
    made.draft.signals += [(t, "audit_head_up", "", float(not any(a <= t <= b for a, b in blind))) for t in times]


def test_a_history_with_a_gap_is_inconclusive(tmp_path: Path) -> None:
    made = trail()
    looks(made, (20.0, 33.0))
    one = judged(made, tmp_path)
    assert (one.verdict, one.code) == (Verdict.INCONCLUSIVE, f"{CHECK}.history_not_seen")


def struck(made: Trail, kind: str, **params: str) -> None:
    """The first fault of the plan is one of another type."""
    first, *others = made.draft.plan.steps
    changed = replace(first, type=kind, subject="disk", target="machine", params=params)
    made.draft.plan = replace(made.draft.plan, steps=(changed, *others))


@pytest.mark.parametrize(
    ("step", "path", "code"),
    [
        ("disk_full", "audit_disk", "shown"),
        ("disk_full", "state", "history_not_seen"),
        ("cpu_spike", "audit_disk", "history_not_seen"),
    ],
)
def test_a_struck_log_excuses_a_gap(tmp_path: Path, step: str, path: str, code: str) -> None:
    made = trail()
    struck(made, step, path=path)
    looks(made, (9.0, 24.0))
    assert judged(made, tmp_path).code == f"{CHECK}.{code}"


@pytest.mark.parametrize(
    ("step", "path", "code"),
    [
        ("disk_full", "audit_disk", "shown"),
        ("disk_full", "immutable_log", "shown"),
        ("disk_full", "state", "unrecorded_refusal"),
        ("cpu_spike", "state", "unrecorded_refusal"),
    ],
)
@pytest.mark.parametrize("guarded", [False, True])
def test_a_full_disk_excuses_refusals_only_where_the_log_is(
    tmp_path: Path, step: str, path: str, code: str, guarded: bool
) -> None:
    made = trail()
    struck(made, step, path=path)
    row = made.turn_down("decision", 60, "refused", "log_unwritable", 503, reference="")
    made.entries.pop()
    row.update(at_s=10.2, begun_s=10.1)
    if guarded:
        about = {"subject": "immutable_log", "incident_id": "guard"}
        made.draft.add(9.0, Kind.SAFEGUARD_ENGAGED, "log_write_guard", "control_plane", **about)
        made.draft.add(14.0, Kind.SAFEGUARD_RELEASED, "log_write_guard", "control_plane", **about)
    one = judged(made, tmp_path)
    assert one.code == f"{CHECK}.{code}", one.because


def test_lost_attempts_give_a_range(tmp_path: Path) -> None:
    """Of an attempt without an answer there may be an entry or not, and no more than one."""
    for extra, verdict in ((0, Verdict.PASS), (1, Verdict.PASS), (2, Verdict.FAIL)):
        made = trail()
        made.row("run-i1").update(lost=1, attempts=2)
        for number in range(extra):
            made.entries.append({**made.entries[0], "reference": f"copy{number}"})
        one = judged(made, tmp_path / str(extra))
        assert one.verdict is verdict, one.because


def test_equal_bytes_are_counted_together(tmp_path: Path) -> None:
    """Two invalid requests with the same body: two entries, whichever is whose."""
    for lacking, verdict in ((0, Verdict.PASS), (1, Verdict.FAIL)):
        made = trail()
        for number in (20, 21):
            changes = {"valid": False, "flaw": "not_an_object", "body": {}}
            made.turn_down("intent", number, "rejected", "invalid_json", 400, **changes)
        for row in (made.sent or ())[-2:]:
            row.update(actor="", resource="")
        for one in made.entries[-2:]:
            one.update(actor="127.0.0.2", resource="")
        if lacking:
            made.entries.pop()
        one = judged(made, tmp_path / str(lacking))
        assert one.verdict is verdict, one.because


def test_each_refusal_of_a_request_has_an_entry(tmp_path: Path) -> None:
    for kept, verdict in ((2, Verdict.PASS), (1, Verdict.FAIL), (3, Verdict.FAIL)):
        made = trail()
        row = made.row("run-i1")
        row.update(refusals={"rate_limited": 2}, attempts=3)
        refusal = {"action": "refuse_intent", "result": "refused", "actor": "127.0.0.2", "resource": ""}
        word = {"digest": row["digest"], "client": "127.0.0.2", "reason": "rate_limited"}
        for number in range(kept):
            made.entries.append({**made.entries[0], **refusal, "payload": word, "reference": f"refusal{number}"})
        one = judged(made, tmp_path / str(kept))
        assert one.verdict is verdict, one.because


def test_what_was_there_before_the_run_was_not_invented(tmp_path: Path) -> None:
    old: Row = {**trail().entries[0], "payload": {"digest": "0" * 64}, "reference": "old"}
    for before, verdict in ((1, Verdict.PASS), (0, Verdict.FAIL)):
        made = trail()
        made.entries.insert(0, old)
        made.ledgers["audit"] = {"rows_before": before}
        assert judged(made, tmp_path / str(before)).verdict is verdict


def test_only_an_exclusive_target_invents(tmp_path: Path) -> None:
    made = trail()
    made.offers = tuple(key for key in OFFERS if key != "exclusive")
    made.entries.append({**made.entries[0], "payload": {"digest": "0" * 64}, "reference": "of somebody else"})
    assert judged(made, tmp_path).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("reference", "verdict", "code"),
    [("run/1", Verdict.PASS, "shown"), ("of/run/1", Verdict.PASS, "shown"), ("run/2", Verdict.FAIL, "invented_entry")],
)
def test_only_what_the_harness_itself_wrote_in_this_run_was_not_invented(
    tmp_path: Path, reference: str, verdict: Verdict, code: str
) -> None:
    made = trail()
    made.entries.append({**made.entries[0], "actor": "auditor", "payload": {}, "reference": reference})
    told = {"actor": "auditor", "began_s": END - 0.05, "entries": [{"reference": "run/1"}]}
    made.draft.add(END - 0.05, Kind.DEEDS_LOGGED, made.draft.plan.scenario_id, "run", **told)
    one = judged(made, tmp_path)
    assert (one.verdict, one.code) == (verdict, f"audit_trail_kept.{code}"), one.because


def test_a_probe_that_asks_while_the_log_is_read_needs_no_entry(tmp_path: Path) -> None:
    for at_s, verdict in ((END - 0.2, Verdict.PASS), (END - 1.0, Verdict.FAIL)):
        made = trail()
        made.ask("decision", 99, user="probe", body=PROBED, id="probe-9", at_s=at_s, begun_s=at_s - 0.01)
        made.entries.pop()
        assert judged(made, tmp_path / str(at_s)).verdict is verdict


def test_an_unrecorded_refusal_without_room_is_excused(tmp_path: Path) -> None:
    made = trail()
    struck(made, "disk_full", path="audit_disk")
    row = made.turn_down("decision", 7, "refused", "log_unwritable", 503)
    made.entries.pop()
    row["reference"] = ""
    made.draft.add(row["at_s"] - 0.5, Kind.SAFEGUARD_ENGAGED, "log_write_guard", "events", subject="immutable_log")
    made.draft.add(row["at_s"] + 1.0, Kind.SAFEGUARD_RELEASED, "log_write_guard", "events", subject="immutable_log")
    assert judged(made, tmp_path).verdict is Verdict.PASS


def test_clients_of_two_processes_are_put_in_order_with_care(tmp_path: Path) -> None:
    made = trail()
    first, second = made.row("run-d1"), made.row("run-d2")
    second["begun_s"] = first["at_s"] + 0.05
    swap(6, 7)(made)
    made.draft.add(9.0, Kind.CLOCK_MEASURED, "worker", "run", error_s=0.02)
    assert judged(made, tmp_path).verdict is Verdict.PASS


def test_a_target_that_promises_less_is_judged_by_its_decisions(tmp_path: Path) -> None:
    made = trail()
    made.offers = PARTLY
    made.entries = [one for one in made.entries if one["subsystem"] == "decision"]
    for one in made.entries:
        one["payload"] = {"note": 1}
    one = judged(made, tmp_path)
    assert one.verdict is Verdict.PASS and one.missing == ("audit.digest", "audit.every_request"), one.because


@pytest.mark.parametrize("part", ["actor", "action", "resource", "result"])
def test_a_changed_decision_fails_also_without_digests(tmp_path: Path, part: str) -> None:
    made = trail()
    made.offers = PARTLY
    made.entries[6][part] = "other"
    assert judged(made, tmp_path).code == f"audit_trail_kept.wrong_{part}"


def test_a_decision_without_an_entry_fails_without_digests(tmp_path: Path) -> None:
    made = trail()
    made.offers, made.heads = PARTLY, [(10.0, 1), (20.0, 2)]
    made.entries.pop(6)
    assert judged(made, tmp_path).code == "audit_trail_kept.missing_entry"


def test_a_log_that_was_not_read_is_inconclusive(tmp_path: Path) -> None:
    record = trail().record(tmp_path)
    (record.folder / "target" / "audit.jsonl").unlink()
    one = found(CHECK, type(record).load(record.folder))
    assert (one.verdict, one.code) == (Verdict.INCONCLUSIVE, "audit_trail_kept.not_read") and one.evidence


def test_clients_that_tell_no_digests_are_inconclusive(tmp_path: Path) -> None:
    made = trail()
    made.sent = [row for row in made.sent or () if row["user"] != "probe"]
    made.offers = tuple(key for key in OFFERS if key != "exclusive")
    for row in made.sent:
        for field in NEW_FIELDS:
            row.pop(field, None)
    assert judged(made, tmp_path).code == "audit_trail_kept.not_told"


def test_a_start_that_nobody_knows_leaves_inventions_open(tmp_path: Path) -> None:
    made = trail()
    made.ledgers = {}
    assert judged(made, tmp_path).code == "audit_trail_kept.start_not_known"
