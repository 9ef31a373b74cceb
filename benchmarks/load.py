"""What a request costs us, beside the field's tools: `python -m benchmarks.load [--rounds N] [--quick] [--only X]`.

Four contests: nginx that answers at once, a server that takes its time, an open loop while the server stands still for
a second, and the embedded Grace without its rate limiter. The tools take turns in an order that each round shuffles;
each run has a server of its own, the generator has one core and the server another. The table goes to
benchmarks/results/, with what is promised and whether it held. Exit code 1: something did not; 2: it can't be
measured here; 3: somebody else uses the machine.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import load_bounds as judged
from benchmarks import load_measure as measure
from benchmarks.fidelity import Busy, wait_for_quiet
from benchmarks.load_bounds import FLAT, SLOW, STALL, STALL_RATES, TWIN, Results, Sample, stall_name
from benchmarks.load_server import SLOW_MS, WHERE, ServerError, body
from benchmarks.load_tools import (
    AT_TWIN,
    CONNECTIONS,
    FAST,
    GREEN,
    OURS,
    PROGRAMS,
    TOOLS,
    WRK,
    Tool,
    Unreadable,
    at_rate,
    hey_at_rate,
)

RESULTS = Path(__file__).parent / "results" / "load.md"
IDLE_S = 1.0
STALL_S = 1.0
PROBE = 1_000  # requests by which it is seen that ids are unique
PACKAGES = ("nginx", "wrk", "hey", "nghttp2-client", "apache2-utils")


@dataclass(frozen=True)
class Lengths:
    """How long things take: in earnest, and to see that it works."""

    run_s: float = 3.0
    slow_requests: int = 10_000
    stall_total_s: float = 8.0
    intents: int = 15_000


QUICK = Lengths(run_s=1.0, slow_requests=2_000, stall_total_s=4.0, intents=6_000)


@dataclass(frozen=True)
class Turn:
    contest: str
    tool: str
    take: Callable[[], Sample]


def rounded_up(requests: float) -> int:
    """A multiple of the connections, because hey drops what is over."""
    return max(CONNECTIONS, -(-int(requests) // CONNECTIONS) * CONNECTIONS)


def piloted(tool: Tool, folder: Path, run_s: float) -> int:
    """How many requests *tool* needs to be busy for *run_s*, found out by a short run."""
    probe = rounded_up(tool.pilot)
    found = measure.at_nginx(tool, folder, probe, 1.0)
    print(f"  pilot: {tool.name} {found.per_s:,.0f}/s", flush=True)
    return rounded_up(found.per_s * run_s)


def flat_turns(folder: Path, lengths: Lengths) -> list[Turn]:
    counts = {tool: piloted(tool, folder, lengths.run_s) for tool in TOOLS}
    return [
        Turn(FLAT, tool.name, lambda tool=tool, many=many: measure.at_nginx(tool, folder, many, lengths.run_s))  # type: ignore[misc]
        for tool, many in counts.items()
    ]


def slow_turns(folder: Path, lengths: Lengths) -> list[Turn]:
    many = lengths.slow_requests
    return [
        Turn(SLOW, tool.name, lambda tool=tool: measure.at_slow(tool, folder, many, 0, SLOW_MS))  # type: ignore[misc]
        for tool in (OURS, GREEN, FAST)
    ]


def stall_turns(folder: Path, lengths: Lengths) -> list[Turn]:
    total_s = lengths.stall_total_s
    turns = [
        Turn(
            stall_name(per_s),
            at_rate(per_s).name,
            lambda per_s=per_s: measure.at_stall(at_rate(per_s), folder, per_s, total_s, STALL_S),  # type: ignore[misc]
        )
        for per_s in STALL_RATES
    ]
    most = STALL_RATES[-1]
    limited = hey_at_rate(most)
    return [
        *turns,
        Turn(stall_name(most), limited.name, lambda: measure.at_stall(limited, folder, most, total_s, STALL_S)),
        Turn(stall_name(most), WRK.name, lambda: measure.at_stall(WRK, folder, None, total_s, STALL_S)),
    ]


def twin_turns(folder: Path, lengths: Lengths) -> list[Turn]:
    return [Turn(TWIN, AT_TWIN.name, lambda: measure.at_twin(folder, lengths.intents))]


TURNS = {FLAT: flat_turns, SLOW: slow_turns, STALL: stall_turns, TWIN: twin_turns}


def probe(folder: Path) -> list[str]:
    """Those of the tools with ids of their own that send one twice, in words."""
    found = []
    for tool in TOOLS:
        if tool.unique:
            seen = measure.at_slow(tool, folder, PROBE, 1.0, 0)
            found += [f"{tool.name}, probe: {words}" for words in seen.wrong]
    return found


def round_of(turns: Sequence[Turn], results: Results, shuffle: random.Random) -> None:
    order = [*turns]
    shuffle.shuffle(order)
    for turn in order:
        wait_for_quiet(IDLE_S)
        found = turn.take()
        results.setdefault(turn.contest, {}).setdefault(turn.tool, []).append(found)
        extra = f", p99 {found.p99_ms:.1f} ms" if found.p99_ms is not None else ""
        print(
            f"  {turn.contest}: {turn.tool} {found.steady:.3f} CPU-s per 10,000, {found.per_s:,.0f}/s{extra}",
            flush=True,
        )
        for words in found.wrong:
            print(f"    {words}", flush=True)


def ordered(turns: Sequence[Turn], results: Results) -> Results:
    """As the turns were written, not as they were shuffled."""
    found: Results = {}
    for turn in turns:
        found.setdefault(turn.contest, {})[turn.tool] = results[turn.contest][turn.tool]
    return found


def versions() -> str:
    """The peers' versions, where Debian knows them."""
    found = [f"Locust {importlib.metadata.version('locust')}"]
    for package in PACKAGES:
        if shutil.which("dpkg-query") is not None:
            words = ["dpkg-query", "--show", "--showformat=${Version}", package]
            asked = subprocess.run(words, capture_output=True, text=True, check=False)
            found += [f"{package} {asked.stdout}"] if asked.returncode == 0 and asked.stdout else []
    return ", ".join(found)


