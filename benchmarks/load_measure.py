"""One run of one tool against a server of its own, measured from outside: CPU by the kernel, requests by the server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.load_bounds import Sample
from benchmarks.load_server import Server, ServerError, nginx, pinned, slow
from benchmarks.load_tools import AT_TWIN, CONNECTIONS, Said, Tool, last_json, wrong
from benchmarks.load_truth import arrivals_wrong, ideal_s, latencies_s, parse_log, percentile
from harness.contracts import Target
from harness.embedded import EmbeddedTwin
from harness.read_back import read_back

GENERATOR_CORE, SERVER_CORE = 0, 1
RUN_LIMIT_S = 90.0
FIRST_LIMIT_S = 20.0  # until a generator's first hundred requests
LEDGER_LIMIT_S = 30.0
AUDITED = "reject_intent"


class Failed(Exception):
    """A run that measured nothing; the text says why."""


@dataclass(frozen=True)
class Ended:
    said: str
    errors: str
    code: int
    cpu_s: float  # user and system of the process and of all the children that it has waited for


def run(command: Sequence[str], folder: Path, meanwhile: Callable[[], None] | None = None) -> Ended:
    """*command* to its end; *meanwhile* is called while it runs. What lasts longer than RUN_LIMIT_S is killed."""
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
        )
    late = threading.Timer(RUN_LIMIT_S, os.killpg, (process.pid, signal.SIGKILL))
    late.daemon = True
    late.start()
    try:
        if meanwhile is not None:
            meanwhile()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        late.cancel()
        with contextlib.suppress(ProcessLookupError):  # what it has left behind, or itself when we were interrupted
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    said, errors = out.read_text(errors="replace"), err.read_text(errors="replace")
    return Ended(said, errors, process.returncode, usage.ru_utime + usage.ru_stime)


def told(tool: Tool, ended: Ended) -> Said:
    if ended.code != 0:
        raise Failed(f"{tool.name} ended with {ended.code}: {(ended.errors or ended.said).strip()[-600:]}")
    return tool.parse(ended.said)


def sample(said: Said, ended: Ended, objections: Sequence[str]) -> Sample:
    requests = said.good + said.other
    return Sample(
        requests=requests,
        steady_s=ended.cpu_s if said.steady_s is None else said.steady_s,
        whole_s=ended.cpu_s,
        per_s=requests / said.seconds if said.seconds else 0.0,
        lag_ms_p99=said.lag_ms_p99,
        p99_ms=said.p99_ms,
        wrong=tuple(objections),
    )


def at_server(tool: Tool, server: Server, folder: Path, asked: int, seconds: float) -> Sample:
    ended = run(pinned(GENERATOR_CORE, tool.command(server.url, folder, asked, seconds)), folder)
    said = told(tool, ended)
    served = server.served()
    objections = [*wrong(tool, said, asked, served), *strange_length(said, server)]
    if tool.unique and (repeated := server.repeated()):
        objections.append(f"{repeated} of {served} requests had a body that had come before")
    return sample(said, ended, objections)


def strange_length(said: Said, server: Server) -> list[str]:
    """For a tool that counts bytes with the heads: in answers of one length, and some that were still under way."""
    if said.received_bytes is None:
        return []
    requests, each = said.good + said.other, server.answer_bytes()
    if 0 <= said.received_bytes - requests * each <= CONNECTIONS * each:
        return []
    return [f"{said.received_bytes} bytes were received, not {requests} answers of {each}"]


def at_nginx(tool: Tool, folder: Path, asked: int, seconds: float) -> Sample:
    with nginx(folder, SERVER_CORE) as server:
        return at_server(tool, server, folder, asked, seconds)


def at_slow(tool: Tool, folder: Path, asked: int, seconds: float, delay_ms: float) -> Sample:
    with slow(folder, SERVER_CORE, delay_ms) as server:
        return at_server(tool, server, folder, asked, seconds)


@dataclass
class Stall:
    """The server's process stops *after_s* behind the first requests, for *stall_s*; *lasted_s* is what it became."""

    server: Server
    after_s: float
    stall_s: float
    lasted_s: float = 0.0

    def __call__(self) -> None:
        deadline = time.monotonic() + FIRST_LIMIT_S
        while self.server.served() < 100:
            if time.monotonic() > deadline:
                raise Failed(f"no generator sent a hundred requests within {FIRST_LIMIT_S:g} s")
            time.sleep(0.02)
        time.sleep(self.after_s)
        os.kill(self.server.pid, signal.SIGSTOP)
        from_s = time.monotonic()
        try:
            time.sleep(self.stall_s)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)
            self.lasted_s = time.monotonic() - from_s


