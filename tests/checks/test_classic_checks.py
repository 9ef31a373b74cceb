"""The original suite's own checks: a kernel's state and heartbeat, and a setting, at the end of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.model import Kind, Magnitude, Verdict
from tests.drafts import BASELINE, END, INJECTED, RECOVERED, Draft, healthy

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
Change = Callable[[Draft], Any]
STATE = {"kernel": "librarian", "state": "running"}
HEART = {"kernel": "librarian"}
KEY = "governance.approval_required"
VALUE = {"key": KEY, "value": True}
DRIFT = "config_corruption"


def story() -> Draft:
    """The librarian is looked at twice a second, and a setting is changed by a fault and restored by the target."""
    draft = healthy()
    asked = Magnitude(name="corrupted", value=1.0, unit="files", tolerance=0.0)
    step = replace(draft.plan.steps[0], step_id=DRIFT, type=DRIFT, target="config", subject="config", asked=asked)
    draft.plan = replace(draft.plan, steps=(*draft.plan.steps, step))
    draft.add(BASELINE + 0.02, Kind.FAULT_PLANNED, DRIFT, "conductor", type=DRIFT)
    draft.add(INJECTED - 0.05, Kind.FAULT_INJECTED, DRIFT, "conductor", files=[{"path": "/t/grace.yaml"}])
    draft.add(INJECTED + 1.25, Kind.FAULT_ENDED, DRIFT, "conductor", ended_by="target", because="it is whole again")
    draft.add(INJECTED + 1.3, Kind.FAULT_HEALED, DRIFT, "conductor", verified=True, primitives=did("as it was"))
    for half in range(int(END * 2)):
        draft.signals += [(half / 2, "kernel_heartbeat_age_s", "librarian", 0.4)]
        draft.signals += [(half / 2, "kernel_pid", "librarian", 77.0)]
    for at_s, value in ((INJECTED, False), (INJECTED + 1.2, True)):
        config(at_s, {KEY: value, "governance.deny_from": 0.85})(draft)
    return draft


def config(at_s: float, values: dict[str, Any] | None) -> Change:
    detail = {"path": "/t/grace.yaml", "from": "a", "sha256": "b", "bytes": 9}
    detail |= {} if values is None else {"values": values}
    return lambda draft: draft.add(at_s, Kind.FILE_CHANGED, "config", "file_hashes", **detail)


def state(to: str, at_s: float = RECOVERED, source: str = "control_plane") -> Change:
    about = {"what": "state", "from": "running", "to": to}
    return lambda draft: draft.add(at_s, Kind.KERNEL_CHANGED, "librarian", source, **about)


def signal(name: str, value: float, since_s: float) -> Change:
    def act(draft: Draft) -> None:
        draft.signals = [
            (a, n, s, value if (n, s) == (name, "librarian") and a >= since_s else v) for a, n, s, v in draft.signals
        ]

    return act


def until(name: str, end_s: float) -> Change:
    """Nobody has told of it after *end_s*."""

    def act(draft: Draft) -> None:
        draft.signals = [one for one in draft.signals if one[1:3] != (name, "librarian") or one[0] <= end_s]

    return act


def did(*words: str) -> list[dict[str, Any]]:
    """What the harness says of how it healed a damaged file."""
    return [{"op": "kill_marked", "did": "killed 0"}, *({"op": "restore_file", "did": one} for one in words)]


def given_back(ended_by: str, *words: str) -> Change:
    """The fault ended just before the value came back, and the harness healed it so."""

    def act(draft: Draft) -> None:
        draft.change(Kind.FAULT_ENDED, DRIFT, at_s=INJECTED + 1.1, ended_by=ended_by)
        draft.change(Kind.FAULT_HEALED, DRIFT, at_s=INJECTED + 1.15, primitives=did(*words))

    return act


def never_ended(draft: Draft) -> None:
    draft.drop(Kind.FAULT_ENDED, DRIFT)


def by_nobody(draft: Draft) -> None:
    """The setting changed, and no fault of the plan did it."""
    draft.plan = replace(draft.plan, steps=draft.plan.steps[:-1])


def unlooked(observer: str) -> Change:
    return lambda draft: draft.add(RECOVERED, Kind.SIGNAL_LOST, observer, "watcher", error="silence")


def both(*changes: Change) -> Change:
    return lambda draft: [change(draft) for change in changes]


def unread(draft: Draft) -> None:
    draft.drop(Kind.FILE_CHANGED, "config")


def same(draft: Draft) -> None:
    """As it goes well."""


CASES: list[tuple[str, Change, Verdict, dict[str, Any], str]] = [
    ("kernel_state", same, PASS, STATE, "librarian is running at the end"),
    ("kernel_state", both(state("restarting", 10.0), state("running", 12.0)), PASS, STATE, "is running"),
    ("kernel_state", state("restarting"), FAIL, STATE, "librarian is restarting at the end"),
    ("kernel_state", state("T", source="processes"), FAIL, STATE, "/proc shows that it stands still"),
    ("kernel_state", both(*(state(to, source="processes") for to in ("T", "running"))), PASS, STATE, "is running"),
    ("kernel_state", state("paused"), PASS, {**STATE, "state": "paused"}, "librarian is paused"),
    ("kernel_state", same, FAIL, {**STATE, "state": "paused"}, "librarian is running"),
    ("kernel_state", signal("kernel_pid", 0.0, RECOVERED), FAIL, STATE, "/proc shows no process"),
    ("kernel_state", until("kernel_pid", -1.0), UNSURE, STATE, "/proc shows no process"),
    ("kernel_state", until("kernel_heartbeat_age_s", INJECTED), UNSURE, STATE, "nobody told of librarian"),
    # told of after the faults, and no more at the end
    (
        "kernel_state",
        until("kernel_heartbeat_age_s", 29.0),
        UNSURE,
        STATE,
        "librarian was last told 7 s before the end",
    ),
    ("kernel_state", state("unlisted"), FAIL, STATE, "and librarian is not among them"),
    ("kernel_state", both(state("unlisted"), until("kernel_heartbeat_age_s", 29.0)), FAIL, STATE, "not among them"),
    ("kernel_state", both(state("unlisted", 12.0), state("running", 14.0)), PASS, STATE, "is running at the end"),
    ("kernel_state", unlooked("processes"), UNSURE, STATE, "nobody looked at /proc to the end"),
    ("heartbeat_fresh", until("kernel_heartbeat_age_s", 29.0), UNSURE, HEART, "was last told 7 s before the end"),
    ("heartbeat_fresh", both(state("unlisted"), until("kernel_heartbeat_age_s", 29.0)), FAIL, HEART, "not of that of"),
    ("heartbeat_fresh", both(state("unlisted", 12.0), state("running", 14.0)), PASS, HEART, "at most 0.4 s old"),
    ("heartbeat_fresh", same, PASS, HEART, "at most 0.4 s old"),
    ("heartbeat_fresh", signal("kernel_heartbeat_age_s", 9.0, END - 1.5), FAIL, HEART, "at most 9.0 s old"),
    ("heartbeat_fresh", until("kernel_heartbeat_age_s", INJECTED), UNSURE, HEART, "nobody told of the heartbeat"),
    ("config_value", same, PASS, VALUE, "is True at the end (it was seen as False, True)"),
    ("config_value", config(END - 2, {KEY: False}), FAIL, VALUE, "is False at the end"),
    ("config_value", config(END - 2, {KEY: 1}), FAIL, VALUE, "is 1 at the end"),
    ("config_value", config(END - 2, {}), FAIL, VALUE, "has no governance.approval_required"),
    ("config_value", same, UNSURE, {"key": "governance.deny_from", "value": 0.85}, "as anything but 0.85"),
    # who made it what it is again
    ("config_value", same, PASS, VALUE, "by the target's doing"),
    ("config_value", given_back("plan", "restored"), FAIL, VALUE, "it was this harness that gave the file back"),
    ("config_value", given_back("plan"), FAIL, VALUE, "it was this harness that gave the file back"),
    ("config_value", given_back("lost", "restored"), UNSURE, VALUE, "it was this harness that gave the file back"),
    ("config_value", given_back("plan", "changed, by the target: left alone"), PASS, VALUE, "by the target's doing"),
    ("config_value", never_ended, UNSURE, VALUE, "so who did it is not known"),
    ("config_value", by_nobody, UNSURE, VALUE, "no fault of this plan damages the configuration"),
    ("config_value", unlooked("file_hashes"), UNSURE, VALUE, "nobody looked at the configuration to the end"),
    ("config_value", unread, UNSURE, VALUE, "nobody saw the configuration change"),
    ("config_value", both(unread, config(END - 2, None)), UNSURE, VALUE, "nobody read it"),
]


@pytest.mark.parametrize(("check", "change", "expected", "args", "words"), CASES)
def test_check(tmp_path: Path, check: str, change: Change, expected: Verdict, args: dict[str, Any], words: str) -> None:
    draft = story()
    change(draft)
    finding = catalog.checks()[check](claim=check, **args).check(draft.record(tmp_path))
    assert (finding.verdict, words in finding.because) == (expected, True), finding
    assert finding.evidence or expected is UNSURE
