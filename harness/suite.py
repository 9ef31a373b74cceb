"""The way in from Python: `await enhanced_chaos_runner.run_scenario("MF01_triple_threat")`.

A child process runs Locust, so the caller's process is never monkey-patched.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from harness import scenario as scenarios
from harness.scenario import Scenario

ROOT = Path(__file__).resolve().parents[1]


class RunRefused(Exception):
    """The run did not start, or left no incident; the text is what it said."""


class EnhancedChaosRunner:
    """Runs shipped scenarios and files of the user's own."""

    @property
    def scenarios(self) -> list[Scenario]:
        return scenarios.find("all")

    async def run_scenario(
        self,
        scenario: str,
        *,
        time_scale: float = 1.0,
        seed: int = 0,
        out: Path = Path("logs/chaos_enhanced"),
        safeguards_off: tuple[str, ...] = (),
        control: bool = False,
    ) -> dict[str, Any]:
        """The incident of one run, as incident.json has it. Raises RunRefused in words."""
        before = set(out.glob("*/*/incident.json"))
        words = ["--headless", "--scenario", scenario, "--time-scale", str(time_scale), "--seed", str(seed)]
        words += ["--out", str(out.resolve())]
        words += ["--safeguards-off", ",".join(safeguards_off)] if safeguards_off else []
        words += ["--control"] if control else []
        locustfile = str(ROOT / "locustfiles" / "grace.py")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "locust",
            "-f",
            locustfile,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        fresh = set(out.glob("*/*/incident.json")) - before
        if len(fresh) != 1:
            raise RunRefused(said.decode(errors="replace")[-2000:])
        incident: dict[str, Any] = json.loads(fresh.pop().read_text(encoding="utf-8"))
        return incident


enhanced_chaos_runner = EnhancedChaosRunner()