def logged(server: Server, wanted: int, limit_s: float = 5.0) -> str:
    """nginx's log once it holds *wanted* lines, or what it holds then."""
    assert server.log is not None
    server.flush()
    deadline = time.monotonic() + limit_s
    while True:
        text = server.log.read_text()
        if text.count("\n") >= wanted or time.monotonic() > deadline:
            return text
        time.sleep(0.05)


def at_stall(tool: Tool, folder: Path, per_s: int | None, total_s: float, stall_s: float) -> Sample:
    """*per_s*: what is due in a second; None: a closed loop as fast as it goes. Only an open loop has a truth."""
    asked = round((per_s or 0) * total_s)
    with nginx(folder, SERVER_CORE, logged=True) as server:
        stall = Stall(server, (total_s - stall_s) / 3, stall_s)
        ended = run(pinned(GENERATOR_CORE, tool.command(server.url, folder, asked, total_s)), folder, stall)
        said = told(tool, ended)
        served = server.served()
        found = sample(said, ended, wrong(tool, said, asked, served))
        answered, strange = parse_log(logged(server, served))
    objections = [*found.wrong, *strange[:3]]
    ideal_ms, truth_ms = 1000 * ideal_s(stall.lasted_s, total_s), None
    if tool.open_loop and per_s is not None:
        objections += arrivals_wrong(answered, per_s, asked)
        truth_ms = 1000 * percentile(latencies_s(answered, per_s), 0.99) if answered else None
    return replace(found, wrong=tuple(objections), ideal_ms=ideal_ms, truth_ms=truth_ms)


def twin_wrong(row: dict[str, float], ledgers: Path) -> list[str]:
    """Where what the client was told and what the twin holds differ."""
    intents = (ledgers / "intents.jsonl").read_text().splitlines()
    audit = [json.loads(line) for line in (ledgers / "audit.jsonl").read_text().splitlines()]
    rejections = sum(one["action"] == AUDITED for one in audit)
    found = []
    if len(intents) != row["accepted"]:
        found.append(f"{row['accepted']} intents were accepted, the twin holds {len(intents)}")
    if rejections != row["rejected"]:
        found.append(f"{row['rejected']} intents were rejected, the twin's log has {rejections}")
    if row["rejected"] != row["invalid"]:
        found.append(f"{row['invalid']} invalid intents were sent, {row['rejected']} rejected")
    return found


def held_wrong(target: Target, row: dict[str, float], folder: Path) -> list[str]:
    """*twin_wrong*, once the twin has had its time to hand its audit entries to its log."""
    until_s = time.monotonic() + LEDGER_LIMIT_S
    while True:
        unread = read_back(target, folder, {}, LEDGER_LIMIT_S)
        if unread:
            raise Failed("; ".join(unread))
        wrong = twin_wrong(row, folder / "target")
        if not wrong or time.monotonic() >= until_s:
            return wrong
        time.sleep(0.5)


def at_twin(folder: Path, asked: int) -> Sample:
    """Valid and invalid intents in turn at a twin whose rate limiter is off; nothing is pinned."""
    twin = EmbeddedTwin("rate_limiter")
    try:
        target = twin.wait()
        ended = run(AT_TWIN.command(f"{target.base_url}/api/htm/intents", folder, asked, 0), folder)
        said, row = told(AT_TWIN, ended), last_json(ended.said)
        objections = [f"{said.other} of {asked} intents got no answer, or a wrong one"] if said.other else []
        if said.good + said.other != asked:
            objections.append(f"it was asked for {asked} intents and tells of {said.good + said.other}")
        return sample(said, ended, [*objections, *held_wrong(target, row, folder)])
    except RuntimeError as error:
        raise Failed(str(error)) from error
    finally:
        twin.stop()


__all__ = ["Failed", "ServerError", "at_nginx", "at_slow", "at_stall", "at_twin"]
