"""Carries out the plan's faults: one greenlet a fault, from its preparation to its verified heal."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event as Signal

from harness.contracts import ATTAIN_LIMIT_S, Fault, Gates, Target, TargetError, Witness
from harness.fault_record import TIME_IS_UP
from harness.limits import Limits, protected, takes_too_much
from harness.model import Effect, Hold, Kind, Plan, Sample, Step, Undo

if TYPE_CHECKING:
    from harness.guardian_link import GuardianLink
    from harness.journal import Journal, SignalWriter

SAMPLE_EVERY_S = 0.25
HEAL_SLACK_S = 10.0  # the guardian heals by itself so long after the latest end that a fault can have


@dataclass
class Held:
    """What a fault's samples have shown so far."""

    measured: list[float] = field(default_factory=list)  # since it was attained
    best: float = 0.0
    looks: int = 0  # how often it was looked at since then
    pressure: dict[str, float] = field(default_factory=dict)  # the last PSI: harness/pressure.py
    told: dict[str, Any] = field(default_factory=dict)  # the last that it said of itself, such as sent and refused
    witness: Witnessed | None = None
    attained_at_s: float | None = None
    lasted_s: float | None = None  # from then on until nobody held it any more; the heal comes after that


@dataclass
class Witnessed:
    """What the witness of a fault has shown so far; *why* is the last reason for which it shows nothing."""

    name: str
    source: Witness | None = None
    why: str = ""
    last: float | None = None
    attained_at_s: float | None = None
    in_force_at_s: float | None = None  # when it last showed the fault in force
    looks: int = 0
    fresh: int = 0  # looks that brought a new value
    fresh_at_s: float | None = None  # when a look brought a new value last
    unseen_s: float = 0.0  # the longest time without one, since the fault was attained
    seen_s: float | None = None  # by time.monotonic(), of the last value of a source that tells it
    stale_s: float | None = None  # how old that value was when the fault was over

    def look(self, now_s: float, effect: Effect, floor: float) -> float | None:
        """A sample; a witness that crashes shows nothing and ends nothing."""
        if self.source is None:
            return None
        try:
            self.last = self.source.sample(effect)
        except Exception as error:
            self.last, self.why = None, f"{type(error).__name__}: {error}"
        seen_s = getattr(self.source, "seen_s", None)
        self.looks += 1
        fresh = self.last is not None and (seen_s is None or seen_s != self.seen_s)
        self.fresh += fresh
        self._seen(now_s, fresh)
        self.seen_s = seen_s
        if self.last is not None and self.last >= floor:
            self.in_force_at_s = now_s
        return self.last

    def _seen(self, now_s: float, fresh: bool) -> None:
        since_s = max((one for one in (self.attained_at_s, self.fresh_at_s) if one is not None), default=now_s)
        if self.attained_at_s is not None:
            self.unseen_s = max(self.unseen_s, now_s - since_s)
        if fresh:
            self.fresh_at_s = now_s

    def attained(self, now_s: float) -> None:
        self.attained_at_s = now_s
        if self.source is not None:
            self.source.attained()

    def over(self, now_s: float, effect: Effect, floor: float) -> None:
        """The fault says that it is over: looks once more, and counts neither that nor the look before."""
        if self.source is not None:
            if self.last is not None:
                self.source.ended()
            in_force_at_s = self.in_force_at_s
            self.look(now_s, effect, floor)
            self.in_force_at_s = in_force_at_s
            if self.seen_s is not None:
                self.stale_s = time.monotonic() - self.seen_s
            if self.last is not None:
                self.source.ended()

    def finish(self, effect: Effect) -> None:
        if self.source is not None:
            try:
                self.source.finish(effect)
            except Exception as error:
                self.why = f"{type(error).__name__}: {error}"

    def summary(self) -> dict[str, Any]:
        """What FAULT_ENDED tells of it."""
        told: dict[str, Any] = {"name": getattr(self.source, "name", "") or self.name}
        source = self.source
        mean = source.mean() if source is not None else None
        if mean is None:
            told["because"] = self.why or "it has no sample"
        else:
            told["mean"] = round(mean, 3)
        if source is not None:
            told |= {"error": round(source.error, 3), "looks": self.looks, "fresh": self.fresh}
            told["unseen_s"] = round(self.unseen_s, 3)
            if also := {name: round(value, 3) for name, value in source.also().items()}:
                told |= {"also": also, "also_names": dict(getattr(source, "also_names", {}))}
        if route := getattr(source, "route", ""):
            told["route"] = route
        if self.stale_s is not None:
            told["stale_s"] = round(self.stale_s, 3)
        if self.last is not None:
            told["last"] = round(self.last, 3)
        if self.attained_at_s is not None and self.in_force_at_s is not None:
            told["in_force_s"] = round(max(0.0, self.in_force_at_s - self.attained_at_s), 3)
        return told


