"""The conductor: a fault's own time to attain, what it reached when it never did, and the pressure that it made."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from faults.helpers.witness import Level, Rate
from harness.conductor import Conductor, Held, Witnessed
from harness.contracts import ATTAIN_LIMIT_S
from harness.model import Effect, Hold, Kind, Magnitude, Sample, Step, Undo

ASKED = Magnitude(name="memory", value=85.0, unit="%", tolerance=5.0)


@dataclass(frozen=True)
class Slow:
    """A fault whose samples are told beforehand: [(from when, sample)]."""

    samples: list[tuple[float, Sample]]
    clock: list[float]

    def prepare(self, target: object) -> Undo:
        return Undo()

    def inject(self, target: object, undo: Undo, hands: object) -> Effect:
        return Effect()

    def sample(self, target: object, undo: Undo, effect: Effect, hands: object) -> Sample:
        return [sample for since_s, sample in self.samples if self.clock[0] >= since_s][-1]


@dataclass(frozen=True)
class Slower(Slow):
    attain_limit_s: ClassVar[float] = 60.0


class Ledger:
    """A journal, a guardian and a writer of signals, all in one: it remembers what it was told."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock
        self.rows: list[tuple[Kind, dict[str, Any], float]] = []
        self.deadline_s = 0.0
        self.pid = 0

    def append(
        self, kind: Kind, subject: str, source: str, detail: Any, durable: bool = False, at_s: float | None = None
    ) -> Any:
        told_s = self.clock[0] if at_s is None else at_s
        self.rows.append((kind, dict(detail), told_s))
        return type("Event", (), {"at_s": told_s})

    def write(self, *row: object) -> None: ...

    def arm(self, fault_id: str, undo: Undo, deadline_s: float) -> Undo:
        self.deadline_s = deadline_s
        return undo

    def active(self, fault_id: str) -> None: ...

    def hands(self, fault_id: str, gates: object = None) -> None: ...

    def heal(self, fault_id: str) -> list[dict[str, Any]]:
        return [{"verified": True}]

    def of(self, kind: Kind) -> tuple[dict[str, Any], float]:
        return next((detail, at_s) for one, detail, at_s in self.rows if one is kind)


def live(fault: Any, ledger: Ledger, clock: list[float]) -> Conductor:
    """One fault's whole life, with a clock that jumps on by half a second whenever it is waited for."""
    step = Step(
        step_id="f",
        type="f",
        target="machine",
        params={},
        at_s=0.0,
        duration_s=5.0,
        asked_duration_s=5.0,
        subject="memory",
        asked=ASKED,
    )
    plan = type("Plan", (), {"steps": (step,), "unsafe": {}})
    one: Any = ledger
    conductor = Conductor(plan, {"f": fault}, None, one, one, one, lambda: clock[0])  # type: ignore[arg-type]

    class Halt:
        def wait(self, timeout_s: float) -> bool:
            clock[0] += 0.5
            return False

    conductor._halt = Halt()  # type: ignore[assignment]
    conductor._live(step)
    return conductor


def reached(value: float, **detail: Any) -> Sample:
    because = "the floor of free memory is kept" if value < ASKED.floor else ""
    return Sample(achieved=value, because=because, detail=detail)


@pytest.mark.parametrize(("kind", "waits_s"), [(Slow, ATTAIN_LIMIT_S), (Slower, 60.0)])
def test_a_fault_that_never_attains_is_waited_for_as_long_as_it_says(kind: Any, waits_s: float) -> None:
    clock = [0.0]
    ledger = Ledger(clock)
    live(kind([(0.0, reached(40.0)), (3.0, reached(61.25))], clock), ledger, clock)
    detail, at_s = ledger.of(Kind.FAULT_ENDED)
    assert at_s == waits_s + 5.0
    assert detail["because"] == "its time is up; at most 61.25 % was reached; the floor of free memory is kept"
    assert detail["achieved"] is None, "what it reached is no magnitude of a fault in force"
    assert ledger.deadline_s > at_s, "the guardian does not heal it before its time"
    assert Kind.FAULT_ATTAINED not in [kind for kind, _, _ in ledger.rows]


