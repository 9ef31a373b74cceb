"""What is kept of a run for whoever looks into it later, in DIR/dump: nothing of it is judged, all of it is bounded.

The control plane as it was before and after, and where a kernel stood that hung or that a claim failed about.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import gevent

from harness.contracts import Target, TargetError
from harness.loopback import Client
from harness.model import CUT_SHORT, Finding, Verdict
from harness.process import same

FOLDER = "dump"
BEFORE, AFTER = "before", "after"
PAGE_BYTES_MAX = 256 << 10  # of each answer of the control plane
LOG_BYTES_MAX = 256 << 10  # of each log, from its end
LOGS_MAX = 64
ASK_LIMIT_S = 2.0
HUNG_S = 1.5  # a heartbeat as old as this is missed: three times what is usual
STACKS_MAX = 4  # kernels of one run
STACK_LIMIT_S = 5.0
STACK_BYTES_MAX = 64 << 10
PROC = ("State", "Threads", "SigBlk", "voluntary_ctxt_switches")  # lines of /proc/PID/status


def control_plane(target: Target, folder: Path, when: str) -> None:
    """What the target tells of itself, an answer a file, below dump/*when*; what it does not tell is said there."""
    place = folder / FOLDER / when
    place.mkdir(parents=True, exist_ok=True)
    client = Client(target.base_url, timeout_s=ASK_LIMIT_S, permitted=target.permitted)
    try:
        silent = ""
        for name, signal in target.signals.items():
            path = str(signal["url"]).replace("{next}", "0")
            try:
                suffix, text = (".txt", silent) if silent else _asked(client, path)
            except (OSError, http.client.HTTPException) as error:
                suffix, text = ".txt", f"{path}: {error or type(error).__name__}\n"
                silent = f"not asked for any more: {text}"  # nobody waits for each of them in turn
            (place / f"{name}{suffix}").write_text(text, encoding="utf-8")
    finally:
        client.close()


def _asked(client: Client, path: str) -> tuple[str, str]:
    """(suffix of the file, its text). Raises OSError or http.client.HTTPException."""
    status, _, content = client.send("GET", path)
    text = content.decode(errors="replace")
    if not 200 <= status < 300:
        return ".txt", f"{path} answers {status}: {text[:2000]}\n"
    try:
        told = json.loads(text)
    except ValueError:
        return ".txt", text[-PAGE_BYTES_MAX:]
    return ".json", json.dumps(_bounded(told), indent=1, ensure_ascii=False) + "\n"


def _bounded(told: Any) -> Any:
    """Without the first rows of its lists, as long as there is too much of it."""
    while len(json.dumps(told)) > PAGE_BYTES_MAX and isinstance(told, dict):
        lists = {key: value for key, value in told.items() if isinstance(value, list) and value}
        if not lists:
            return {"left_out": "an answer that is too long"}
        longest = max(lists, key=lambda key: len(json.dumps(lists[key])))
        half = (len(lists[longest]) + 1) // 2
        told = {**told, longest: lists[longest][half:], "left_out": int(told.get("left_out", 0)) + half}
    return told


def keep_logs(logs: Path, place: Path) -> None:
    """The end of each log."""
    for path in sorted(one for one in logs.rglob("*") if one.is_file())[:LOGS_MAX]:
        copy = place / path.relative_to(logs)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as source, copy.open("wb") as kept:
            left_out = max(0, path.stat().st_size - LOG_BYTES_MAX)
            if left_out:
                kept.write(f"[the first {left_out} bytes are left out]\n".encode())
                source.seek(left_out)
            kept.write(source.read(LOG_BYTES_MAX))


def hung(
    kernels: Iterable[str], states: Mapping[str, str], latest: Mapping[tuple[str, str], tuple[float, float]]
) -> dict[str, str]:
    """{kernel: why}, by what was seen of it: its process is stopped, or its heartbeat is missed."""
    found = {}
    for kernel in kernels:
        _, age_s = latest.get(("kernel_heartbeat_age_s", kernel), (0.0, 0.0))
        if states.get(kernel) == "T":
            found[kernel] = "its process is stopped"
        elif age_s >= HUNG_S:
            found[kernel] = f"its heartbeat is {age_s:.1f} s old"
    return found


def blamed(findings: Iterable[Finding], kernels: Collection[str]) -> dict[str, str]:
    """{kernel: the claim about it that failed}; as it would, when the run comes to its end now."""
    failed = [one for one in findings if one.verdict is Verdict.FAIL or one.cause == CUT_SHORT]
    words = [(one, set(one.claim.replace("'", " ").split()) | set(one.because.split())) for one in failed]
    return {kernel: f"FAIL: {one.claim}" for kernel in kernels for one, said in words if kernel in said}


class Stacks:
    """Takes down where kernels stand, each once; looks from outside, and stops nobody for it."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.place = folder / FOLDER / "stacks"
        self.taken: set[str] = set()
        self._greenlets: list[gevent.Greenlet] = []  # nobody waits for one while the run goes on

    def take(self, kernels: Mapping[str, str], at_s: float) -> None:
        for kernel, why in kernels.items():
            if kernel not in self.taken and len(self.taken) < STACKS_MAX:
                self.taken.add(kernel)
                self._greenlets.append(gevent.spawn(self._take, kernel, why, at_s))

    def wait(self) -> None:
        """Until all are taken, or their time is up: nothing is written after that."""
        gevent.joinall(self._greenlets, timeout=STACK_LIMIT_S)
        gevent.killall(self._greenlets)

    def _take(self, kernel: str, why: str, at_s: float) -> None:
        try:
            process = self.target.process(kernel)
            text = f"pid {process.pid}\n{_of_proc(process.pid)}\n{_stack(process.pid)}"
            if not same(process):
                text += "\nthe process has ended meanwhile"
        except TargetError as error:
            text = str(error)
        self.place.mkdir(parents=True, exist_ok=True)
        head = f"{kernel} at {at_s:.2f} s of the run: {why}\n"
        (self.place / f"{kernel}.txt").write_text(head + text[:STACK_BYTES_MAX] + "\n", encoding="utf-8")


def _of_proc(pid: int) -> str:
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
        waits = Path(f"/proc/{pid}/wchan").read_text() or "-"
    except OSError as error:
        return f"/proc/{pid}: {error.strerror}"
    return "\n".join([row for row in rows if row.partition(":")[0] in PROC] + [f"waits in the kernel at: {waits}"])


def _stack(pid: int) -> str:
    """By py-spy, which reads the memory of the process and does not pause it; else why there is none."""
    tool = py_spy()
    if tool is None:
        return "no stack: py-spy is not installed"
    try:
        words = [tool, "dump", "--nonblocking", "--pid", str(pid)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=STACK_LIMIT_S, errors="replace")
    except subprocess.TimeoutExpired:
        return f"no stack: py-spy did not end within {STACK_LIMIT_S:g} s"
    except OSError as error:
        return f"no stack: py-spy cannot be started: {error.strerror}"
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        right = "; it takes the right to trace the process" if "ermission" in said else ""
        return f"no stack: py-spy says: {said}{right}"
    return done.stdout


def py_spy() -> str | None:
    """Beside this Python, as it is installed, else on the path."""
    beside = Path(sys.executable).parent / "py-spy"
    return str(beside) if beside.exists() else shutil.which("py-spy")
