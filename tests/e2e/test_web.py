"""The web page with a real Locust, a real Grace and HTTP: a run seen live, HALT in mid-fault, and starts refused."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from harness.model import Verdict
from harness.primitives.kill_marked import marked
from harness.process import process_state
from tests.processes import ROOT, findings, finish, locust, pids_with, wait_for, wait_for_event

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
HALT_WITHIN_S = 1.0
OF_THE_WATCHDOG = {"safeguard_engaged", "playbook_ran", "restarted", "all_safeguards_triggered", "each_fault_detected"}
START = {"user_count": "20", "spawn_rate": "20", "scenario": "MF01_triple_threat", "time_scale": "1", "host": ""}


@dataclass(frozen=True)
class Door:
    """A Locust with its web page; runs are kept below *folder*, twins live below *twins*."""

    port: int
    folder: Path
    twins: Path  # short: the names of their sockets must not grow too long

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, bytes]:
        """(status, body); the path goes out as it is, dots and all."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        connection.request(method, path, urlencode(form) if form else None, headers)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.ask("GET", "/grace/state.json")[1])
        return state

    def start(self, **changed: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ask("POST", "/swarm", {**START, **changed})[1])
        return answer

    def in_force(self) -> set[str]:
        run = self.state()["run"]
        return {one["id"] for one in run["faults"] if one["state"] == "in force"} if run else set()

    def load(self) -> str:
        return str(json.loads(self.ask("GET", "/stats/requests")[1])["state"])

    def verdict(self) -> dict[str, Any]:
        def judged() -> dict[str, Any] | None:
            state = self.state()
            run: dict[str, Any] | None = state["run"]
            return run if run and run["verdict"] and not state["running"] else None

        found: dict[str, Any] = wait_for(judged, 120, "the verdict")
        return found


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = Door(probe.getsockname()[1], tmp_path, Path(tempfile.mkdtemp(prefix="web-")))
    command = [sys.executable, "-m", "locust", "-f", "locustfiles/grace.py", "--web-host", "127.0.0.1"]
    command += ["--web-port", str(found.port), "--out", str(found.out)]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "TMPDIR": str(found.twins)},
    )

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return found.ask("GET", "/grace/state.json")[0] == 200
        return False

    try:
        wait_for(answers, 30, "the page")
        yield found
        last = Verdict(found.verdict()["verdict"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=40)
        log.close()
    assert process.returncode == last.exit_code, "the exit code is the last verdict's"
    for place in (tmp_path, found.twins):
        wait_for(lambda p=place: not pids_with(str(p)), 5.0, "an end that leaves nothing behind")
    found.twins.rmdir()


def test_two_runs_in_one_process_are_seen_live_from_the_form_to_their_reports(door: Door) -> None:
    index = door.ask("GET", "/")[1].decode()
    assert '"extended_tabs": [{"key": "grace", "title": "Grace"}]' in index and "./grace/tab.js" in index
    choices = re.search(r'"choices": (\[[^]]*"MF01_triple_threat"[^]]*\])', index)
    assert choices and {"L2_worker_stall", "MF02_cascading_corruption"} <= set(json.loads(choices[1])), "a drop-down"
    assert b"HALT" in door.ask("GET", "/grace/")[1]
    answer = door.start(time_scale="0.1", seed="3")
    assert answer["success"], answer
    wait_for(lambda: door.state()["running"], 20, "a run")
    assert "a run goes on" in door.start()["message"], "one at a time"
    phases: list[str] = []

    def over() -> bool:
        run = door.state()["run"]
        if run["phase"] not in phases:
            phases.append(run["phase"])
        return run["verdict"] is not None

    wait_for(over, 120, "the verdict")
    assert [one for one in phases if one not in ("load", "done")] == ["baseline", "faults", "recovery"]
    run = door.verdict()
    folder = door.out / "MF01_triple_threat" / run["run_id"]
    assert run["seed"] == 3 and run["verdict"] == json.loads((folder / "incident.json").read_text())["verdict"]
    for name in ("report.html", "incident.json", "junit.xml"):
        assert door.ask("GET", f"/grace/runs/{run['run_id']}/{name}") == (200, (folder / name).read_bytes())
    page = (ROOT / "docs" / "run-folder.md").read_text()
    assert [one.name for one in folder.iterdir() if f"`{one.name}" not in page] == [], "the page tells of each file"
    stats = json.loads(door.ask("GET", "/stats/requests")[1])
    assert {"what": "verdict", "state": run["verdict"]} in stats["extended_stats"][0]["data"]
    refused_paths(door, run["run_id"])

    wait_for(lambda: door.load() == "stopped", 10, "the load to stop")
    assert door.start(time_scale="0.1", safeguards_off="kernel_watchdog")["success"]
    wait_for(lambda: door.state()["running"], 20, "a second run")
    second = door.verdict()
    assert second["run_id"] != run["run_id"] and [run["verdict"], second["verdict"]] == ["PASS", "FAIL"]
    red = [one for one in findings(folder.with_name(second["run_id"])) if one["verdict"] == "FAIL"]
    assert red and {one["check"] for one in red} <= OF_THE_WATCHDOG, red


def refused_paths(door: Door, run_id: str) -> None:
    (door.folder / "secret").write_text("secret")
    for path in ("../../../secret", "..%2f..%2f..%2fsecret", "undo.log", "target/target.yaml", "%2e%2e/%2e%2e/secret"):
        status, body = door.ask("GET", f"/grace/runs/{run_id}/{path}")
        assert status == 404 and b"secret" not in body, path
    assert door.ask("GET", "/grace/runs/20200101T000000.000000Z/report.html")[0] == 404


def test_halt_heals_within_a_second_and_the_run_is_inconclusive(door: Door) -> None:
    """The watchdog is off: nobody but the halt can bring the stopped kernel back."""
    assert door.start(safeguards_off="kernel_watchdog")["success"]
    wait_for(lambda: door.in_force() == {"acl_flood", "cpu_spike", "kernel_pause"}, 60, "three faults in force")
    folder = wait_for_event(door.out, "fault_attained", "cpu_spike")
    rows = [json.loads(line) for line in (folder / "timeline.jsonl").read_text().splitlines()]
    stopped = next(
        row["detail"]["pid"] for row in rows if (row["kind"], row["subject"]) == ("fault_injected", "kernel_pause")
    )
    assert process_state(stopped) == "T" and marked(f"{folder.name}/cpu_spike")
    assert door.ask("GET", "/grace/halt")[0] == 405 and door.in_force()
    began_s = time.monotonic()
    status, body = door.ask("POST", "/grace/halt")
    took_s = time.monotonic() - began_s
    assert process_state(stopped) != "T" and not marked(f"{folder.name}/cpu_spike"), "healed when it is answered"
    answer = json.loads(body)
    assert status == 200 and answer["halted"]
    assert answer["healed"] == dict.fromkeys(("acl_flood", "cpu_spike", "kernel_pause"), True)
    assert took_s < HALT_WITHIN_S
    run = door.verdict()
    assert (run["verdict"], run["cut_short"]) == ("INCONCLUSIVE", "halted")
    wait_for(lambda: door.load() == "stopped", 10, "the load to stop")
    assert door.ask("POST", "/grace/halt")[0] == 409, "there is nothing left to halt"


def test_a_start_that_is_refused_is_told_and_the_next_one_runs(door: Door) -> None:
    cases = {
        ("scenario", "MF01_tripl"): "Did you mean 'MF01_triple_threat'?",
        ("time_scale", "0"): "above 0 is expected",
        ("time_scale", "fast"): "a number above 0 is expected, not 'fast'",
        ("seed", "x"): "a whole number is expected, not 'x'",
        ("user_count", "0"): "a whole number above 0",
        ("host", "http://127.0.0.1:1"): "a host needs --target FILE",
        ("safeguards_off", "kernel_watchdg"): "Did you mean 'kernel_watchdog'?",
    }
    for (field, word), words in cases.items():
        answer = door.start(**{field: word})
        assert (answer["success"], words in answer["message"]) == (False, True), answer
        assert words in door.state()["refused"] and not door.state()["running"]
    shutil.rmtree(door.twins)  # a twin has nowhere to live
    answer = door.start()
    assert not answer["success"] and "No such file or directory" in answer["message"]
    assert door.load() == "ready" and not door.out.exists(), "nothing has started"
    door.twins.mkdir()
    assert door.start(control="true")["success"]
    wait_for(lambda: door.state()["running"], 20, "a run")
    assert door.state()["refused"] == ""
    assert json.loads(door.ask("POST", "/grace/halt")[1]) == {"halted": True, "healed": {}}
    assert door.verdict()["cut_short"] == "halted"


@pytest.mark.parametrize("place", ["run folder", "out"])
def test_a_stop_file_halts_a_run_and_one_that_is_left_refuses_the_next(tmp_path: Path, place: str) -> None:
    process = locust("--scenario", "MF01_triple_threat", "--safeguards-off", "kernel_watchdog", out=tmp_path)
    folder = wait_for_event(tmp_path, "fault_attained", "cpu_spike")
    ((folder if place == "run folder" else tmp_path) / "HALT").touch()
    code, said = finish(process, 30)
    assert code == 3, said[-3000:]
    because = {one["check"]: one["because"] for one in findings(folder)}["run_complete"]
    assert "cut short: halted by the stop file" in because
    assert not marked(f"{folder.name}/cpu_spike")
    if place == "out":
        code, said = finish(locust("--scenario", "MF01_triple_threat", out=tmp_path), 30)
        assert code == 2 and "the stop file of an earlier run is still there" in said
