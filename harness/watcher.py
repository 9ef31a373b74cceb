"""Reads the observers, each in a greenlet of its own; samples go to signals.csv, edges to the timeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gevent

from harness.contracts import Observer, View
from harness.model import WELL, Kind, Reading

if TYPE_CHECKING:
    from harness.journal import Journal, SignalWriter

POSTING_LIMIT_S = 5.0  # longer than an observer waits for an answer
LOOKED = "looked"
LOOKED_EVERY_S = 1.0


class Watcher:
    """Keeps what was seen last, so that the run can ask whether the target is well.

    latest: (name, subject) -> (at_s, value); engaged: {(safeguard, subject)} as the target tells it.
    """

    def __init__(
        self,
        observers: Sequence[Observer],
        view: View,
        journal: Journal,
        signals: SignalWriter,
        asked: Callable[[Mapping[str, Any]], None] = lambda request: None,
    ) -> None:
        self.observers = observers
        self.view = view
        self.journal = journal
        self.signals = signals
        self.asked = asked  # is called with each request that an observer made
        self.latest: dict[tuple[str, str], tuple[float, float]] = {}
        self.engaged: set[tuple[str, str]] = set()
        self.kernel_states: dict[str, str] = {}
        self.changed_at_s = 0.0  # of the last change of a kernel or worker for the worse, or to another process
        self.trouble: dict[str, str] = {}  # observer -> its last error
        self._greenlets: list[gevent.Greenlet] = []
        self._stopped = False
        self._told: dict[str, tuple[float, int]] = {}  # observer -> when LOOKED was written, what it has said since

    @property
    def paces(self) -> dict[str, float]:
        """Observer -> how often it looks, in seconds."""
        return {name_of(one): one.every_s for one in self.observers}

    def start(self) -> None:
        self._greenlets = [gevent.spawn(self._watch, observer) for observer in self.observers]

    def stop_posting(self) -> None:
        """No observer changes the target's state any more when this returns; those that only look go on."""
        posting: list[Any] = [one for one in self.observers if hasattr(one, "stop_posting")]
        for one in posting:
            one.stop_posting()
        with gevent.Timeout(POSTING_LIMIT_S, False):
            while any(one.posting for one in posting):
                gevent.sleep(0.02)

    def stop(self) -> None:
        """Lets each observer finish what it reads (at most 3 s), then closes it."""
        self._stopped = True
        gevent.joinall(self._greenlets, timeout=3.0)
        gevent.killall(self._greenlets)
        for observer in self.observers:
            try:
                observer.close()
            except (Exception, SystemExit) as error:
                self._lost(name_of(observer), f"{type(error).__name__}: {error}")

    def _watch(self, observer: Observer) -> None:
        name = name_of(observer)
        due_s = self.view.now_s()
        while not self._stopped:
            said = 0
            try:
                for reading in observer.observe(self.view):
                    self.take(reading)
                    said += 1
                self._back(name)
            except (Exception, SystemExit) as error:
                self._lost(name, f"{type(error).__name__}: {error}")
                said += 1  # that it failed is told as well
            self._looked(name, said)
            due_s = max(due_s + observer.every_s, self.view.now_s())
            gevent.sleep(max(0.0, due_s - self.view.now_s()))

    def _looked(self, observer: str, said: int) -> None:
        """Write how much *observer* has said since the last such sample: one that hangs leaves none of them."""
        now_s = self.view.now_s()
        last_s, before = self._told.get(observer, (now_s - LOOKED_EVERY_S, 0))
        if now_s - last_s < LOOKED_EVERY_S:
            self._told[observer] = last_s, before + said
            return
        self._told[observer] = now_s, 0
        self.signals.write(now_s, LOOKED, observer, float(before + said))

    def _back(self, observer: str) -> None:
        if self.trouble.pop(observer, None) is not None:
            at_s = self.view.now_s()
            self.take(Reading(at_s=at_s, name="watcher", subject=observer, kind=Kind.SIGNAL_BACK))

    def _lost(self, observer: str, error: str) -> None:
        if observer not in self.trouble:
            self.take(
                Reading(
                    at_s=self.view.now_s(),
                    name="watcher",
                    subject=observer,
                    kind=Kind.SIGNAL_LOST,
                    detail={"error": error},
                )
            )
        self.trouble[observer] = error

    def take(self, reading: Reading) -> None:
        if reading.asked:
            self.asked(reading.asked)
        if reading.kind is None:
            if reading.value is not None:
                self.latest[(reading.name, reading.subject)] = (reading.at_s, reading.value)
                self.signals.write(reading.at_s, reading.name, reading.subject, reading.value)
            return
        self._remember(reading)
        detail = dict(reading.detail)
        # An event of the target keeps the time that the target gives it; the journal's order is that of reading.
        self.journal.append(reading.kind, reading.subject, reading.name, detail, at_s=reading.at_s)

    def _remember(self, reading: Reading) -> None:
        key = (reading.subject, str(reading.detail.get("subject", "")))
        if reading.kind is Kind.SAFEGUARD_ENGAGED:
            self.engaged.add(key)
        elif reading.kind is Kind.SAFEGUARD_RELEASED:
            self.engaged.discard(key)
        elif reading.kind is Kind.KERNEL_CHANGED:
            if reading.detail.get("what") == "state":
                self.kernel_states[reading.subject] = str(reading.detail.get("to"))
            if reading.detail.get("to") not in WELL:
                self.changed_at_s = max(self.changed_at_s, reading.at_s)


def name_of(observer: Observer) -> str:
    """Name of an observer in the timeline: the stem of its file, and what it looks at where it has several instances.

    Under one name, an instance that is lost would be called back at once by the next one that hears something.
    """
    about = getattr(observer, "about", "")
    stem = type(observer).__module__.rpartition(".")[2]
    return f"{stem} of {about}" if about else stem