def test_the_clock_starts_when_it_is_attained() -> None:
    clock = [0.0]
    ledger = Ledger(clock)
    live(Slower([(0.0, reached(40.0)), (30.0, reached(85.0))], clock), ledger, clock)
    assert ledger.of(Kind.FAULT_ATTAINED)[1] == 30.0
    detail, at_s = ledger.of(Kind.FAULT_ENDED)
    assert at_s == 35.0 and detail["because"] == "its time is up"
    assert detail["achieved"]["mean"] == 85.0 and detail["achieved"]["n"] == 11


def test_the_last_pressure_is_told_at_the_end() -> None:
    clock = [0.0]
    ledger = Ledger(clock)
    rows = [(0.0, reached(85.0, pressure={"io_full": 1.0})), (4.0, reached(85.0, pressure={"io_full": 7.5}))]
    live(Slow([*rows, (4.5, reached(85.0))], clock), ledger, clock)
    assert ledger.of(Kind.FAULT_ENDED)[0]["pressure"] == {"io_full": 7.5}
    live(Slow([(0.0, reached(85.0))], clock), plain := Ledger(clock), clock)
    assert "pressure" not in plain.of(Kind.FAULT_ENDED)[0]


def test_a_lost_fault_ends_at_once() -> None:
    clock = [0.0]
    ledger = Ledger(clock)
    lost = Sample(achieved=None, hold=Hold.LOST, because="the helper process has ended")
    live(Slower([(0.0, reached(85.0)), (2.0, lost)], clock), ledger, clock)
    detail, at_s = ledger.of(Kind.FAULT_ENDED)
    assert (detail["ended_by"], detail["because"], at_s) == ("lost", "the helper process has ended", 2.0)
    assert Held().best == 0.0


@dataclass(frozen=True)
class Suicidal(Slow):
    """Aimed at the process that runs it."""

    def prepare(self, target: object) -> Undo:
        return Undo(primitives=({"op": "resume", "pid": os.getpid()},))

    def inject(self, target: object, undo: Undo, hands: object) -> Effect:
        raise AssertionError("it was injected")


def test_nothing_is_ever_aimed_at_the_harness_itself() -> None:
    clock = [0.0]
    ledger = Ledger(clock)
    live(Suicidal([], clock), ledger, clock)
    assert "the harness itself" in ledger.of(Kind.FAULT_ENDED)[0]["because"]
    assert not [kind for kind, _, _ in ledger.rows if kind is Kind.FAULT_INJECTED]


@dataclass(frozen=True)
class Treacherous(Suicidal):
    """Aimed at the guardian of its own run."""

    def prepare(self, target: object) -> Undo:
        return Undo(primitives=({"op": "gone", "pid": 4_194_305},))


def test_nor_at_its_guardian() -> None:
    clock = [0.0]
    ledger = Ledger(clock)
    ledger.pid = 4_194_305  # higher than any pid there is
    live(Treacherous([], clock), ledger, clock)
    assert "its guardian" in ledger.of(Kind.FAULT_ENDED)[0]["because"]
    assert not [kind for kind, _, _ in ledger.rows if kind is Kind.FAULT_INJECTED]


def test_a_journal_that_fails_leaves_no_fault_in_force() -> None:
    clock = [0.0]

    class Full(Ledger):
        healed = 0

        def append(self, kind: Kind, *rest: Any, **more: Any) -> Any:
            if kind is Kind.FAULT_INJECTED:
                raise OSError(28, "No space left on device")
            return super().append(kind, *rest, **more)

        def heal(self, fault_id: str) -> list[dict[str, Any]]:
            self.healed += 1
            return [{"verified": True}]

    ledger = Full(clock)
    conductor = live(Slow([(0.0, Sample(achieved=1.0))], clock), ledger, clock)
    assert ledger.healed == 1 and "No space left" in conductor.broken["f"] and "f" in conductor.ended


def test_a_sample_that_crashes_is_a_lost_fault() -> None:
    clock = [0.0]
    ledger = Ledger(clock)
    live(Slow([], clock), ledger, clock)
    told, _ = ledger.of(Kind.FAULT_ENDED)
    assert told["ended_by"] == "lost" and "IndexError" in told["because"]


@dataclass(frozen=True)
class Greedy(Slow):
    """Would fill a whole disk."""

    def taken_mb(self, target: object) -> float:
        return 1e6

    def inject(self, target: object, undo: Undo, hands: object) -> Effect:
        raise AssertionError("it was injected")


def test_a_fault_that_takes_too_much_is_never_injected() -> None:
    clock = [0.0]
    ledger = Ledger(clock)
    live(Greedy([], clock), ledger, clock)
    assert "would take 1000000 MB, at most 65536" in ledger.of(Kind.FAULT_ENDED)[0]["because"]