HOW = """\
Medians (lowest..highest) of {rounds} interleaved rounds, each in an order of its own (seed {seed}).
{connections} connections or users, POSTs with bodies of {length} bytes over loopback; the generator is pinned to core
{generator}, the server to core {server}; every run has a server of its own, which counts what it is sent.
CPU is user and system of the generator alone. Of what runs in Python it is counted from before the first request to
after the last answer, connecting included, and by the kernel for the whole process beside it; C and Go programs have
next to no start, so theirs is that of the whole process in both columns. Ratios are of runs of the same round.
Loop lag is how late a greenlet comes back that only sleeps for 10 ms, in the same process."""
OPEN = """\
The truth of a request is when it was answered, by nginx's log, less when it was due; by arithmetic it is that of a
server with no other limit than its stall. hey and wrk wait for each answer before they send again, so they meet the
stall once a connection; wrk adds afterwards what it guesses that it has missed, hey adds nothing."""
OF = {
    FLAT: "Against nginx, which answers at once",
    SLOW: f"Against a server that answers in {SLOW_MS} ms",
    STALL: f"Open loop, and the server stands still for {STALL_S:g} s",
    TWIN: "Against the embedded Grace, its rate limiter off, every other intent invalid",
}


def table(results: Results, bounds: Sequence[judged.Bound], rounds: int, seed: int) -> str:
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    how = HOW.format(
        rounds=rounds,
        seed=seed,
        connections=CONNECTIONS,
        length=len(body(0)),
        generator=measure.GENERATOR_CORE,
        server=measure.SERVER_CORE,
    )
    lines = ["# Load", "", f"{datetime.now(UTC):%Y-%m-%d}, {machine}; {versions()}.", *how.splitlines(), ""]
    for contest in (FLAT, SLOW):
        if contest in results:
            lines += [f"## {OF[contest]}", "", *judged.cpu_table(results[contest]), ""]
    stalls = {name: runs for name, runs in results.items() if name.startswith(STALL)}
    if stalls:
        lines += [f"## {OF[STALL]}", ""]
        lines += [*OPEN.splitlines(), ""]
        lines += [*judged.stall_table(stalls), ""]
    if TWIN in results:
        lines += [f"## {OF[TWIN]}", "", *judged.twin_table(results[TWIN]), ""]
    lines += ["## What is promised", "", *judged.bounds_table(bounds), ""]
    return "\n".join([*lines, *(f"- {words}" for words in judged.wrongs(results)), ""]).rstrip("\n") + "\n"


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help="4, or 2 with --quick")
    parser.add_argument(
        "--quick", action="store_true", help="short runs, to see that it works; written only with --out"
    )
    parser.add_argument("--only", choices=tuple(TURNS), action="append", help="a contest; several may be given")
    parser.add_argument("--seed", type=int, default=1, help="of the order within the rounds")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(words)
    options.rounds = options.rounds or (2 if options.quick else 4)
    options.only = options.only or list(TURNS)
    options.out = options.out or (None if options.quick or len(options.only) < len(TURNS) else RESULTS)
    return options


def lacking() -> list[str]:
    found = [program for program in PROGRAMS if shutil.which(program, path=WHERE) is None]
    return found + ([] if (os.cpu_count() or 1) > measure.SERVER_CORE else ["a second core"])


def main(words: Sequence[str] | None = None) -> int:
    options = parsed(words)
    if missing := lacking():
        print(f"missing: {', '.join(missing)}; `make bench` installs the programs", file=sys.stderr)
        return 2
    lengths = QUICK if options.quick else Lengths()
    folder, shuffle = Path(tempfile.mkdtemp(prefix="grace-load-")), random.Random(options.seed)
    results: Results = {}
    try:
        wait_for_quiet(IDLE_S)
        twice = probe(folder) if FLAT in options.only else []
        turns = [turn for contest in options.only for turn in TURNS[contest](folder, lengths)]
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", flush=True)
            round_of(turns, results, shuffle)
        results = ordered(turns, results)
        bounds = judged.bounds(results)
        if twice:
            bounds[-1] = replace(bounds[-1], found="; ".join([bounds[-1].found, *twice]), holds=False)
        text = table(results, bounds, options.rounds, options.seed)
        if options.out is not None:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(text, encoding="utf-8")
        print(f"\n{text}")
        return 0 if all(one.holds for one in bounds) else 1
    except Busy as error:
        print(error, file=sys.stderr)
        return 3
    except (measure.Failed, ServerError, Unreadable) as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
