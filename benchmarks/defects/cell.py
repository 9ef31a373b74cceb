"""One run of the table, in a process of its own, and what it left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.defects.table import CONTROL, DEFECT, Cell, Row
from harness.model import Finding, Verdict, not_passed
from harness.sweep import sweep

ROOT = Path(__file__).resolve().parents[2]
BREAK, MARKER = "GRACE_BREAK", "GRACE_DEFECTS_CELL"
BROKEN_FILE, FILE = "benchmarks/defects/locustfile_broken.py", "locustfiles/grace.py"
VERDICTS = {one.exit_code: one.value for one in Verdict}
END_LIMIT_S = 60.0  # for a run that was told to stop
GONE_LIMIT_S = 10.0  # for its last processes
CONTROL_CHECK = "control_clean"
UNSTEADY = "baseline_steady.never_steady"  # such a run tried nothing in its scenario


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a cell. *findings* are (code, verdict) of what did not pass, the worst first.

    *problem*: why it has no verdict; *left*: what it left behind.
    """

    cell: Cell
    time_scale: float
    verdict: str
    exit_code: int
    findings: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    left: tuple[str, ...] = ()
    took_s: float = 0.0
    version: str = ""
    at: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        return key_of(self.cell, self.time_scale)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(line: str) -> Result:
        data = json.loads(line)
        lists = {name: tuple(data["cell"].get(name, ())) for name in ("options", "beside")}
        cell = Cell(**{**data["cell"], **lists})
        found = tuple((str(code), str(verdict)) for code, verdict in data["findings"])
        return Result(**{**data, "cell": cell, "findings": found, "left": tuple(data["left"])})


def key_of(cell: Cell, time_scale: float) -> tuple[Any, ...]:
    return (cell.kind, cell.name, cell.scenario, cell.seed, cell.options, time_scale)


def naming(row: Row, result: Result) -> list[str]:
    """Codes of the findings that name the defect: FAIL for one of the target, INCONCLUSIVE too for the harness's."""
    verdicts = {Verdict.FAIL.value, *((Verdict.INCONCLUSIVE.value,) if row.harness else ())}
    found = [code for code, verdict in result.findings if verdict in verdicts and code.startswith(row.expect)]
    return list(dict.fromkeys(found))


def false_alarms(result: Result) -> list[str]:
    """What a run without a defect must not say: in a control run anything but that it proves nothing."""
    if result.cell.kind != CONTROL:
        return [f"{code} {verdict}" for code, verdict in result.findings]
    allowed = Verdict.INCONCLUSIVE.value
    others = [(c, v) for c, v in result.findings if not (c.startswith(f"{CONTROL_CHECK}.") and v == allowed)]
    return [f"{code} {verdict}" for code, verdict in others]


def unexpected(result: Result, rows: Mapping[str, Row]) -> str:
    """Why a cell is not what it must be; "" when it is."""
    if result.problem:
        return result.problem
    if result.left:
        return f"left behind: {'; '.join(result.left)}"
    if UNSTEADY in (code for code, _ in result.findings):
        return "no fault was injected: the baseline was never steady"
    if result.cell.kind != DEFECT:
        wanted = Verdict.INCONCLUSIVE if result.cell.kind == CONTROL else Verdict.PASS
        alarms = "; ".join(false_alarms(result))
        if result.verdict != wanted.value or alarms:
            return f"{result.verdict}, {wanted.value} expected: {alarms or 'no finding says why'}"
        return ""
    row = rows[result.cell.name]
    red = (Verdict.FAIL.value, Verdict.INCONCLUSIVE.value) if row.harness else (Verdict.FAIL.value,)
    if result.verdict not in red:
        return f"{result.verdict}: the defect was not found"
    return "" if naming(row, result) else f"{result.verdict}, but no finding names it ({', '.join(row.expect)})"


def command(cell: Cell, time_scale: float, out: Path) -> tuple[list[str], dict[str, str]]:
    """(command, variables) of a cell's run."""
    file = f"{BROKEN_FILE},{FILE}" if cell.harness else FILE
    words = ["--scenario", cell.scenario, "--time-scale", f"{time_scale:g}", "--seed", str(cell.seed)]
    planted = ",".join(cell.names)
    words += ["--plant", planted] if cell.kind == DEFECT and not cell.harness else []
    words += ["--control"] if cell.kind == CONTROL else []
    line = [sys.executable, "-m", "locust", "-f", file, "--headless", *words, "--out", str(out), *cell.options]
    return line, {BREAK: planted} if cell.harness else {}


