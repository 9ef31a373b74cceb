"""A randomized scenario with many seeds, a verdict each: `python -m benchmarks.seeds [--seeds N,...] [--scenario ID]`.

Each seed is one headless run. A seed is red when its run crashed or has no verdict, when a check crashed, or when the
order of the injections is not that of the plan; a verdict of any kind is an answer. The table goes to
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "seeds.md"
SEEDS = tuple(range(11, 21))
LIMIT_S = 600.0
VERDICTS = {0: "PASS", 1: "FAIL", 3: "INCONCLUSIVE", 4: "NOT_APPLICABLE"}


@dataclass(frozen=True)
class Outcome:
    """What became of one seed. *wrong*: why it counts as red; "" when it does not."""

    seed: int
    verdict: str
    drawn: tuple[str, ...]
    because: str  # what was not green
    took_s: float
    wrong: str = ""


def run(scenario: str, time_scale: float, seed: int, out: Path) -> Outcome:
    """One run, in a process of its own."""
    words = ["--scenario", scenario, "--time-scale", f"{time_scale:g}", "--seed", str(seed), "--out", str(out)]
    command = [sys.executable, "-m", "locust", "-f", "locustfiles/grace.py", "--headless", *words]
    began_s = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(seed, "", (), "", LIMIT_S, f"no end in {LIMIT_S:g} s")
    took_s = time.monotonic() - began_s
    folders = [path.parent for path in out.glob("*/*/findings.json")]
    if "Traceback" in done.stdout + done.stderr or len(folders) != 1:
        last = " ".join((done.stdout + done.stderr).split())[-200:]
        return Outcome(seed, "", (), "", took_s, f"it crashed: {last}")
    return read(folders[0], seed, done.returncode, took_s)


def read(folder: Path, seed: int, exit_code: int, took_s: float) -> Outcome:
    """What a run folder and its exit code say."""
    found = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "timeline.jsonl").read_text(encoding="utf-8").splitlines()]
    drawn = tuple(step["step_id"] for step in plan["steps"])
    injected = tuple(row["subject"] for row in rows if row["kind"] == "fault_injected")
    bad = [one for one in found if one["verdict"] != "PASS"]
    bad.sort(key=lambda one: (one["verdict"] != "FAIL", one["check"] != "baseline_steady", one["group"] != "validity"))
    first = bad[0] if bad else None
    because = f"{first['claim']}: {first['because']}" if first else ""
    wrong = [f"exit code {exit_code}"] if exit_code not in VERDICTS else []
    wrong += [one["because"] for one in found if "the check crashed" in one["because"]]
    wrong += ["the faults began in another order"] if injected != drawn[: len(injected)] else []
    return Outcome(seed, VERDICTS.get(exit_code, ""), drawn, because, took_s, "; ".join(wrong))


def table(scenario: str, time_scale: float, outcomes: list[Outcome]) -> str:
    machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    red = sum(bool(one.wrong) for one in outcomes)
    lines = [
        f"# {scenario} with {len(outcomes)} seeds",
        "",
        f"Time scale {time_scale:g}. {datetime.now(UTC):%Y-%m-%d}, {machine}. {len(outcomes) - red} of {len(outcomes)}"
        " runs came to a verdict, with the injections in the order of their plan.",
        "",
        "| seed | verdict | drawn, in order | took | what was not green |",
        "|---|---|---|---|---|",
    ]
    for one in outcomes:
        why = (one.wrong or one.because).replace("|", "/")[:160]
        lines.append(f"| {one.seed} | {one.verdict or 'NONE'} | {', '.join(one.drawn)} | {one.took_s:.0f} s | {why} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", default="MF03_randomized_assault")
    parser.add_argument("--time-scale", type=float, default=0.1)
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), metavar="N,...")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    outcomes = []
    for seed in [int(word) for word in options.seeds.split(",")]:
        with tempfile.TemporaryDirectory() as folder:
            one = run(options.scenario, options.time_scale, seed, Path(folder))
        print(f"{one.seed}\t{one.verdict or 'NONE'}\t{one.took_s:.0f} s\t{one.wrong or one.because}", flush=True)
        outcomes.append(one)
        options.out.write_text(table(options.scenario, options.time_scale, outcomes), encoding="utf-8")
    return 1 if any(one.wrong for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
