"""A step of the plan and what became of it: asked against achieved, and what the witness of each magnitude shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.model import Event, Magnitude, Step

TIME_IS_UP = "its time is up"  # how a fault's end by the plan is told; what kept it from more comes after it
HELD_PERCENT_MIN = 50.0  # of the time that a fault was in force it must have been measured
LESS_PERCENT_MAX = 5.0  # so much less than the report a witness may show; of a percentage, so many points
STALE_S_MAX, LONG_S = 5.0, 6.0  # a witness may be so old at the end of a fault that lasted longer than LONG_S
FRESH_EVERY_S = 2.5  # so often on average a witness must show a new value; the slowest does once in 1.3 s
HIDDEN = 4.0  # a flood beside so many times as much on one counter cannot be told: 5 % of that is a fifth of its own
SAMPLES_SLACK_S = 0.5  # two samples of the conductor: so much a fault may end before its time


@dataclass(frozen=True)
class Shortfall:
    """Why a magnitude was not what was asked for; *code* is stable."""

    code: str
    because: str


@dataclass(frozen=True, kw_only=True)
class Achieved:
    """A row of the table "asked against achieved"; None: not measured."""

    name: str
    unit: str
    asked: float
    achieved: float | None
    witness: str  # who saw it besides the fault itself; "" for nobody
    witnessed: float | None


@dataclass(frozen=True)
class FaultRecord:
    """One step of the plan and what became of it."""

    step: Step
    planned: Event | None
    injected: Event | None
    attained: Event | None
    ended: Event | None
    healed: Event | None
    # What harness/besides.py knows of: how much the witness of a flood counted that is not the flood's, how much of
    # that is by the word of other floods, and the step that may have ended this one, "" for none.
    others: float = field(default=0.0, kw_only=True)
    shared: float = field(default=0.0, kw_only=True)
    ended_with: str = field(default="", kw_only=True)

    @property
    def achieved(self) -> dict[str, float] | None:
        value = self.ended.detail.get("achieved") if self.ended else None
        return value if isinstance(value, dict) else None

    @property
    def ended_by(self) -> str:
        return str(self.ended.detail.get("ended_by")) if self.ended else ""

    @property
    def lasted_s(self) -> float | None:
        """From its attainment until it was taken back, or had ended by itself."""
        told = _number(self.ended.detail.get("lasted_s")) if self.ended else None
        if told is not None:
            return told
        return self.ended.at_s - self.attained.at_s if self.ended and self.attained else None

    @property
    def witness(self) -> Mapping[str, Any]:
        """What the witness showed: name, mean, error, also, last, in_force_s, looks, fresh, stale_s; {} for none.

        The mean of one that counts what is not the fault's as well is without *others*.
        """
        value = self.ended.detail.get("witness") if self.ended else None
        found = value if isinstance(value, dict) else {}
        mean = _number(found.get("mean"))
        return {**found, "mean": mean - self.others} if mean is not None and self.others else found

    @property
    def shortfall(self) -> str:
        """Why its magnitude was not what was asked for; "" when it was."""
        return "; ".join(one.because for one in self.shortfalls)

    @property
    def shortfalls(self) -> tuple[Shortfall, ...]:
        """All that was not what was asked for, the main cause first."""
        return tuple(self._shortfalls())

    def _shortfalls(self) -> Iterator[Shortfall]:
        asked = self.step.asked
        if self.injected is None:
            why = f": {self.ended.detail.get('because')}" if self.ended else ""
            yield Shortfall("not_injected", "it was not injected" + why)
            return
        if self.ended_by == "lost":
            yield Shortfall("lost", f"it was lost: {self.ended.detail.get('because') if self.ended else ''}")
        if self.ended_by == "halt":
            yield Shortfall("cut_short", "it was cut short")
        if self.attained is None or self.achieved is None:
            yield Shortfall("never_reached", f"it never reached {asked.floor:g} {asked.unit}".rstrip() + self._limit)
            return
        held = self.ended.detail.get("held_percent") if self.ended else None
        if isinstance(held, int | float) and held < HELD_PERCENT_MIN:
            why = f"it was measured for {held:.0f} % of its time only, at least {HELD_PERCENT_MIN:g} %"
            yield Shortfall("hardly_measured", why)
        if self.achieved["mean"] < asked.floor:
            why = f"a mean of {self.achieved['mean']:g} {asked.unit}, asked {asked.value:g}" + self._limit
            yield Shortfall("below_asked", why)
        yield from self._early()
        yield from self._contradicted()
        yield from self._also_short()

    @property
    def _limit(self) -> str:
        """What the injector says kept it from more, after the words of an end by the plan."""
        because = str(self.ended.detail.get("because", "")) if self.ended else ""
        return because.removeprefix(TIME_IS_UP) if because.startswith(f"{TIME_IS_UP}; ") else ""

    def _early(self) -> Iterator[Shortfall]:
        """It ended before its planned time, and not by its target's doing."""
        asked_s, lasted_s = self.step.duration_s, self.lasted_s
        if not asked_s or lasted_s is None:
            return
        last = self.witness.get("last")
        if self.ended_by == "target":
            if self.ended_with:
                why = f"it ended after {lasted_s:.1f} of {asked_s:g} s, and {self.ended_with} killed the same process"
                yield Shortfall("ended_early", why)
            elif isinstance(last, int | float) and last >= self.step.asked.floor:
                name = self.witness.get("name")
                why = f"the target is said to have ended it, and {name} still shows {_told(last, self.step.asked)}"
                yield Shortfall("ended_early", why)
        elif lasted_s < asked_s - SAMPLES_SLACK_S:
            why = f"it ended {lasted_s:.1f} s after it was attained, asked for {asked_s:g} s, and not by its target"
            yield Shortfall("ended_early", why)

    def _contradicted(self) -> Iterator[Shortfall]:
        """Its witness saw nothing, or clearly less than the fault itself reports."""
        asked, achieved = self.step.asked, self.achieved
        if not self.step.witness or achieved is None:
            return
        name, seen = self.witness.get("name") or self.step.witness, self.witness.get("mean")
        if not isinstance(seen, int | float):
            why = str(self.witness.get("because") or "it has no sample")
            yield Shortfall("witness_silent", f"its witness ({name}) shows nothing: {why}")
            return
        if why := self._seldom:
            yield Shortfall("witness_silent", f"its witness ({name}) saw nothing new {why}")
        told = achieved["mean"]
        error = float(self.witness.get("error") or 0.0) + self.shared * LESS_PERCENT_MAX / 100
        if self._hidden:
            more = f"other floods brought {self.shared:.0f} on the same counter, this one {_told(told, asked)}"
            yield Shortfall("witness_hidden", f"its witness ({name}) cannot tell it: {more}")
        elif less_than(seen + error, told, asked.unit):
            report = f"the fault itself reports {_told(told, asked)}"
            yield Shortfall("witness_disagrees", f"its witness ({name}) shows {_told(seen, asked)}, {report}")

    @property
    def _seldom(self) -> str:
        """For how long its witness saw nothing new, where that was too long; "" where it was not."""
        lasted_s, asked = self.lasted_s, self.step.asked
        if not lasted_s or lasted_s <= LONG_S:
            return ""
        stale_s, unseen_s = (_number(self.witness.get(name)) or 0.0 for name in ("stale_s", "unseen_s"))
        if stale_s > max(STALE_S_MAX, lasted_s / 2):
            return f"in the last {stale_s:.1f} of {lasted_s:.1f} s"
        if unseen_s > max(STALE_S_MAX, lasted_s / 2):
            return f"for {unseen_s:.1f} of {lasted_s:.1f} s"
        fresh, looks = _number(self.witness.get("fresh")), self.witness.get("looks")
        every_s = FRESH_EVERY_S + (asked.value / 1000 if asked.unit == "ms" else 0.0)  # a probe waits for its answer
        if fresh is not None and looks and fresh * every_s < lasted_s:
            return f"but {fresh:g} times in {looks} looks over {lasted_s:.1f} s"
        return ""

    @property
    def _hidden(self) -> bool:
        """Whether what other floods did on the counter of its witness is so much that this one cannot be told."""
        return self.shared > HIDDEN * (self.achieved or {}).get("mean", 0.0)

    def _also_short(self) -> Iterator[Shortfall]:
        for asked in self.step.also_asked:
            code = asked.name.replace(" ", "_")
            told, seen = self.also.get(asked.name), self._also_witnessed.get(asked.name)
            if told is None:
                yield Shortfall(
                    f"{code}_unknown", f"its {asked.name} was not measured, asked {_told(asked.value, asked)}"
                )
                continue
            if told < asked.floor:
                why = f"its {asked.name} was {_told(told, asked)}, asked {_told(asked.value, asked)}"
                yield Shortfall(f"{code}_short", why)
            if seen is not None and less_than(seen, told, asked.unit):
                why = f"its {asked.name}: the witness ({self._witness_of(asked.name)}) shows {_told(seen, asked)}"
                yield Shortfall("witness_disagrees", f"{why}, the fault itself reports {_told(told, asked)}")

    @property
    def also(self) -> Mapping[str, float]:
        """{name: achieved value} of the magnitudes besides `asked`."""
        told = self.ended.detail.get("told") if self.ended else None
        return _numbers(told.get("also") if isinstance(told, dict) else None)

    @property
    def unwitnessed(self) -> tuple[str, ...]:
        """Those of the magnitudes besides `asked` that nobody but the fault itself measured."""
        return tuple(one.name for one in self.step.also_asked if one.name not in self._also_witnessed)

    @property
    def _also_witnessed(self) -> Mapping[str, float]:
        seen = _numbers(self.witness.get("also"))
        return {name: value for name, value in seen.items() if name != "rate" or not self.shared}

    def _witness_of(self, name: str) -> str:
        names = self.witness.get("also_names")
        return str(names.get(name, "")) if isinstance(names, dict) else ""

    def table(self) -> tuple[Achieved, ...]:
        """Each magnitude that was asked for, its duration among them, with what was achieved and witnessed."""
        asked, name = self.step.asked, str(self.witness.get("name") or self.step.witness)
        mean, seen = (self.achieved or {}).get("mean"), self.witness.get("mean")
        rows = [
            Achieved(
                name=asked.name,
                unit=asked.unit,
                asked=asked.value,
                achieved=mean,
                witness=name,
                witnessed=_number(seen),
            )
        ]
        if self.step.duration_s:
            rows.append(
                Achieved(
                    name="duration",
                    unit="s",
                    asked=self.step.duration_s,
                    achieved=_rounded(self.lasted_s),
                    witness=name,
                    witnessed=_number(self.witness.get("in_force_s")),
                )
            )
        for one in self.step.also_asked:
            rows.append(
                Achieved(
                    name=one.name,
                    unit=one.unit,
                    asked=one.value,
                    achieved=self.also.get(one.name),
                    witness=self._witness_of(one.name),
                    witnessed=self._also_witnessed.get(one.name),
                )
            )
        return tuple(rows)


def less_than(seen: float, told: float, unit: str) -> bool:
    """Whether *seen* is clearly less than *told*: by more than 5 %, of percentages by more than 5 points."""
    slack = LESS_PERCENT_MAX if unit == "%" else abs(told) * LESS_PERCENT_MAX / 100
    return seen < told - slack - 1e-9


def _told(value: float, asked: Magnitude) -> str:
    return f"{value:.4g} {asked.unit or asked.name}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _numbers(value: object) -> Mapping[str, float]:
    found = value if isinstance(value, dict) else {}
    return {str(key): number for key, one in found.items() if (number := _number(one)) is not None}