class Conductor:
    """Starts each step when it is due. tick() never blocks; what a step did is in the journal and in `ended`."""

    def __init__(
        self,
        plan: Plan,
        faults: Mapping[str, Fault],
        target: Target,
        guardian: GuardianLink,
        journal: Journal,
        signals: SignalWriter,
        now_s: Callable[[], float],
        gates: Gates | None = None,
    ) -> None:
        self.gates = gates
        self.plan = plan
        self.faults = faults
        self.target = target
        self.guardian = guardian
        self.journal = journal
        self.signals = signals
        self.now_s = now_s
        self.started_at_s: float | None = None
        self.ended: dict[str, float] = {}  # step id -> when its fault ended
        self.broken: dict[str, str] = {}  # step id -> why its life could not even be journalled
        self._lives: dict[str, gevent.Greenlet] = {}
        self._halt = Signal()

    def start(self, now_s: float) -> None:
        """The faults' time begins; steps count from here."""
        self.started_at_s = now_s

    def tick(self, now_s: float) -> None:
        if self.started_at_s is None or self._halt.is_set():
            return
        for step in self.plan.steps:
            if step.step_id not in self._lives and now_s >= self.started_at_s + step.at_s:
                self._lives[step.step_id] = gevent.spawn(self._live, step)

    @property
    def done(self) -> bool:
        return self.started_at_s is not None and all(step.step_id in self.ended for step in self.plan.steps)

    @property
    def active(self) -> tuple[str, ...]:
        return tuple(name for name in self._lives if name not in self.ended)

    def halt(self, timeout_s: float = 10.0) -> None:
        """Heals every fault in force, now."""
        self._halt.set()
        gevent.joinall(list(self._lives.values()), timeout=timeout_s)

    # One fault's life. The order is the promise: what can be undone is on disk before anything is done.

    def _live(self, step: Step) -> None:
        try:
            self._life(step)
        except (Exception, SystemExit) as error:  # such as a journal on a full disk: it is healed all the same
            if self.gates is not None:
                self.gates.shut(step.step_id)
            self.guardian.heal(step.step_id)
            self.broken[step.step_id] = f"{type(error).__name__}: {error}"
        finally:
            self.ended.setdefault(step.step_id, self.now_s())

    def _life(self, step: Step) -> None:
        fault = self.faults[step.step_id]
        held = Held()
        try:
            planned = fault.prepare(self.target)
            limits = Limits().lifted(self.plan.unsafe)
            why = protected(planned, [self.guardian.pid]) or takes_too_much(limits, fault, self.target)
            if why:
                raise TargetError(why)
            self._journal(Kind.FAULT_PLANNED, step, _asked(step))
            deadline_s = attain_limit_s(fault) + length_s(fault, step) + HEAL_SLACK_S
            undo = self.guardian.arm(step.step_id, planned, deadline_s=deadline_s)
            held.witness = self._witness(step, fault, undo)
            began_s = self.now_s()  # what it does may be seen before all of it is done
            effect = fault.inject(self.target, undo, self.guardian.hands(step.step_id, self.gates))
            self.guardian.active(step.step_id)
        except (Exception, SystemExit) as error:
            self._end(step, "lost", f"not injected: {type(error).__name__}: {error}", held)
            self._heal(step)
            return
        injected_at_s = self._journal(Kind.FAULT_INJECTED, step, dict(effect.facts), at_s=began_s)
        ended_by, because = self._hold(step, fault, undo, effect, injected_at_s, held)
        held.lasted_s = None if held.attained_at_s is None else self.now_s() - held.attained_at_s

        def after() -> None:
            healed_at_s = self.now_s()
            if held.witness is not None and ended_by != "halt":
                held.witness.finish(effect)
            self._end(step, ended_by, because, held, healed_at_s)

        self._heal(step, after)

    def _witness(self, step: Step, fault: Fault, undo: Undo) -> Witnessed | None:
        """The second measure that *fault* declares, made before the injection; None when it declares none."""
        name, make = getattr(fault, "witness", ""), getattr(fault, "start_witness", None)
        if not name or make is None:
            return None
        try:
            return Witnessed(name, make(self.target, undo, self.guardian.hands(step.step_id, self.gates)))
        except Exception as error:
            return Witnessed(name, why=f"{type(error).__name__}: {error}")

    def _hold(
        self,
        step: Step,
        fault: Fault,
        undo: Undo,
        effect: Effect,
        injected_at_s: float,
        held: Held,
    ) -> tuple[str, str]:
        """Measures until the time is up, the target ends the fault, or it is lost: (ended_by, because)."""
        hands = self.guardian.hands(step.step_id, self.gates)
        attained_at_s: float | None = None
        while True:
            now_s = self.now_s()
            try:
                sample = fault.sample(self.target, undo, effect, hands)
            except (Exception, SystemExit) as error:
                sample = Sample(achieved=None, hold=Hold.LOST, because=f"{type(error).__name__}: {error}")
            held.pressure = dict(sample.detail.get("pressure") or held.pressure)
            if held.witness is not None:
                self._look(held.witness, step, effect, sample, now_s)
            if sample.achieved is not None and sample.hold in (Hold.HOLDS, Hold.DONE):
                self.signals.write(now_s, "fault_achieved", step.step_id, sample.achieved)
                if attained_at_s is None and sample.achieved >= step.asked.floor:
                    attained_at_s = held.attained_at_s = now_s
                    if held.witness is not None:
                        held.witness.attained(now_s)
                    self._journal(
                        Kind.FAULT_ATTAINED,
                        step,
                        {"achieved": sample.achieved, "after_s": round(now_s - injected_at_s, 3)},
                    )
                held.best = max(held.best, sample.achieved)
                if attained_at_s is not None:
                    held.measured.append(sample.achieved)
            held.looks += attained_at_s is not None
            held.told = dict(sample.detail or held.told)
            if sample.hold is Hold.DONE:
                return "plan", sample.because
            if sample.hold is not Hold.HOLDS:
                return "target" if sample.hold is Hold.TARGET else "lost", sample.because
            clock_from_s = attained_at_s if attained_at_s is not None else injected_at_s + attain_limit_s(fault)
            if now_s >= clock_from_s + length_s(fault, step):
                return "plan", _time_is_up(step, attained_at_s is not None, held.best, sample.because)
            if self._halt.wait(SAMPLE_EVERY_S):
                return "halt", "the run was halted"

    def _look(self, witness: Witnessed, step: Step, effect: Effect, sample: Sample, now_s: float) -> None:
        """After the fault's own *sample*: what the fault says it has reached is there when the witness looks."""
        if sample.hold in (Hold.TARGET, Hold.LOST):
            witness.over(now_s, effect, step.asked.floor)
            seen = witness.last
        else:
            seen = witness.look(now_s, effect, step.asked.floor)
        if seen is not None:
            self.signals.write(now_s, "fault_witness", step.step_id, seen)

    def _heal(self, step: Step, after: Callable[[], None] | None = None) -> None:
        try:
            if self.gates is not None:
                self.gates.shut(step.step_id)
            results = self.guardian.heal(step.step_id)
            verified = all(bool(result.get("verified")) for result in results)
        except (Exception, SystemExit) as error:
            results, verified = [{"error": f"{type(error).__name__}: {error}"}], False
        if after:
            after()
        self._journal(Kind.FAULT_HEALED, step, {"verified": verified, "primitives": results})
        self.ended[step.step_id] = self.now_s()

    def _end(self, step: Step, ended_by: str, because: str, held: Held, at_s: float | None = None) -> None:
        detail: dict[str, Any] = {"ended_by": ended_by, "because": because, "achieved": summary(held.measured)}
        if held.looks:
            detail["held_percent"] = round(100 * len(held.measured) / held.looks, 1)
        if held.pressure:
            detail["pressure"] = held.pressure
        told = {key: value for key, value in held.told.items() if key not in ("at", "pressure")}
        if told:
            detail["told"] = told
        if held.lasted_s is not None:
            detail["lasted_s"] = round(held.lasted_s, 3)
        if held.witness is not None:
            detail["witness"] = held.witness.summary()
        self._journal(Kind.FAULT_ENDED, step, detail, at_s=at_s)

    def _journal(self, kind: Kind, step: Step, detail: Mapping[str, Any], at_s: float | None = None) -> float:
        return self.journal.append(kind, step.step_id, "conductor", detail, durable=True, at_s=at_s).at_s


