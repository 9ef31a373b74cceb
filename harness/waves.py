"""The original suite's test run: waves of rising severity on one target, and a look between them whether it is well.

    report = await concurrent_chaos_runner.start_test_run()

Each wave is one run of one child process: the caller's is never monkey-patched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from harness.contracts import TargetError
from harness.embedded import EmbeddedTwin, TwinRefused
from harness.limits import Limits, exceeded
from harness.metrics import UNITS
from harness.model import Finding, Plan, Verdict
from harness.plan import Options, build_plan, describe, plan_from_json
from harness.scenario import Scenario, ScenarioError
from harness.suite_check import STOP_FILE, Asked, SuiteRefused, check, length_s, reached
from harness.suite_child import Ended, Job, run_job, to_the_end
from harness.suite_entries import Entry, seed_of
from harness.suite_pause import pause
from harness.suite_run import INTERRUPTED_BECAUSE, NOT_ENDED, Listener
from harness.suite_state import ENDED, INTERRUPTED, RUNNING, Row
from harness.target import ManifestTarget
from harness.wave import SIGN, plan_together, side_by_side, together
from harness.wave_groups import Group, Member, Wanted, groups
from harness.wave_shares import Share, shares
from harness.wave_state import WaveRow, WaveState, escalated, failed, leave_escalation, leave_incident, not_run
from harness.wave_steady import left_in_force, unsteady

OUT = Path("logs/chaos")
DEFAULT = ("waves",)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is to be run: the entries by id, the waves that they make on this target, and the plan of each."""

    entries: dict[str, Entry]
    groups: tuple[Group, ...]
    plans: tuple[Plan, ...]
    lacking: dict[str, str]


def wave_seed(suite_seed: int, number: int) -> int:
    """The seed of all that runs in a wave: known before it is known what that is, so it is planned by it, and run."""
    return seed_of(suite_seed, f"wave {number}")


def prepare(found: Sequence[Entry], asked: Asked, target: ManifestTarget) -> Prepared:
    """Raises SuiteRefused for scenarios that cannot be told apart."""
    entries = {one.scenario_id: one for one in found}
    if len(entries) < len(found):
        twice = next(one.scenario_id for one in found if [x.scenario_id for x in found].count(one.scenario_id) > 1)
        raise SuiteRefused(f"{twice}: two scenarios have this id; in waves each needs its own")
    lacking = {name: one.lacks for name, one in entries.items() if one.lacks or one.scenario is None}
    scenarios = {name: one.scenario for name, one in entries.items() if one.scenario and name not in lacking}

    def options(wave: int) -> Options:
        return Options(seed=wave_seed(asked.seed, wave), time_scale=asked.time_scale, users=asked.users)

    def member(one: Scenario, wave: int) -> Member:
        plan, _ = build_plan(one, target, options(wave), UNITS)
        conflicts = one.conflicts_with
        return Member(scenario_id=one.scenario_id, severity=one.severity, conflicts_with=conflicts, plan=plan)

    wanted = []
    for name, one in scenarios.items():
        if not one.pool and (lacks := member(one, 1).plan.not_applicable):  # of a pool it depends on what is drawn
            lacking[name] = "; ".join(lacks)
        else:
            wanted.append(Wanted(severity=one.severity, in_wave=partial(member, one)))
    made = groups(wanted, _too_much)
    plans = [
        plan_together(together([scenarios[name] for name in one.members]), target, options(one.number), UNITS)[0]
        for one in made
    ]
    return Prepared(entries=entries, groups=tuple(made), plans=tuple(plans), lacking=lacking)


def _too_much(members: Sequence[Member]) -> str:
    whole = side_by_side("wave", "", [one.plan for one in members])
    return "; ".join(exceeded(Limits().lifted(whole.unsafe), whole.steps, whole.users))


def begin(asked: Asked, made: Prepared) -> WaveState:
    """Rows in the order of the waves; what cannot run is a row too, with its reason."""
    waves, rows = [], []
    for group, plan in zip(made.groups, made.plans, strict=True):
        waves.append(
            WaveRow(
                number=group.number,
                severity=group.severity,
                scenarios=group.members,
                apart=group.apart,
                scenario_id=plan.scenario_id,
                seed=plan.seed,
                plan=describe(plan),
                expected_s=length_s(plan),
            )
        )
        for name in group.members:
            one = replace(made.entries[name], expected_s=length_s(plan))
            rows.append(replace(Row.of(one, asked.seed), seed=plan.seed))
    for name, why in made.lacking.items():
        rows.append(Row.of(replace(made.entries[name], lacks=why), asked.seed))
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return WaveState(asked=asked, stamp=stamp, rows=tuple(rows), waves=tuple(waves))


