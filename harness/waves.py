"""The original suite's test run: waves of rising severity on one target, and a look between them whether it is well.

    report = await concurrent_chaos_runner.start_test_run()

Each wave is one run of one child process: the caller's is never monkey-patched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.contracts import TargetError
from harness.embedded import EmbeddedTwin, TwinRefused
from harness.limits import Limits, exceeded
from harness.metrics import UNITS
from harness.model import Verdict
from harness.plan import Options, build_plan
from harness.suite_check import STOP_FILE, Asked, SuiteRefused, check, length_s, reached
from harness.suite_child import Stopped, last_words, run_child, to_the_end
from harness.suite_entries import Entry, seed_of
from harness.suite_pause import pause
from harness.suite_result import Result, folders_of, result
from harness.suite_run import INTERRUPTED_BECAUSE, Listener
from harness.suite_state import ENDED, INTERRUPTED, RUNNING, Row
from harness.target import ManifestTarget
from harness.wave import SIGN, side_by_side, wave_id
from harness.wave_groups import Group, Member, groups
from harness.wave_shares import Share, shares
from harness.wave_state import WaveRow, WaveState, escalated, leave_escalation, leave_incident, not_run
from harness.wave_steady import unsteady

OUT = Path("logs/chaos")
DEFAULT = ("waves",)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is to be run: the entries by id, and the waves that they make on this target."""

    entries: dict[str, Entry]
    groups: tuple[Group, ...]
    lacking: dict[str, str]
    lengths_s: dict[str, float]


def prepare(found: Sequence[Entry], asked: Asked, target: ManifestTarget) -> Prepared:
    """Raises SuiteRefused for scenarios that cannot be told apart."""
    entries = {one.scenario_id: one for one in found}
    if len(entries) < len(found):
        twice = next(one.scenario_id for one in found if [x.scenario_id for x in found].count(one.scenario_id) > 1)
        raise SuiteRefused(f"{twice}: two scenarios have this id; in waves each needs its own")
    lacking = {one.scenario_id: one.lacks for one in found if one.lacks or one.scenario is None}
    members, lengths_s = [], {}
    for name, one in entries.items():
        if name in lacking or one.scenario is None:
            continue
        options = Options(seed=asked.seed, time_scale=asked.time_scale, users=asked.users)
        plan, _ = build_plan(one.scenario, target, options, UNITS)
        lengths_s[name] = length_s(plan)
        if plan.not_applicable:
            lacking[name] = "; ".join(plan.not_applicable)
            continue
        conflicts = one.scenario.conflicts_with
        members.append(Member(scenario_id=name, severity=one.severity, conflicts_with=conflicts, plan=plan))
    made = groups(members, _too_much)
    return Prepared(entries=entries, groups=tuple(made), lacking=lacking, lengths_s=lengths_s)


def _too_much(members: Sequence[Member]) -> str:
    whole = side_by_side("wave", "", [one.plan for one in members])
    return "; ".join(exceeded(Limits().lifted(whole.unsafe), whole.steps, whole.users))


