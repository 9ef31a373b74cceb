"""Locust's own numbers (console, CSV, JSON, web page, master's totals) are what the server counted."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.flood.shapes import Server, hostile
from tests.processes import ROOT, free_port, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.beside]
USERS = str(ROOT / "tests" / "flood" / "hostile_users.py")
SETTLED = "the flood has settled"


class Locust:
    """A `locust` process whose words are read as they come."""

    def __init__(self, server: Server, *words: str, **variables: object) -> None:
        environment = {f"FLOOD_{name.upper()}": str(value) for name, value in variables.items()}
        command = [sys.executable, "-m", "locust", "-f", USERS, "--host", f"http://127.0.0.1:{server.port}", *words]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PATH": "", "PYTHONPATH": str(ROOT), "COLUMNS": "300", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line

    def wait_until_settled(self, limit_s: float = 60.0) -> None:
        wait_for(lambda: SETTLED in self.said or self.process.poll() is not None, limit_s, "an end of the flood")
        assert SETTLED in self.said, self.said[-3000:]

    def end(self, sign: signal.Signals = signal.SIGTERM) -> str:
        if self.process.poll() is None:
            self.process.send_signal(sign)
        self.process.wait(timeout=30)
        self.reader.join(timeout=10)
        return self.said


def of_server(told: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """{name: (requests, failures)}"""
    found: dict[str, tuple[int, int]] = {}
    for key, count in told["counts"].items():
        name, _, outcome = key.split(" ")
        requests, failures = found.get(f"/{name}", (0, 0))
        found[f"/{name}"] = requests + count, failures + count * (outcome == "failed")
    return found


def both(rows: dict[str, tuple[int, int]]) -> tuple[int, int]:
    return sum(one for one, _ in rows.values()), sum(one for _, one in rows.values())


def of_csv(prefix: Path) -> dict[str, tuple[int, int]]:
    with Path(f"{prefix}_stats.csv").open(encoding="utf-8") as file:
        return {row["Name"]: (int(row["Request Count"]), int(row["Failure Count"])) for row in csv.DictReader(file)}


def wait_for_csv(prefix: Path, total: int) -> None:
    """Locust writes it once a second, and not once more at the end."""
    wait_for(lambda: of_csv(prefix).get("Aggregated", (0, 0))[0] >= total, 20, f"a CSV of {total} requests")


def failures_of_csv(prefix: Path) -> int:
    with Path(f"{prefix}_failures.csv").open(encoding="utf-8") as file:
        return sum(int(row["Occurrences"]) for row in csv.DictReader(file))


def of_console(said: str) -> dict[str, tuple[int, int]]:
    """The last table that was printed."""
    rows = re.findall(r"^(?:POST)? +(/\w+|Aggregated) +(\d+) +(\d+)\([\d.]+%\)", said, re.MULTILINE)
    return {name: (int(requests), int(failures)) for name, requests, failures in rows}


@pytest.mark.parametrize("rate", [0, 900], ids=["closed", "open"])
@pytest.mark.parametrize("words", [(), ("--json-file", "x")], ids=["console", "json"])
def test_alone_every_way_to_tell_tells_what_the_server_counted(
    tmp_path: Path, words: tuple[str, ...], rate: int
) -> None:
    if words:
        words = (words[0], str(tmp_path / words[1]))
    with hostile() as server:
        run = Locust(server, "--headless", "-u", "1", "--csv", str(tmp_path / "x"), *words, total=1500, rate=rate)
        try:
            run.wait_until_settled()
            wait_for_csv(tmp_path / "x", 1500)
        finally:
            said = run.end()
        told = server.told()
    true = of_server(told)
    assert both(true)[0] == 1500
    total = {"Aggregated": both(true)}
    assert of_csv(tmp_path / "x") == true | total
    assert failures_of_csv(tmp_path / "x") == both(true)[1]
    if not words:
        assert of_console(said) == true | total
        return
    entries = json.loads((tmp_path / "x.json").read_text())
    assert {one["name"]: (one["num_requests"], one["num_failures"]) for one in entries} == true
    assert sum(one["total_content_length"] for one in entries) == told["facts"]["body bytes"]
    assert all(sum(one["response_times"].values()) == one["num_requests"] for one in entries)


@pytest.mark.parametrize("kind", ["shapes", "template"])
def test_a_master_with_two_workers_and_its_web_page_tell_what_the_server_counted(tmp_path: Path, kind: str) -> None:
    port, web_port = free_port(), free_port()
    join = ("--worker", "--master-host", "127.0.0.1", "--master-port", str(port))
    lead = ("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port), "--expect-workers", "2")
    page = ("--web-host", "127.0.0.1", "--web-port", str(web_port), "--autostart", "-u", "2", "-r", "2")
    with hostile() as server:
        master = Locust(server, *lead, *page, "--csv", str(tmp_path / "x"), total=1500, kind=kind)
        workers = [Locust(server, *join, total=1500, kind=kind, rate=rate) for rate in (0, 700)]
        try:
            for worker in workers:
                worker.wait_until_settled()
            true = of_server(server.told())
            assert both(true)[0] == 3000
            seen = wait_for(lambda: of_page(web_port, 3000), 20, "the page's totals")
            wait_for_csv(tmp_path / "x", 3000)
        finally:
            said = master.end()
            for worker in workers:
                worker.end()
    total = {"Aggregated": both(true)}
    assert seen == true | total
    assert of_console(said) == true | total
    assert of_csv(tmp_path / "x") == true | total
    assert failures_of_csv(tmp_path / "x") == both(true)[1]


def of_page(port: int, total: int) -> dict[str, tuple[int, int]] | None:
    """What the web page shows, once it shows *total* requests."""
    with urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=5) as answer:
        rows = json.load(answer)["stats"]
    found = {one["name"]: (one["num_requests"], one["num_failures"]) for one in rows}
    return found if found.get("Aggregated", (0, 0))[0] >= total else None


@pytest.mark.parametrize("words", [(), ("--stop-timeout", "20")], ids=["at once", "graceful"])
def test_a_stop_is_honoured_at_once(words: tuple[str, ...]) -> None:
    """A flood without end. What was under way when it was killed may have been answered, and is not counted."""
    with hostile() as server:
        run = Locust(server, "--headless", "-u", "1", *words, total=0, kind="template")
        try:
            wait_for(lambda: sum(server.told()["counts"].values()) > 500, 30, "a flood")
        finally:
            began = time.monotonic()
            said = run.end(signal.SIGINT)
            took_s = time.monotonic() - began
        true = both(of_server(server.told()))[0]
    assert took_s < 15, said[-2000:]
    counted = of_console(said)["Aggregated"][0]
    assert counted == true if words else counted <= true <= counted + 20


def test_a_graceful_stop_of_all_loses_no_count() -> None:
    port = free_port()
    join = ("--worker", "--master-host", "127.0.0.1", "--master-port", str(port))
    lead = ("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port), "--expect-workers", "2")
    with hostile() as server:
        master = Locust(server, *lead, "--headless", "-u", "2", "-r", "2", "--stop-timeout", "20", total=0)
        workers = [Locust(server, *join, "--stop-timeout", "20", total=0, kind="template") for _ in range(2)]
        try:
            wait_for(lambda: sum(server.told()["counts"].values()) > 500, 30, "a flood")
        finally:
            said = master.end()
            for worker in workers:
                worker.end()
        true = of_server(server.told())
    assert of_console(said)["Aggregated"] == both(true)


def test_a_host_elsewhere_is_refused_and_told() -> None:
    with hostile() as server:
        run = Locust(server, "--headless", "-u", "1", "-t", "2", "--host", "http://192.0.2.1", total=10)
        code = run.process.wait(30)
        run.reader.join(timeout=10)
    assert code == 1 and "nobody has authorised it" in run.said
    assert SETTLED not in run.said