class Waves:
    """Runs the waves of *state* on *target*; writes the report before and after each."""

    def __init__(
        self, state: WaveState, made: Prepared, target: ManifestTarget, keep_going: bool, listener: Listener
    ) -> None:
        self.state = state
        self.made = made
        self.target = target
        self.keep_going = keep_going
        self.listener = listener

    async def run(self) -> dict[str, Any]:
        """The report. Cancelled, it is written all the same, and CancelledError goes on."""
        self.state.write()
        self.listener.begun(self.state)
        try:
            await self._all()
        except asyncio.CancelledError:
            self.state = replace(self.state, cut="interrupted")
            raise
        finally:
            report = self.state.write()
            self.listener.over(self.state)
        return report

    async def _all(self) -> None:
        for wave in self.state.waves:
            stop_file = self.state.asked.out / STOP_FILE
            if stop_file.exists():
                self.state = replace(self.state, cut=f"halted by the stop file {stop_file}")
                return
            if wave.number > 1 and not await self._steady(wave):
                return
            ended, found = await self._one(wave)
            goes_on = self._goes_on(wave, found)
            if await self._left_in_force(wave, ended) or not goes_on:
                return

    # May the next wave run?

    async def _steady(self, wave: WaveRow) -> bool:
        """Whether the target is well before *wave*; when it is not, that is escalated."""
        waited = await pause(lambda: unsteady(self.target))
        trouble = await asyncio.to_thread(unsteady, self.target)  # a busy machine alone is for the baseline to judge
        self.state = self.state.with_wave(wave.number, paused_s=waited.waited_s, steady_before=trouble)
        if not trouble:
            return True
        before = self.state.waves[wave.number - 2]
        because = f"{waited.waited_s:g} s after wave {before.number}: {trouble}"
        self._escalate(before, before.scenarios[0], _found("the target is steady between two waves", because))
        return self.keep_going

    async def _left_in_force(self, wave: WaveRow, ended: Ended) -> bool:
        """Whether a fault of *wave* is not taken back: then no more may be done to this target, whatever was asked."""
        left = await asyncio.to_thread(left_in_force, ended.folders)
        if not left:
            return False
        because = f"not taken back: {left}; try: grace-chaos heal {self.state.asked.out}"
        for name in wave.scenarios:
            row = self.state.rows[self.state.row_number(name)]
            if row.verdict != Verdict.FAIL.value:
                self.state = self.state.with_scenarios(
                    (name,), verdict=Verdict.INCONCLUSIVE.value, because=because
                ).with_wave(wave.number, verdict=Verdict.INCONCLUSIVE.value)
        self._escalate(wave, wave.scenarios[0], _found("every fault is taken back after a wave", because), final=True)
        return True

    def _goes_on(self, wave: WaveRow, found: Sequence[Share]) -> bool:
        red = [share for share in found if share.verdict is Verdict.FAIL]
        for share in red:
            self._escalate(wave, share.scenario_id, failed(share))
        return self.keep_going or not red

    def _escalate(self, wave: WaveRow, scenario_id: str, why: Finding, final: bool = False) -> None:
        """What comes after *wave* is not run for it, unless it was asked to keep going and that can be."""
        ends = final or not self.keep_going
        stopped = tuple(name for one in self.state.waves if ends and one.number > wave.number for name in one.scenarios)
        one = escalated(self.state.rows[self.state.row_number(scenario_id)], wave.number, stopped, why)
        leave_escalation(self.state.asked.out, one)
        self.state = replace(self.state, escalations=(*self.state.escalations, one))
        if ends:
            why_not = f"wave {wave.number} was escalated: {scenario_id}: {one.claim}"
            self.state = not_run(self.state, wave.number, why_not)
        self.state.write()

    # A wave

    async def _one(self, wave: WaveRow) -> tuple[Ended, list[Share]]:
        asked, number = self.state.asked, self.state.row_number(wave.scenarios[0])
        log = f"chaos_report_{self.state.stamp}/{wave.number:02}_{wave.scenario_id}.log"
        waits = {"state": RUNNING, "because": NOT_ENDED, "log": log}
        self.state = self.state.with_scenarios(wave.scenarios, **waits).with_wave(wave.number, state=RUNNING)
        self.state.write()
        self.listener.scenario(self.state, number)

        def hear(elapsed_s: float, lines: list[str]) -> None:
            self.listener.printed(self.state, number, elapsed_s, lines)

        async def note(ended: Ended) -> tuple[Ended, list[Share]]:
            found, parts = await asyncio.to_thread(_shared, ended, wave)
            self._note(wave, ended, found, parts)
            return ended, parts

        words = self._command(wave)
        job = Job(words=words, out=asked.out, scenario_id=wave.scenario_id, seed=wave.seed, log=asked.out / log)
        return await run_job(job, hear, note)

    def _command(self, wave: WaveRow) -> list[str]:
        asked = replace(self.state.asked, host=self.target.base_url, target=str(self.target.file))
        asked = replace(asked, safeguards_off="", plant="")  # the target runs already, without them and with them
        return asked.command(SIGN.join(self.made.entries[name].word for name in wave.scenarios), wave.seed)

    def _note(self, wave: WaveRow, ended: Ended, because: str, parts: list[Share]) -> None:
        """Writes down how a wave ended, for each of its scenarios; what has no share of it is INCONCLUSIVE."""
        asked, by_id = self.state.asked, {one.scenario_id: one for one in parts}
        folder = ended.result.folder
        place = str(folder.relative_to(asked.out)) if folder else ""
        state = INTERRUPTED if ended.cut else ENDED
        told = {"state": state, "exit_code": ended.code, "run_folder": place, "took_s": round(ended.took_s, 1)}
        for name in wave.scenarios:
            share = by_id.get(name)
            answer = share.verdict if share and not ended.cut else Verdict.INCONCLUSIVE
            why = INTERRUPTED_BECAUSE if ended.cut else share.because if share else because
            mine = {"verdict": answer.value, "because": why, "timeline_head": ended.result.head}
            self.state = self.state.with_scenarios((name,), **mine, **told)
            if share:
                row = self.state.rows[self.state.row_number(name)]
                leave_incident(asked.out, row, share, self.made.entries[name].path)
        verdicts = [Verdict(self.state.rows[self.state.row_number(name)].verdict) for name in wave.scenarios]
        self.state = self.state.with_wave(wave.number, verdict=Verdict.worst(verdicts).value, **told)
        self.state.write()
        self.listener.ended(self.state, self.state.row_number(wave.scenarios[0]))