def _time_is_up(step: Step, attained: bool, best: float, because: str) -> str:
    short = "" if attained else f"at most {best:g} {step.asked.unit}".rstrip() + " was reached"
    return "; ".join(filter(None, (TIME_IS_UP, short, because)))


def attain_limit_s(fault: Fault) -> float:
    """How long *fault* may take to reach its magnitude; its clock starts then all the same."""
    return float(getattr(fault, "attain_limit_s", ATTAIN_LIMIT_S))


def length_s(fault: Fault, step: Step) -> float:
    """How long *fault* lasts from its attainment on; one given by a count at most so long."""
    return step.duration_s or float(getattr(fault, "limit_s", 0.0))


def _asked(step: Step) -> dict[str, Any]:
    return {
        "type": step.type,
        "target": step.target,
        "params": dict(step.params),
        "subject": step.subject,
        "asked": {
            "name": step.asked.name,
            "value": step.asked.value,
            "unit": step.asked.unit,
            "tolerance": step.asked.tolerance,
        },
        "duration_s": step.duration_s,
        "asked_duration_s": step.asked_duration_s,
    }


def summary(values: list[float]) -> dict[str, float] | None:
    """Mean, sd, p5, p95, max and n of what was achieved while the fault was in force; None for nothing measured."""
    if not values:
        return None
    ordered = sorted(values)

    def at(part: float) -> float:
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    return {
        "mean": round(statistics.fmean(values), 3),
        "sd": round(statistics.pstdev(values), 3),
        "p5": round(at(0.05), 3),
        "p95": round(at(0.95), 3),
        "max": round(ordered[-1], 3),
        "n": float(len(values)),
    }
