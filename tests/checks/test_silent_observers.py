"""An observer that hangs, or that looks at nothing, without a word: nothing that was not seen is then shown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import gevent
import pytest

from harness import catalog
from harness.checks.signals_complete import SPEAK
from harness.clock import Clock
from harness.contracts import View
from harness.journal import Journal, SignalWriter
from harness.judge import judge
from harness.model import Finding, Kind, Reading, Verdict
from harness.watcher import LOOKED, LOOKED_EVERY_S, Watcher
from tests.drafts import END, KNOWLEDGE, Draft, healthy
from tests.fake_target import FakeView, target

OWN = "somebodys"  # an observer that tells changes alone
HUNG_S = 12.0


def names() -> dict[str, float]:
    """Each observer of the harness, under a name that it has in a run, and how often it looks."""
    abouts = {"routes": f" of {KNOWLEDGE}", "model_answers": " of a.pkl", "model_fallback": " of upstream_model"}
    return {name + abouts.get(name, ""): kind.every_s for name, kind in catalog.observers().items() if name in SPEAK}


def story(paces: dict[str, float]) -> Draft:
    """A healthy run whose observers have all looked once a second."""
    draft = healthy()
    draft.change(Kind.RUN_STARTED, draft.plan.scenario_id, observers=paces)
    draft.signals += [(float(at_s), LOOKED, name, float(name != OWN)) for at_s in range(int(END)) for name in paces]
    return draft


def complete(draft: Draft, folder: Path) -> Finding:
    return next(one for one in judge(draft.record(folder)) if one.check == "signals_complete")


def test_every_observer_of_the_harness_is_known_to_speak() -> None:
    assert set(SPEAK) <= set(catalog.observers()) and len(SPEAK) == 12


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("how", ["hung", "mute", "never"])
def test_an_observer_that_falls_silent_is_named(tmp_path: Path, name: str, how: str) -> None:
    paces = {**names(), OWN: 30.0}
    whole = complete(story(paces), tmp_path / "whole")
    assert whole.verdict is Verdict.PASS, whole
    draft, since_s = story(paces), -1.0 if how == "never" else HUNG_S
    mine = [one for one in draft.signals if one[1:3] == (LOOKED, name) and one[0] > since_s]
    draft.signals = [one for one in draft.signals if one not in mine]
    draft.signals += [(at_s, LOOKED, name, 0.0) for at_s, *_ in mine if how == "mute"]
    found = complete(draft, tmp_path / "silent")
    code = "never_measured" if how == "never" else "silent"
    assert (found.verdict, found.code) == (Verdict.INCONCLUSIVE, f"signals_complete.{code}"), found
    words = "never looked" if how == "never" else "did not look for 24.0 s"
    assert found.because == f"{name} {words}"


def test_one_that_looks_seldom_or_pauses_shortly_is_not_silent(tmp_path: Path) -> None:
    draft = story({**names(), OWN: 8.0})
    seldom = [one for one in draft.signals if one[2] != OWN or not one[0] % 16]
    draft.signals = [one for one in seldom if one[1] != LOOKED or one[2] == OWN or not HUNG_S < one[0] < HUNG_S + 5]
    assert complete(draft, tmp_path).verdict is Verdict.PASS


def test_probes_that_stop_before_the_target_is_read_back_are_not_silent(tmp_path: Path) -> None:
    name = "routes of POST /api/chat"
    for at_s, expected in ((END - 9, Verdict.PASS), (END - 1, Verdict.INCONCLUSIVE)):
        draft = story({name: 1.0})
        draft.signals = [one for one in draft.signals if one[2] != name or one[0] < END - 9]
        draft.add(at_s, Kind.READ_BACK, draft.plan.scenario_id, "run", began_s=at_s)
        assert complete(draft, tmp_path / str(at_s)).verdict is expected


class Looks:
    """Looks as *how* says: it tells something, tells nothing, fails, or never comes back."""

    every_s: ClassVar[float] = 0.05

    def __init__(self, how: str) -> None:
        self.how = self.about = how

    def observe(self, view: View) -> Iterable[Reading]:
        if self.how == "hangs":
            gevent.sleep(60)
        if self.how == "fails":
            raise ConnectionError("nobody there")
        return [Reading(at_s=view.now_s(), name="told", value=1.0)] if self.how == "tells" else []

    def close(self) -> None:
        """Holds nothing."""


class Clocked(FakeView):
    def __init__(self, seen: Any) -> None:
        super().__init__(seen)
        self.clock = Clock()

    def now_s(self) -> float:
        return self.clock.now_s()


@pytest.mark.timeout(30)
def test_the_watcher_writes_what_each_look_has_said(tmp_path: Path) -> None:
    journal, signals = Journal(tmp_path, Clock()), SignalWriter(tmp_path)
    watcher = Watcher(
        [Looks(how) for how in ("tells", "mute", "fails", "hangs")], Clocked(target(tmp_path)), journal, signals
    )
    assert watcher.paces == {f"test_silent_observers of {how}": 0.05 for how in ("tells", "mute", "fails", "hangs")}
    watcher.start()
    gevent.sleep(2.5 * LOOKED_EVERY_S)
    watcher.stop()
    signals.close()
    journal.close()
    rows = [line.split(",") for line in (tmp_path / "signals.csv").read_text().splitlines()]
    said = {
        how: [float(row[3]) for row in rows if row[1:3] == [LOOKED, f"test_silent_observers of {how}"]]
        for how in ("tells", "mute", "fails", "hangs")
    }
    assert said["hangs"] == [] and set(said["mute"]) == {0.0}
    assert len(said["tells"]) == len(said["fails"]) == len(said["mute"]) == 3, "once a second, however often it looks"
    assert min(said["tells"][1:]) > 5 and min(said["fails"][1:]) > 5
