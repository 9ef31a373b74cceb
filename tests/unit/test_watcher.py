"""The watcher: samples and edges, and of several observers of a kind the one that is lost stays lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gevent
import pytest

from harness.clock import Clock
from harness.contracts import View
from harness.journal import Journal, SignalWriter
from harness.model import Kind, Reading
from harness.watcher import Watcher
from tests.fake_target import FakeView, target

pytestmark = pytest.mark.timeout(30)


@dataclass
class Probe:
    """One of several; *lost* hears nothing."""

    about: str
    lost: bool = False
    looks: int = 0
    every_s: ClassVar[float] = 0.01

    def observe(self, view: View) -> Iterable[Reading]:
        self.looks += 1
        if self.lost:
            raise ConnectionError("nobody there")
        yield Reading(at_s=view.now_s(), name="route_up", subject=self.about, value=1.0)

    def close(self) -> None:
        """Holds nothing."""


@dataclass
class Alone:
    """The only one of its kind."""

    answers: list[bool] = field(default_factory=lambda: [True, False, False, True, True])
    every_s: ClassVar[float] = 0.01

    def observe(self, view: View) -> Iterable[Reading]:
        if self.answers and not self.answers.pop(0):
            raise ConnectionError("nobody there")
        yield Reading(at_s=view.now_s(), name="alone", value=1.0)

    def close(self) -> None:
        """Holds nothing."""


def watched(folder: Path, observers: list[Any], until: object) -> list[tuple[str, str]]:
    """(kind, subject) of the edges that were journalled until *until*() was true."""
    journal, signals = Journal(folder, Clock()), SignalWriter(folder)
    watcher = Watcher(observers, FakeView(target(folder)), journal, signals)
    watcher.start()
    with gevent.Timeout(10):
        while not until():  # type: ignore[operator]
            gevent.sleep(0.01)
    watcher.stop()
    signals.close()
    journal.close()
    return [(one.kind.value, one.subject) for one in journal.events]


def test_one_of_several_that_hears_nothing_is_not_called_back_by_the_others(tmp_path: Path) -> None:
    well, lost = Probe("GET /a"), Probe("GET /b", lost=True)
    told = watched(tmp_path, [well, lost], lambda: well.looks > 5 and lost.looks > 5)
    assert told == [(Kind.SIGNAL_LOST.value, "test_watcher of GET /b")]


def test_what_was_lost_and_is_back_is_told_once_each(tmp_path: Path) -> None:
    alone = Alone()
    told = watched(tmp_path, [alone], lambda: not alone.answers)
    assert told == [("signal_lost", "test_watcher"), ("signal_back", "test_watcher")]


@dataclass
class Ends:
    """An observer of somebody's own that ends the process, or would: when it looks, or when it is closed."""

    at_close: bool
    looks: int = 0
    every_s: ClassVar[float] = 0.01

    def observe(self, view: View) -> Iterable[Reading]:
        self.looks += 1
        if not self.at_close:
            raise SystemExit(1)
        return ()

    def close(self) -> None:
        if self.at_close:
            raise SystemExit(1)


@pytest.mark.parametrize("at_close", [True, False])
def test_an_observer_that_exits_is_lost_and_ends_nothing(tmp_path: Path, at_close: bool) -> None:
    one = Ends(at_close)
    told = watched(tmp_path, [one], lambda: one.looks > 2)
    assert told == [("signal_lost", "test_watcher")]
