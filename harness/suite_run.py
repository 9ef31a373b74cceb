"""A suite: scenarios one after the other, each with Locust in a process of its own; the report after each.

Cancelled, the running scenario heals first, and the report says what is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.contracts import TargetError
from harness.embedded import EmbeddedTwin, TwinRefused
from harness.model import Verdict
from harness.suite_check import STOP_FILE, Asked, SuiteRefused, check, reached, unwell
from harness.suite_child import Ended, Job, run_job, to_the_end
from harness.suite_entries import Entry
from harness.suite_pause import pause
from harness.suite_result import is_of, judged_again
from harness.suite_state import ENDED, INTERRUPTED, RUNNING, Row, State, begin, read_state
from harness.target import ManifestTarget

INTERRUPTED_BECAUSE = "the suite was interrupted while it ran"
NOT_ENDED = "it has not ended yet"


class Listener:
    """Is told how a suite goes on. This one is silent; harness/suite_console.py has one that prints."""

    def begun(self, state: State) -> None: ...

    def scenario(self, state: State, number: int) -> None:
        """The scenario *number* (from 0) begins."""

    def printed(self, state: State, number: int, elapsed_s: float, lines: Sequence[str]) -> None:
        """Several times a second: what its process has newly printed."""

    def ended(self, state: State, number: int) -> None: ...

    def over(self, state: State) -> None: ...


class Suite:
    """Runs what of *state* has not ended; writes the report before and after each scenario."""

    def __init__(self, state: State, listener: Listener | None = None) -> None:
        self.state = state
        self.listener = listener or Listener()
        self.twin: EmbeddedTwin | None = None
        self.target: ManifestTarget | None = None  # one that stays for the whole suite

    async def run(self) -> dict[str, Any]:
        """The report. Cancelled, it is written all the same, and CancelledError goes on."""
        self.state.write()
        self.listener.begun(self.state)
        try:
            await self._open()
            await self._all()
        except asyncio.CancelledError:
            self.state = replace(self.state, cut="interrupted")
            raise
        except (TargetError, TwinRefused, RuntimeError) as error:  # the shared target is not there any more
            self.state = replace(self.state, cut=str(error))
        finally:
            try:
                if self.twin is not None:
                    await to_the_end(asyncio.to_thread(self.twin.stop))
            finally:
                report = self.state.write()
                self.listener.over(self.state)
        return report

    async def _open(self) -> None:
        """The target that all scenarios share, if they do."""
        asked = self.state.asked
        if asked.target:
            self.target = await asyncio.to_thread(reached, asked)
        elif asked.shared:
            self.twin = EmbeddedTwin(asked.safeguards_off, asked.plant)
            self.target = await to_the_end(asyncio.to_thread(self.twin.wait))

    async def _all(self) -> None:
        first = True
        for number, row in enumerate(self.state.rows):
            if row.state == ENDED:
                continue
            stop_file = self.state.asked.out / STOP_FILE
            if stop_file.exists():
                self.state = replace(self.state, cut=f"halted by the stop file {stop_file}")
                return
            if not first:
                await self._pause(number)
            first = False
            await self._one(number)

    async def _pause(self, number: int) -> None:
        target = self.target
        waited = await pause(lambda: unwell(target) if target is not None else "")
        self.state = self.state.with_row(number, paused_s=waited.waited_s, pause_because=waited.because)

    async def _one(self, number: int) -> None:
        row, asked = self.state.rows[number], self.state.asked
        log = f"chaos_report_{self.state.stamp}/{number + 1:02}_{row.scenario_id}.log"
        self.state = self.state.with_row(number, state=RUNNING, because=NOT_ENDED, log=log)
        self.state.write()
        self.listener.scenario(self.state, number)

        def hear(elapsed_s: float, lines: list[str]) -> None:
            self.listener.printed(self.state, number, elapsed_s, lines)

        async def note(ended: Ended) -> None:
            self._note(number, ended)

        words = self._command(number)
        job = Job(words=words, out=asked.out, scenario_id=row.scenario_id, seed=row.seed, log=asked.out / log)
        await run_job(job, hear, note)

    def _command(self, number: int) -> list[str]:
        asked, row = self.state.asked, self.state.rows[number]
        if self.twin is not None and self.target is not None:
            asked = replace(asked, host=self.target.base_url, target=str(self.target.file))
            asked = replace(asked, safeguards_off="", plant="")  # it is started without them, and with them, already
        return asked.command(row.word, row.seed)

    def _note(self, number: int, ended: Ended) -> None:
        """Writes down how it ended. A run that was stopped by us and is decided all the same has ended by itself."""
        found = ended.result
        self.state = self.state.with_row(
            number,
            state=INTERRUPTED if ended.cut else ENDED,
            verdict=Verdict.INCONCLUSIVE.value if ended.cut else found.verdict.value,
            because=INTERRUPTED_BECAUSE if ended.cut else found.because,
            exit_code=ended.code,
            run_folder=str(found.folder.relative_to(self.state.asked.out)) if found.folder else "",
            timeline_head=found.head,
            took_s=round(ended.took_s, 1),
        )
        self.state.write()
        self.listener.ended(self.state, number)


def resumed(path: Path) -> State:
    """The suite of a report, to go on with. What has ended is judged again, and runs again when it does not hold."""
    state = read_state(path)
    found = {one.word: one for one in check(state.asked)}
    missing = [row.word for row in state.rows if row.word not in found]
    if missing:
        raise SuiteRefused(f"{path}: these are not there any more: {', '.join(missing)}")
    fresh = begin(state.asked, [found[row.word] for row in state.rows])
    both = zip(state.rows, fresh.rows, strict=True)
    rows = tuple(old if _holds(old, found[old.word], state.asked.out) else new for old, new in both)
    return replace(state, rows=rows, cut="")


def _holds(row: Row, entry: Entry, out: Path) -> bool:
    """Whether what the report says of a scenario is still so: its run folder says the same, of the same file and seed.

    A folder that ends with another event than the report says is not the one that the report is of.
    """
    if row.state != ENDED or entry.lacks or not row.run_folder:
        return False
    folder = out / row.run_folder
    try:
        same = (folder / "scenario.yaml").read_bytes() == entry.path.read_bytes()
    except OSError:
        return False
    if not same or ((folder / "plan.json").is_file() and not is_of(folder, row.scenario_id, row.seed)):
        return False
    if row.verdict == Verdict.INCONCLUSIVE.value:
        return True  # it shows nothing, whatever its folder says
    again = judged_again(folder)
    return again.verdict.value == row.verdict and row.timeline_head in ("", again.head)


async def start_suite(asked: Asked, listener: Listener | None = None) -> dict[str, Any]:
    """Runs a suite from its beginning. Raises SuiteRefused before anything has started."""
    asked = asked.drawn()
    found = await to_the_end(asyncio.to_thread(check, asked))
    return await Suite(begin(asked, found), listener).run()


async def resume_suite(path: Path, listener: Listener | None = None) -> dict[str, Any]:
    """Goes on with the suite of a report file, or with the newest unfinished one of a folder."""
    return await Suite(await to_the_end(asyncio.to_thread(resumed, path)), listener).run()
