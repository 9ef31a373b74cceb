"""The other two doors: the web page, twice in one process, and a call from Python. The verdict is the same."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from harness.suite import RunRefused, enhanced_chaos_runner
from tests.processes import ROOT, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_call_from_python(tmp_path: Path) -> None:
    run = enhanced_chaos_runner.run_scenario("MF01_triple_threat", time_scale=0.1, seed=3, out=tmp_path)
    incident = asyncio.run(run)
    assert (incident["verdict"], incident["seed"]) == ("PASS", 3)


def test_a_call_with_a_wrong_word_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunRefused, match="Did you mean 'MF01_triple_threat'"):
        asyncio.run(enhanced_chaos_runner.run_scenario("MF01_triple_thread", out=tmp_path))


def test_the_web_page_runs_twice_in_one_process(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "locust", "-f", "locustfiles/grace.py", "--web-host", "127.0.0.1"]
    command += ["--web-port", str(port), "--out", str(tmp_path / "out")]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def form() -> str:
        try:
            with urlopen(page, timeout=2) as answer:
                text: str = answer.read().decode()
                return text
        except (URLError, OSError):
            return ""

    def verdicts() -> list[str]:
        written = (tmp_path / "out").glob("*/*/junit.xml")  # the last of the reports
        return [json.loads(path.with_name("incident.json").read_text())["verdict"] for path in written]

    try:
        assert "MF01_triple_threat" in wait_for(form, 20, "the page"), "the form offers the scenarios"
        for number in (1, 2):
            fields = {"user_count": 20, "spawn_rate": 20, "scenario": "MF01_triple_threat", "time_scale": "0.1"}
            with urlopen(f"{page}/swarm", urlencode(fields).encode(), timeout=20) as answer:
                assert json.load(answer)["success"]
            wait_for(lambda n=number: len(verdicts()) == n, 90, f"verdict {number}")

            def stopped() -> bool:
                with urlopen(f"{page}/stats/requests", timeout=5) as answer:
                    return json.load(answer)["state"] == "stopped"

            wait_for(stopped, 10, "the load to stop")
        assert verdicts() == ["PASS", "PASS"], (tmp_path / "log").read_text()[-4000:]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        log.close()
    assert process.returncode == 0, "the exit code is the last verdict's"
