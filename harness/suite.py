"""The way in from Python, as the document has it:

    report = await enhanced_chaos_runner.run_full_suite(categories=["multi_fault"])
    incident = await enhanced_chaos_runner.run_scenario("MF01_triple_threat")

Locust runs in child processes, so the caller's process is never monkey-patched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.scenario import ALL, CATEGORIES, ScenarioError
from harness.suite_check import Asked, SuiteRefused, as_list
from harness.suite_child import Ended, Job, run_job
from harness.suite_entries import Entry, entries
from harness.suite_result import incident_in
from harness.suite_run import Listener, resume_suite, start_suite

RunRefused = SuiteRefused  # nothing has started, or it left no incident; the text is what it said
OUT = Path("logs/chaos_enhanced")


class EnhancedChaosRunner:
    """Runs shipped scenarios and files of the user's own."""

    @property
    def scenarios(self) -> list[Entry]:
        """Every shipped scenario; `one["scenario_id"]` and `one.scenario_id` are the same."""
        return entries([ALL])

    async def run_full_suite(
        self,
        categories: Sequence[str] | None = None,
        *,
        scenarios: Sequence[str | Entry] = (),
        time_scale: float = 1.0,
        seed: int = 0,
        out: Path | str = OUT,
        safeguards_off: Sequence[str] = (),
        plant: Sequence[str] = (),
        control: bool = False,
        host: str = "",
        target: Path | str = "",
        allow_host: Sequence[str] = (),
        shared: bool = False,
        resume: Path | str | None = None,
        listener: Listener | None = None,
    ) -> dict[str, Any]:
        """The report of the suite, as chaos_report_<utc>.json has it. Raises RunRefused, in words.

        Of *categories* and *scenarios* (ids, files) all run; of neither, everything. *shared*: one target for all
        of them, not a fresh one each. *resume*: a report file, or a folder with an unfinished one; the rest is
        taken from it. Cancelled, the running scenario heals, the report is written, and nothing is left.
        """
        if resume is not None:
            if categories is not None or scenarios:
                raise RunRefused("resume goes on with what was begun: name no category and no scenario")
            return await resume_suite(Path(resume), listener)
        asked = Asked.of(
            _words(categories, scenarios),
            time_scale=time_scale,
            seed=seed,
            out=out,
            safeguards_off=safeguards_off,
            plant=plant,
            control=control,
            host=host,
            target=target,
            allow_host=allow_host,
            shared=shared,
        )
        return await start_suite(asked, listener)

    async def run_scenario(
        self,
        scenario: str | Entry,
        *,
        time_scale: float = 1.0,
        seed: int = 0,
        out: Path | str = OUT,
        safeguards_off: Sequence[str] = (),
        plant: Sequence[str] = (),
        control: bool = False,
    ) -> dict[str, Any]:
        """The incident of one run, as incident.json has it. Raises RunRefused in words."""
        asked = Asked.of(
            _word(scenario),
            time_scale=time_scale,
            seed=seed,
            out=out,
            safeguards_off=safeguards_off,
            plant=plant,
            control=control,
        )
        try:
            found = entries(asked.scenarios)
        except ScenarioError as error:
            raise RunRefused(str(error)) from None
        if len(found) > 1:
            raise RunRefused("one scenario a run: " + ", ".join(one.word for one in found))
        one = found[0]
        words = asked.command(one.word, asked.seed)
        with tempfile.TemporaryDirectory(prefix="grace-run-") as beside:
            log = Path(beside) / "log"
            job = Job(words=words, out=asked.out, scenario_id=one.scenario_id, seed=asked.seed, log=log)
            answer = (await run_job(job, lambda elapsed_s, lines: None, _as_it_is)).result
        incident = incident_in(answer.folder) if answer.folder else {}
        if not incident:
            raise RunRefused(answer.because)
        success = answer.verdict.value == "PASS"
        return {**incident, "verdict": answer.verdict.value, "success": success, "because": answer.because}


async def _as_it_is(ended: Ended) -> Ended:
    return ended


def _words(categories: Sequence[str] | None, scenarios: Sequence[str | Entry] | Entry) -> list[str]:
    """What a suite is asked for. Raises RunRefused for what is no category."""
    if categories is None and not scenarios:
        return [ALL]
    named = as_list(categories or ())
    words = [*named, *map(_word, [scenarios] if isinstance(scenarios, str | Entry) else scenarios)]
    unknown = [word for word in named if word not in (ALL, *CATEGORIES)]
    if unknown or not words:
        known = ", ".join((*CATEGORIES, ALL))
        raise RunRefused(f"no category is called {unknown[0]!r}. Known: {known}" if unknown else f"Known: {known}")
    return words


def _word(scenario: str | Entry) -> str:
    return scenario if isinstance(scenario, str) else scenario.word


enhanced_chaos_runner = EnhancedChaosRunner()