def run(cell: Cell, time_scale: float, keep: Path, limit_s: float, rows: Mapping[str, Row]) -> Result:
    """Run a cell. Its folder stays below *keep* when the cell is not what it must be.

    Raises KeyboardInterrupt when it is interrupted, after the run has ended and its folder is gone.
    """
    out = keep / f"{cell.name or cell.kind}-{cell.place}-{cell.seed}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    line, variables = command(cell, time_scale, out)
    mark, before = uuid.uuid4().hex, _world()
    began_s = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            line,
            cwd=ROOT,
            env={**os.environ, **variables, MARKER: mark},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # an interrupt of ours must reach it once, as SIGTERM
        )
        try:
            late = not _ends(process, limit_s)
        except BaseException:
            _stop(process)
            shutil.rmtree(out, ignore_errors=True)
            raise
        said.seek(0)
        text = said.read()
    took_s = time.monotonic() - began_s
    read = _read(out, process.returncode, text)
    problem = f"no end in {limit_s:g} s" if late else read[1]
    result = Result(
        cell=cell,
        time_scale=time_scale,
        verdict=VERDICTS.get(process.returncode, ""),
        exit_code=process.returncode,
        findings=read[0],
        problem=problem,
        left=tuple(_left(out, mark, before)),
        took_s=round(took_s, 1),
        version=version(),
        at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    )
    if cell.beside or not unexpected(result, rows):
        shutil.rmtree(out, ignore_errors=True)
    else:
        (out / "said.txt").write_text(text, encoding="utf-8")
    return result


def _ends(process: subprocess.Popen[str], limit_s: float) -> bool:
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        _stop(process)
        return False
    return True


def _stop(process: subprocess.Popen[str]) -> None:
    """SIGTERM, which a run hears: it heals, then ends."""
    process.terminate()
    try:
        process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(out: Path, exit_code: int, said: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """(code and verdict of what did not pass; why the run has no verdict, or "")."""
    last = " ".join(said.split())[-300:]
    files = list(out.glob("*/*/findings.json"))
    if exit_code not in VERDICTS:
        return (), f"exit code {exit_code}: {last}"
    if len(files) != 1:
        return (), f"{len(files)} run folders with findings: {last}"
    if "Traceback (most recent call last)" in said:
        return (), f"a traceback: {last}"
    rows: list[dict[str, Any]] = json.loads(files[0].read_text(encoding="utf-8"))
    found = [Finding(**{**one, "verdict": Verdict(one["verdict"])}) for one in rows]
    each = (((one.code or f"{one.check}.", *one.also), one.verdict.value) for one in not_passed(found))
    return tuple((code, verdict) for codes, verdict in each for code in codes), ""


def _world() -> dict[str, set[str]]:
    """What a run may leave on the machine: mounts, cgroups below our own, folders of twins."""
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()}
    cgroups = {str(path) for top in _own_cgroups() for path in top.glob("**/*grace*") if path.is_dir()}
    folders = {str(path) for path in Path(tempfile.gettempdir()).glob("grace-*")}
    return {"mount": mounts, "cgroup": cgroups, "folder": folders}


def _own_cgroups() -> list[Path]:
    """The group of this process in each hierarchy of cgroups v1; in v2 all: a run may make its groups further up."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        return [top]
    rows = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    found = [(name.removeprefix("name="), path) for _, names, path in rows for name in names.split(",") if name]
    return [top / name / path.lstrip("/") for name, path in found]


def _processes(out: Path, mark: str) -> list[str]:
    """Living processes that inherited the run's mark or that name its folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            if words and (
                f"{MARKER}={mark}".encode() in (entry / "environ").read_bytes() or str(out).encode() in words
            ):
                found.append(f"process {entry.name} ({words.replace(bytes(1), b' ').decode(errors='replace')[:120]})")
    return found


def _left(out: Path, mark: str, before: Mapping[str, set[str]]) -> list[str]:
    """What is still there some seconds after the run, and what had to be healed."""

    def there() -> list[str]:
        now = _world()
        new = [f"{kind} {name}" for kind, names in now.items() for name in sorted(names - before[kind])]
        return [*_processes(out, mark), *new]

    found = _wait(there)
    return [*found, *(str(one) for one in sweep(out))]


def _wait(look: Callable[[], list[str]]) -> list[str]:
    deadline = time.monotonic() + GONE_LIMIT_S
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def drop_torn_line(state: Path) -> None:
    """Take out a last line that has no end: the run that wrote it was killed meanwhile."""
    if state.exists():
        content = state.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            state.write_bytes(whole)


def version() -> str:
    """Commit of the working copy, with a + when it was changed; "" outside of one."""
    try:
        words = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
