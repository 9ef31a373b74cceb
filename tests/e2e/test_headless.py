"""The main way in, as continuous integration uses it: real runs of MF01 at a tenth of its length."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.model import Kind
from harness.primitives.kill_marked import marked
from harness.process import process_state
from harness.record import Record
from tests.processes import (
    ROOT,
    closed_port,
    findings,
    finish,
    locust,
    pids_with,
    run_folder,
    twin,
    wait_for,
    wait_for_event,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MF01 = ("--scenario", "MF01_triple_threat", "--time-scale", "0.1")


def test_a_control_run_engages_nothing_and_does_not_pass(tmp_path: Path) -> None:
    code, said = finish(locust(*MF01, "--control", out=tmp_path))
    assert code == 3, said[-4000:]
    folder = run_folder(tmp_path)
    last = f"INCONCLUSIVE (8 of 8 invariants judged) (exit 3): {folder / 'report.html'}"
    assert said.splitlines()[-1] == last, "not Locust's own table"
    by_check = {one["check"]: one for one in findings(folder)}
    assert "no safeguard engaged" in by_check["control_clean"]["because"]
    verify = [sys.executable, "-m", "harness.cli", "verify", str(folder)]
    assert subprocess.run(verify, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode == code


def test_killed_cpu_helpers_are_inconclusive(tmp_path: Path) -> None:
    process = locust(*MF01, out=tmp_path)
    folder = wait_for_event(tmp_path, "fault_attained", "cpu_spike")
    pacers = marked(f"{folder.name}/cpu_spike")
    assert pacers
    for one in pacers:
        os.kill(one.pid, signal.SIGKILL)
    code, said = finish(process)
    assert code == 3, said[-4000:]
    unknown = {one["claim"]: one["because"] for one in findings(folder) if one["verdict"] == "INCONCLUSIVE"}
    assert "it was lost" in unknown["cpu_spike reached cpu 90 %"]


def test_a_broken_twin_at_the_start_is_inconclusive_and_nothing_is_injected(tmp_path: Path) -> None:
    with twin(tmp_path / "twin", off="kernel_watchdog"):
        os.kill(int((tmp_path / "twin" / "run" / "librarian.pid").read_text()), signal.SIGSTOP)
        code, said = finish(locust(*MF01, "--target", str(tmp_path / "twin" / "target.yaml"), out=tmp_path / "out"))
    assert code == 3 and "the baseline was never steady: " in said and "librarian" in said, said[-4000:]
    record = Record.load(run_folder(tmp_path / "out"))
    assert record.first_injection_s is None and not record.of_kind(Kind.FAULT_PLANNED)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_mid_fault_heals_and_is_inconclusive(tmp_path: Path, number: signal.Signals) -> None:
    process = locust(*MF01, out=tmp_path)
    folder = wait_for_event(tmp_path, "fault_injected", "kernel_pause")
    process.send_signal(number)
    code, said = finish(process, 60)
    assert code == 3, said[-4000:]
    record = Record.load(folder)
    assert record.aborted and all(fault.healed and fault.healed.detail["verified"] for fault in record.faults)
    assert not any(marked(f"{folder.name}/{step.step_id}") for step in record.plan.steps)


def test_sigkill_with_a_lasting_target_is_healed_by_the_guardian(tmp_path: Path) -> None:
    with twin(tmp_path / "twin", off="kernel_watchdog"):
        target = tmp_path / "twin" / "target.yaml"
        url = next(line.split()[1] for line in target.read_text().splitlines() if line.startswith("base_url"))
        process = locust(*MF01, "--host", url, "--target", str(target), out=tmp_path / "out")
        folder = wait_for_event(tmp_path / "out", "fault_injected", "kernel_pause")
        kernel = int((tmp_path / "twin" / "run" / "memory_fusion.pid").read_text())
        wait_for(lambda: process_state(kernel) == "T", 2)
        process.kill()
        wait_for(lambda: process_state(kernel) not in ("T", ""), 2.0, "memory_fusion running again")
        wait_for(lambda: not marked(f"{folder.name}/cpu_spike"), 2.0, "no helper left")
        wait_for(lambda: not marked(f"{folder.name}/acl_flood"), 2.0, "no helper left")
        finish(process, 10)
        assert pids_with(str(tmp_path / "twin")), "the target stays"


def test_sigkill_takes_the_embedded_twin_along(tmp_path: Path) -> None:
    process = locust(*MF01, out=tmp_path)
    folder = wait_for_event(tmp_path, "fault_injected", "kernel_pause")
    told = json.loads((folder / "timeline.jsonl").read_text().splitlines()[0])
    facts = [json.loads(line) for line in (folder / "timeline.jsonl").read_text().splitlines()]
    kernel = next(
        row["detail"]["pid"] for row in facts if row["kind"] == "fault_injected" and row["subject"] == "kernel_pause"
    )
    words = Path(f"/proc/{kernel}/cmdline").read_bytes().decode().split("\0")
    home = words[words.index("--dir") + 1]
    assert told["kind"] == "run_started" and pids_with(home)
    process.kill()
    wait_for(lambda: not pids_with(home), 5.0, "the end of the twin")
    wait_for(lambda: not pids_with(str(folder)), 5.0, "the end of the guardian")
    for helpers in ("cpu_spike", "acl_flood"):
        wait_for(lambda name=helpers: not marked(f"{folder.name}/{name}"), 5.0, f"the end of {helpers}")
    finish(process, 10)


@contextlib.contextmanager
def ssh() -> Iterator[int]:
    """A port behind which somebody speaks another language."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    with peer:
                        peer.sendall(b"SSH-2.0-x\r\n")
                        peer.recv(4096)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.beside
