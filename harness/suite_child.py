"""One scenario in a process of its own: Locust, held on a leash. It heals and ends when we do, however we end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.model import Verdict
from harness.suite_result import Result, folders_of, result

LOOK_S = 0.25
HEALING_S = 60.0  # what a halt may take: heal, judge, report, end the twin; then it is killed, and its guardian heals
TEXT_MAX = 64 * 1024
# SIGTERM when the thread that started it ends, so also when its process is killed; then it becomes Locust.
LEASH = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]): sys.exit(3)
os.execv(sys.executable, [sys.executable, "-m", "locust", *sys.argv[2:]])
"""
BAR = re.compile(r" *\[[#.]+\] *")  # of a progress line
LOCUSTS_SUMMARY = re.compile(r"^Type +Name +# reqs", re.MULTILINE)
T = TypeVar("T")


class Stopped(asyncio.CancelledError):
    """It was cancelled, and has ended; *code* is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"stopped, exit code {code}")
        self.code = code


async def run_child(words: Sequence[str], log: Path, hear: Callable[[list[str]], None]) -> int:
    """Runs Locust with *words*; the exit code, or -N for signal N. *hear* gets what it has newly printed, often.

    It prints into *log*. Cancelled, it is told to stop, and Stopped is raised when it has healed and ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as printed:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", LEASH, str(os.getpid()), *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            start_new_session=True,  # Ctrl-C reaches us alone, and we tell it once
        )
    ended = asyncio.ensure_future(process.wait())
    try:
        with log.open("rb") as reading:
            while not ended.done():
                await asyncio.wait({ended}, timeout=LOOK_S)
                hear(reading.read().decode(errors="replace").splitlines())
    except BaseException as error:  # also when nobody hears any more
        with contextlib.suppress(asyncio.CancelledError):
            await to_the_end(_stop(process, ended))
        if isinstance(error, asyncio.CancelledError):
            raise Stopped(ended.result()) from None
        raise
    return ended.result()


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is to be: *words* for Locust, whose scenario and seed *out* will hold a folder of; it prints *log*."""

    words: Sequence[str]
    out: Path
    scenario_id: str
    seed: int
    log: Path


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a run: its verdict, its exit code, whether we have stopped it, the folders that it has left."""

    result: Result
    code: int
    stopped: bool
    took_s: float
    folders: frozenset[Path]

    @property
    def cut(self) -> bool:
        """Whether it was stopped before it was decided: else it has ended by itself."""
        return self.stopped and self.result.verdict not in (Verdict.PASS, Verdict.FAIL)


async def run_job(job: Job, hear: Callable[[float, list[str]], None], note: Callable[[Ended], Awaitable[T]]) -> T:
    """Runs it to its end, and has it noted. Cancelled, it heals first and is noted; CancelledError then goes on."""
    before, started_s, stopped = folders_of(job.out, job.scenario_id), time.monotonic(), False
    try:
        code = await run_child(job.words, job.log, lambda lines: hear(time.monotonic() - started_s, lines))
    except Stopped as stop:
        stopped, code = True, stop.code

    def read() -> Ended:
        took_s = time.monotonic() - started_s
        fresh = folders_of(job.out, job.scenario_id) - before
        found = result(fresh, job.scenario_id, job.seed, code, last_words(job.log))
        return Ended(result=found, code=code, stopped=stopped, took_s=took_s, folders=frozenset(fresh))

    async def noted() -> T:
        return await note(await asyncio.to_thread(read))

    told = await to_the_end(noted())
    if stopped:
        raise asyncio.CancelledError
    return told


async def _stop(process: asyncio.subprocess.Process, ended: asyncio.Future[int]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        await asyncio.wait({ended}, timeout=HEALING_S)
        if ended.done():
            return


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """What *work* gives, also when we are cancelled meanwhile: it is never torn. The cancellation is then raised."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    return task.result()


def last_words(log: Path) -> str:
    """The end of what it printed, in one line, without Locust's own tables and notes, and of its progress the last."""
    try:
        text = log.read_bytes()[-TEXT_MAX:].decode(errors="replace")
    except OSError:
        return "nothing"
    lines = [line.strip() for line in LOCUSTS_SUMMARY.split(text)[0].splitlines()]
    kept = [line for line in lines if line and "/INFO/locust." not in line]
    last = kept[-1:]
    kept = [line for line in kept[:-1] if not BAR.search(line)] + [BAR.sub(" ", line) for line in last]
    return " / ".join(kept[-3:])[-500:] or "nothing"