@dataclass(frozen=True)
class Gradual(Slow):
    """One that takes a while to inject: what it does is felt from the first moment on."""

    def inject(self, target: object, undo: Undo, hands: object) -> Effect:
        self.clock[0] += 3.0
        return Effect()


def test_an_injection_counts_from_its_begin() -> None:
    clock = [10.0]
    ledger = Ledger(clock)
    live(Gradual([(0.0, Sample(achieved=90.0))], clock), ledger, clock)
    assert ledger.of(Kind.FAULT_INJECTED)[1] == 10.0 < ledger.of(Kind.FAULT_ATTAINED)[1]


@dataclass(frozen=True)
class Watched(Slow):
    """One whose witness shows what it is told: [(from when, value)]."""

    shows: list[tuple[float, float | None]]
    witness: ClassVar[str] = "somebody else"

    def start_witness(self, target: object, undo: Undo, hands: object) -> Level:
        return Level(lambda _: [value for since_s, value in self.shows if self.clock[0] >= since_s][-1])


def ended_of(samples: list[tuple[float, Sample]], shows: list[tuple[float, float | None]]) -> dict[str, Any]:
    clock = [0.0]
    ledger = Ledger(clock)
    live(Watched(samples, clock, shows), ledger, clock)
    return ledger.of(Kind.FAULT_ENDED)[0]


def test_a_witness_counts_from_attainment_on() -> None:
    ended = ended_of([(0.0, reached(40.0)), (2.0, reached(85.0))], [(0.0, 20.0), (2.0, 84.0)])
    assert ended["lasted_s"] == 5.0
    told = {"name": "somebody else", "mean": 84.0, "error": 0.0, "last": 84.0, "in_force_s": 5.0}
    assert {name: ended["witness"][name] for name in told} == told
    assert ended["witness"]["fresh"] == ended["witness"]["looks"] > 5 and "stale_s" not in ended["witness"]


def test_a_witness_that_falls_silent_is_stale() -> None:
    began_s = time.monotonic() - 30.0
    read = [(began_s, 1000.0), (began_s + 1.0, 2000.0)]
    witnessed = Witnessed("the bus", Rate(lambda _: read.pop(0) if len(read) > 1 else read[0]))
    for second in range(8):
        witnessed.look(float(second), Effect(), 900.0)
    witnessed.over(8.0, Effect(), 900.0)
    told = witnessed.summary()
    assert (told["mean"], told["fresh"], told["looks"]) == (1000.0, 1, 9) and told["stale_s"] >= 29.0


def test_a_fault_undone_in_secret_is_in_force_for_less() -> None:
    ended = ended_of([(0.0, reached(85.0))], [(0.0, 85.0), (3.0, 10.0)])
    assert ended["witness"]["in_force_s"] == 2.5 and ended["witness"]["mean"] < 60.0


def test_what_a_witness_sees_after_the_end_does_not_count() -> None:
    over = Sample(achieved=None, hold=Hold.TARGET, because="pid 7 is gone")
    ended = ended_of([(0.0, reached(85.0)), (2.0, over)], [(0.0, 85.0), (2.0, 0.0)])
    assert ended["witness"]["mean"] == 85.0 and ended["witness"]["last"] == 0.0


def test_a_witness_that_crashes_ends_nothing() -> None:
    ended = ended_of([(0.0, reached(85.0))], [])
    assert ended["ended_by"] == "plan" and "mean" not in ended["witness"]
    assert "IndexError" in ended["witness"]["because"]


@dataclass(frozen=True)
class Killing(Slow):
    """One that has taken hold by its first sample, as a kill has, and is over with it."""

    gone: list[bool]
    witness: ClassVar[str] = "somebody else"

    def start_witness(self, target: object, undo: Undo, hands: object) -> Level:
        return Level(lambda _: 85.0 * bool(self.gone))

    def sample(self, target: object, undo: Undo, effect: Effect, hands: object) -> Sample:
        self.gone.append(True)
        return Sample(achieved=85.0, hold=Hold.DONE)


def test_a_witness_looks_after_the_fault_itself_has() -> None:
    clock = [0.0]
    ledger = Ledger(clock)
    live(Killing([], clock, []), ledger, clock)
    assert ledger.of(Kind.FAULT_ENDED)[0]["witness"]["mean"] == 85.0