def test_usage_errors_are_one_line_and_nothing_starts(tmp_path: Path) -> None:
    with closed_port() as closed, ssh() as port:
        refused(usage_errors(tmp_path, closed, port), tmp_path)


def usage_errors(folder: Path, closed: int, port: int) -> dict[tuple[str, ...], str]:
    manifest = folder / "target.yaml"
    manifest.write_text(
        f"schema: grace-target/1\nbase_url: http://127.0.0.1:{closed}\n"
        "processes: {memory_fusion: {pid_file: /x}}\n"
        "routes: [{name: a, method: GET, path: /, kernels: [memory_fusion]},\n"
        "  {name: b, method: GET, path: /b, kernels: []}]\n"
        "safeguards: [acl_violation_monitor, resource_pressure_monitor, kernel_watchdog]\n"
        "playbooks: [message_bus_acl_violation_fix, resource_pressure_cpu, kernel_restart]\n"
    )
    broken, unknown = folder / "broken.yaml", folder / "unknown.yaml"
    broken.write_text("scenario_id: [\n")
    fault = "{type: cpu_spike, params: {cpu_percent: 5, duration_seconds: 5}}"
    unknown.write_text(f"scenario_id: X\nfaults: [{fault}]\nverification: [wins]\n")
    url = manifest.read_text().splitlines()[1].split()[1]
    cases = {
        ("--scenario", "MF01_tripl_threat"): "Did you mean 'MF01_triple_threat'?",
        ("--scenario", str(broken)): "broken.yaml:",
        ("--scenario", str(unknown)): "no check is called 'wins'",
        (*MF01, "--safeguards-off", "kernel_watchdg"): "Did you mean 'kernel_watchdog'?",
        ("--host", "http://127.0.0.1:1"): "--host needs --target",
        (*MF01, "--host", url, "--target", str(manifest)): "does not answer",
        (*MF01, "--out", str(broken)): "--out: no run can be kept in",
    }
    cases[*MF01, "--host", f"http://127.0.0.1:{port}", "--target", str(manifest)] = "does not answer: SSH-2.0-x"
    return cases


def refused(cases: dict[tuple[str, ...], str], folder: Path) -> None:
    for words, expected in cases.items():
        code, said = finish(locust(*words, out=folder / "out"), 60)
        assert (code, expected in said, "Traceback" in said) == (2, True, False), said
        told = [line for line in said.splitlines() if line.strip() and "/INFO/locust." not in line]
        assert len(told) == 1, "one clear line"
    assert not (folder / "out").exists()