def begin(asked: Asked, made: Prepared) -> WaveState:
    """Rows in the order of the waves; what cannot run is a row too, with its reason."""
    waves = tuple(
        WaveRow(
            number=one.number,
            severity=one.severity,
            scenarios=one.members,
            apart=one.apart,
            scenario_id=wave_id(one.members),
        )
        for one in made.groups
    )
    rows = []
    for wave in waves:
        seed = seed_of(asked.seed, wave.scenario_id)
        for name in wave.scenarios:
            one = replace(made.entries[name], expected_s=made.lengths_s[name])
            rows.append(replace(Row.of(one, asked.seed), seed=seed))
    for name, why in made.lacking.items():
        rows.append(Row.of(replace(made.entries[name], lacks=why), asked.seed))
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return WaveState(asked=asked, stamp=stamp, rows=tuple(rows), waves=waves)


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
            found = await self._one(wave)
            if not self._goes_on(wave, found):
                return

    async def _steady(self, wave: WaveRow) -> bool:
        """Whether the target is well before *wave*; when it is not, that is escalated."""
        waited = await pause(lambda: unsteady(self.target))
        trouble = await asyncio.to_thread(unsteady, self.target)  # a busy machine alone is for the baseline to judge
        self.state = self.state.with_wave(wave.number, paused_s=waited.waited_s, steady_before=trouble)
        if not trouble:
            return True
        before = self.state.waves[wave.number - 2]
        row = self.state.rows[self.state.row_number(before.scenarios[0])]
        stopped = self._left(before.number)
        one = escalated(
            row, before.number, None, stopped, f"{waited.waited_s:g} s after wave {before.number}: {trouble}"
        )
        self._escalate(one, before.number)
        return self.keep_going

    def _goes_on(self, wave: WaveRow, found: Sequence[Share]) -> bool:
        for share in found:
            if share.verdict is Verdict.FAIL:
                row = self.state.rows[self.state.row_number(share.scenario_id)]
                self._escalate(escalated(row, wave.number, share, self._left(wave.number)), wave.number)
        return self.keep_going or not any(share.verdict is Verdict.FAIL for share in found)

    def _left(self, after: int) -> tuple[str, ...]:
        if self.keep_going:
            return ()
        return tuple(name for one in self.state.waves if one.number > after for name in one.scenarios)

    def _escalate(self, one: Any, wave: int) -> None:
        leave_escalation(self.state.asked.out, one)
        self.state = replace(self.state, escalations=(*self.state.escalations, one))
        if not self.keep_going:
            self.state = not_run(self.state, wave, f"wave {wave} was escalated: {one.scenario_id}: {one.claim}")
        self.state.write()

    async def _one(self, wave: WaveRow) -> list[Share]:
        asked, number = self.state.asked, self.state.row_number(wave.scenarios[0])
        log = f"chaos_report_{self.state.stamp}/{wave.number:02}_{wave.scenario_id}.log"
        waits = {"state": RUNNING, "because": "it has not ended yet", "log": log}
        self.state = self.state.with_scenarios(wave.scenarios, **waits).with_wave(wave.number, state=RUNNING)
        self.state.write()
        self.listener.scenario(self.state, number)
        before = folders_of(asked.out, wave.scenario_id)
        started_s, stopped = time.monotonic(), False

        def hear(lines: list[str]) -> None:
            self.listener.printed(self.state, number, time.monotonic() - started_s, lines)

        try:
            code = await run_child(self._command(wave), asked.out / log, hear)
        except Stopped as stop:
            stopped, code = True, stop.code

        def read() -> tuple[Result, list[Share]]:
            seed = self.state.rows[number].seed
            fresh = folders_of(asked.out, wave.scenario_id) - before
            found = result(fresh, wave.scenario_id, seed, code, last_words(asked.out / log))
            return found, shares(found.folder) if found.folder and _is_judged(found, code) else []

        async def note() -> list[Share]:
            found, parts = await asyncio.to_thread(read)
            return self._note(wave, found, parts, code, time.monotonic() - started_s, stopped)

        parts = await to_the_end(note())
        if stopped:
            raise asyncio.CancelledError
        return parts

    def _command(self, wave: WaveRow) -> list[str]:
        asked = replace(self.state.asked, host=self.target.base_url, target=str(self.target.file))
        asked = replace(asked, safeguards_off="", plant="")  # the target runs already, without them and with them
        word = SIGN.join(self.made.entries[name].word for name in wave.scenarios)
        return asked.command(word, self.state.rows[self.state.row_number(wave.scenarios[0])].seed)

    def _note(
        self, wave: WaveRow, found: Result, parts: list[Share], code: int, took_s: float, stopped: bool
    ) -> list[Share]:
        """Writes down how a wave ended, for each of its scenarios; what has no share of it is INCONCLUSIVE."""
        asked, by_id = self.state.asked, {one.scenario_id: one for one in parts}
        cut = stopped and found.verdict not in (Verdict.PASS, Verdict.FAIL)
        folder = str(found.folder.relative_to(asked.out)) if found.folder else ""
        ended = {"exit_code": code, "run_folder": folder, "took_s": round(took_s, 1)}
        for name in wave.scenarios:
            share = by_id.get(name)
            answer = share.verdict if share and not cut else Verdict.INCONCLUSIVE
            why = INTERRUPTED_BECAUSE if cut else share.because if share else found.because
            self.state = self.state.with_scenarios(
                (name,), state=INTERRUPTED if cut else ENDED, verdict=answer.value, because=why, **ended
            )
            if share:
                row = self.state.rows[self.state.row_number(name)]
                leave_incident(asked.out, row, share, self.made.entries[name].path)
        verdicts = [Verdict(self.state.rows[self.state.row_number(name)].verdict) for name in wave.scenarios]
        whole = {"state": INTERRUPTED if cut else ENDED, "verdict": Verdict.worst(verdicts).value}
        self.state = self.state.with_wave(wave.number, **whole, **ended)
        self.state.write()
        self.listener.ended(self.state, self.state.row_number(wave.scenarios[0]))
        return parts


def _is_judged(found: Result, code: int) -> bool:
    """Whether its process has said what its folder says; else nothing of it counts."""
    return (found.folder is not None) and (found.folder / "incident.json").exists() and found.verdict.exit_code == code


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
        asked = Asked(
            scenarios=tuple(scenarios),
            out=Path(out),
            seed=seed,
            time_scale=time_scale,
            safeguards_off=",".join(safeguards_off),
            plant=",".join(plant),
            host=host,
            target=str(target),
            allow_host=",".join(allow_host),
            users=users,
            shared=True,
        ).drawn()
        return await start_waves(asked, keep_going, listener)


async def start_waves(asked: Asked, keep_going: bool = False, listener: Listener | None = None) -> dict[str, Any]:
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
        return await Waves(begin(asked, made), made, target, keep_going, listener or Listener()).run()
    finally:
        if twin is not None:
            await to_the_end(asyncio.to_thread(twin.stop))


concurrent_chaos_runner = ConcurrentChaosRunner()
