"""A flood by a master and two workers: split exactly, one ledger, one verdict; a worker that dies spoils the run."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.ledger import LedgerRow, read_ledger
from harness.worker_clock import ERROR_S_MAX
from tests.processes import ROOT, ended, findings, finish, free_port, locust, run_folder, wait_for_event

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
GRACE, SHIFTED = "locustfiles/grace.py", "tests/shifted_worker.py"
READ_BACK = "read_back"
SHIFT_S = 5.0  # as in the second of these files
STORM = ("--scenario", "L3_governance_intent_storm", "--seed", "7")
TOTAL = 1000


@contextlib.contextmanager
def workers(port: int, files: Sequence[str] = (GRACE, GRACE)) -> Iterator[list[subprocess.Popen[bytes]]]:
    words = ("--worker", "--master-port", str(port))
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    commands = [[sys.executable, "-m", "locust", "-f", file, *words] for file in files]
    running = [subprocess.Popen(command, cwd=ROOT, **quiet) for command in commands]  # type: ignore[call-overload]
    try:
        yield running
    finally:
        for one in running:
            one.kill()
            one.wait()


def master(port: int) -> tuple[str, ...]:
    words = ("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port))
    return (*words, "--expect-workers", "2")


def test_two_workers_send_each_request_once_and_the_master_judges_them_all(tmp_path: Path) -> None:
    """One of them has a clock that is five seconds ahead, as on another machine."""
    port = free_port()
    with workers(port, (GRACE, SHIFTED)) as running:
        process = locust(*STORM, *master(port), "--json-file", str(tmp_path / "stats"), out=tmp_path)
        code, said = finish(process)
        assert [one.wait(timeout=20) for one in running] == [0, 0]
    assert code == 0, said[-6000:]
    assert len(list(tmp_path.glob("*/*/timeline.jsonl"))) == 1, "faults ran once"
    folder = run_folder(tmp_path)
    both_load(folder)
    rows = read_ledger(folder, torn := [])
    assert rows is not None and not torn
    attack = [row for row in rows if row.attack]
    ids = Counter(row.id for row in attack)
    assert len(ids) == TOTAL == len(attack), "each of them settled, and settled once"
    assert sorted(int(one.rpartition("-")[2]) for one in ids) == list(range(TOTAL))
    requests = [line.split(",") for line in (folder / "requests.csv").read_text().splitlines()[1:]]
    counted = sum(int(row[5]) for row in requests if row[1] == "governance_storm")
    assert counted == sum(row.attempts for row in attack), "what the workers counted is what their ledgers say"
    in_one_time(folder, rows)
    told = json.loads(next(tmp_path.glob("stats*")).read_text())
    name = "/api/governance/check"
    everybody = sum(int(row[5]) for row in requests if row[2] == f"POST {name}")
    assert sum(one["num_requests"] for one in told if one["name"] == name) == everybody, "and what Locust sums up"


def both_load(folder: Path) -> None:
    signals = [line.split(",") for line in (folder / "signals.csv").read_text().splitlines()]
    loads = {subject for _, name, subject, value in signals if name == "worker_requests" and float(value) > 0}
    assert len(loads) == 2, "load on both workers"
    assert {subject for _, name, subject, _ in signals if name == "loop_lag_ms"} == {"", *loads}, (
        "each tells of its lag"
    )


def in_one_time(folder: Path, rows: Sequence[LedgerRow]) -> None:
    """Each worker's clock was measured, and what it has stamped stands in the time of the run."""
    events = [json.loads(line) for line in (folder / "timeline.jsonl").read_text().splitlines()]
    offsets = {one["subject"]: one["detail"]["offset_s"] for one in events if one["kind"] == "clock_measured"}
    assert sorted(offsets.values()) == pytest.approx([0.0, SHIFT_S], abs=ERROR_S_MAX)
    span = {name: next(one["at_s"] for one in events if one["kind"] == name) for name in ("fault_injected", READ_BACK)}
    stamped = [row.at_s for row in rows if row.attack]
    assert span["fault_injected"] <= min(stamped) and max(stamped) <= span[READ_BACK]


def test_a_worker_that_dies_in_mid_flood_makes_it_inconclusive_with_the_reason(tmp_path: Path) -> None:
    port = free_port()
    with workers(port) as running:
        process = locust("--scenario", "L2_HTM_queue_flood", "--seed", "7", *master(port), out=tmp_path)
        with ended(process):
            folder = wait_for_event(tmp_path, "fault_injected", "api_flood")
            wait_for_event(tmp_path, "safeguard_engaged", "rate_limiter")
            running[0].kill()
            code, said = finish(process, 120)
    assert code == 3, said[-6000:]
    told = {one["claim"]: one["because"] for one in findings(folder) if one["verdict"] == "INCONCLUSIVE"}
    assert any("worker" in why and "lost" in why for why in told.values()), told