def _found(claim: str, because: str) -> Finding:
    return Finding(check="", verdict=Verdict.INCONCLUSIVE, claim=claim, because=because)


def _shared(ended: Ended, wave: WaveRow) -> tuple[str, list[Share]]:
    """(why there are none, the shares). A process that does not say what its folder says has shown nothing, nor has
    one that did another thing than was printed.
    """
    found, folder = ended.result, ended.result.folder
    if folder is None or not (folder / "incident.json").exists() or found.verdict.exit_code != ended.code:
        return found.because, []
    plan = describe(plan_from_json((folder / "plan.json").read_text(encoding="utf-8")))
    if plan != wave.plan:
        other = next((line for line in plan.splitlines() if line not in wave.plan.splitlines()), "less than that")
        return f"its plan is not the one that was printed: {other.strip()}", []
    return found.because, shares(folder)


class ConcurrentChaosRunner:
    """Runs the original suite, and any other scenarios, in waves."""

    async def start_test_run(
        self,
        scenarios: Sequence[str] = DEFAULT,
        *,
        time_scale: float = 1.0,
        seed: int = 0,
        out: Path | str = OUT,
        keep_going: bool = False,
        safeguards_off: Sequence[str] = (),
        plant: Sequence[str] = (),
        host: str = "",
        target: Path | str = "",
        allow_host: Sequence[str] = (),
        users: int | None = None,
        listener: Listener | None = None,
    ) -> dict[str, Any]:
        """The report, as chaos_report_<utc>.json has it. Raises SuiteRefused, in words, before anything has started.

        *scenarios*: ids, categories, files. *keep_going*: also after a wave that failed. Cancelled, the running wave
        heals, the report is written, and nothing is left.
        """
        asked = Asked.of(
            scenarios,
            time_scale=time_scale,
            seed=seed,
            out=out,
            safeguards_off=safeguards_off,
            plant=plant,
            host=host,
            target=target,
            allow_host=allow_host,
            users=users,
        )
        return await start_waves(asked, keep_going, listener)


async def start_waves(asked: Asked, keep_going: bool = False, listener: Listener | None = None) -> dict[str, Any]:
    """Runs them from the beginning, all on one target. Raises SuiteRefused before anything has started."""
    asked = replace(asked, shared=True).drawn()
    found = await to_the_end(asyncio.to_thread(check, asked))
    twin: EmbeddedTwin | None = None
    try:
        try:
            if asked.target:
                target = await asyncio.to_thread(reached, asked)
            else:
                twin = EmbeddedTwin(asked.safeguards_off, asked.plant)
                target = await to_the_end(asyncio.to_thread(twin.wait))
            made = await asyncio.to_thread(prepare, found, asked, target)
        except (TargetError, TwinRefused) as error:
            raise SuiteRefused(f"the target is not there: {error}") from None
        except ScenarioError as error:
            raise SuiteRefused(str(error)) from None
        return await Waves(begin(asked, made), made, target, keep_going, listener or Listener()).run()
    finally:
        if twin is not None:
            await to_the_end(asyncio.to_thread(twin.stop))


concurrent_chaos_runner = ConcurrentChaosRunner()
