"""The embedded Grace as its clients and its enemies see it: real processes, real signals, real HTTP."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
import yaml

from harness.process import process_state
from tests.processes import pids_with, twin, wait_for

pytestmark = pytest.mark.slow


def manifest(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((folder / "target.yaml").read_text())
    return data


def ask(base_url: str, route: dict[str, Any], timeout_s: float = 4.0) -> int:
    """The status of a route; 0 when no answer came."""
    data = json.dumps(route["body"]).encode() if "body" in route else None
    request = Request(base_url + route["path"], data, {"Content-Type": "application/json"}, method=route["method"])
    try:
        with urlopen(request, timeout=timeout_s) as answer:
            status: int = answer.status
            return status
    except HTTPError as error:
        return error.code
    except (URLError, OSError):
        return 0


def told(folder: Path, what: str) -> Any:
    with urlopen(f"{manifest(folder)['base_url']}/api/control-plane/{what}", timeout=5) as answer:
        return json.load(answer)


def pid_of(folder: Path, kernel: str) -> int:
    return int((folder / "run" / f"{kernel}.pid").read_text())


def test_it_is_ready_small_and_complete(tmp_path: Path) -> None:
    with twin(tmp_path):
        kernels = told(tmp_path, "kernels")["kernels"]
        assert len(kernels) == 20 and {kernel["state"] for kernel in kernels} == {"running"}
        assert len({kernel["pid"] for kernel in kernels}) == 20
        pss_kb = 0
        for pid in pids_with(str(tmp_path)):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            pss_kb += int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))
        assert pss_kb < 400 * 1024


@pytest.mark.beside
def test_each_kernel_does_work_that_a_client_sees(tmp_path: Path) -> None:
    """Stops each kernel in turn: its route fails, and those of all others answer."""
    with twin(tmp_path, off="kernel_watchdog,resource_pressure_monitor"), ThreadPoolExecutor(24) as pool:
        data = manifest(tmp_path)
        routes = {route["witness_of"]: route for route in data["routes"] if route.get("witness_of")}
        assert set(routes) == set(data["processes"]), "every kernel has a route that shows its life"
        for kernel, route in routes.items():
            pid = pid_of(tmp_path, kernel)
            os.kill(pid, signal.SIGSTOP)
            others = {
                name: pool.submit(ask, data["base_url"], one)
                for name, one in routes.items()
                if name != kernel and kernel not in one["kernels"]
            }
            assert ask(data["base_url"], route) in (0, 503, 504), f"{kernel} is stopped, and {route['name']} answers"
            assert {name for name, got in others.items() if got.result() not in (200, 202)} == set(), (
                f"with {kernel} stopped"
            )
            os.kill(pid, signal.SIGCONT)
            wait_for(lambda r=route: ask(data["base_url"], r) in (200, 202), 10, f"{kernel}'s route after it goes on")


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_the_watchdog_replaces_a_kernel_and_its_state_is_still_there(tmp_path: Path, how: signal.Signals) -> None:
    with twin(tmp_path):
        base_url = manifest(tmp_path)["base_url"]
        body = {"category": "c", "content": "the quick zebra", "source": "user"}
        added = {"method": "POST", "path": "/api/knowledge", "body": body}
        assert ask(base_url, added) == 200
        old = pid_of(tmp_path, "memory_fusion")
        os.kill(old, how)
        wait_for(lambda: pid_of(tmp_path, "memory_fusion") != old, 10, "a new process")
        route = {"method": "GET", "path": "/api/knowledge?q=zebra"}
        wait_for(lambda: ask(base_url, route) == 200, 10, "its route")
        with urlopen(base_url + route["path"]) as answer:
            assert json.load(answer)["results"][0]["content"] == "the quick zebra"
        wait_for(lambda: not told(tmp_path, "safeguards")["safeguards"][2]["engaged"], 10, "the release")
        topics = [event["topic"] for event in told(tmp_path, "events?since=0")["events"]]
        assert topics.index("event.incident") < topics.index("kernel.restart.success")


def test_without_the_watchdog_a_dead_kernel_stays_dead(tmp_path: Path) -> None:
    with twin(tmp_path, off="kernel_watchdog"):
        old = pid_of(tmp_path, "librarian")
        os.kill(old, signal.SIGKILL)
        states = lambda: {one["name"]: one["state"] for one in told(tmp_path, "kernels")["kernels"]}  # noqa: E731
        wait_for(lambda: states()["librarian"] == "failed", 5)
        assert pid_of(tmp_path, "librarian") == old
        assert told(tmp_path, "events?since=0")["events"] == []


def test_the_restart_budget_ends_in_quarantine(tmp_path: Path) -> None:
    with twin(tmp_path):
        for _ in range(3):
            old = pid_of(tmp_path, "sandbox")
            os.kill(old, signal.SIGKILL)
            wait_for(lambda pid=old: pid_of(tmp_path, "sandbox") != pid, 10)
            wait_for(lambda: not told(tmp_path, "safeguards")["safeguards"][2]["engaged"], 10)
        os.kill(pid_of(tmp_path, "sandbox"), signal.SIGKILL)
        state = lambda: {one["name"]: one["state"] for one in told(tmp_path, "kernels")["kernels"]}  # noqa: E731
        wait_for(lambda: state()["sandbox"] == "quarantined", 10)


@pytest.mark.parametrize("victim", ["supervisor", "zygote"])
def test_sigkill_leaves_no_orphan_even_of_a_stopped_kernel(tmp_path: Path, victim: str) -> None:
    with twin(tmp_path) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        kernel = pid_of(tmp_path, "memory_fusion")
        os.kill(kernel, signal.SIGSTOP)
        wait_for(lambda: process_state(kernel) == "T", 2)
        os.kill(process.pid if victim == "supervisor" else int(children[0]), signal.SIGKILL)
        process.wait(timeout=5)
        wait_for(lambda: not pids_with(str(tmp_path)), 2.0, "an end without orphans")


def test_two_twins_live_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with twin(tmp_path / "a"), twin(tmp_path / "b"):
        urls = {manifest(tmp_path / name)["base_url"] for name in "ab"}
        assert len(urls) == 2
        assert all(ask(url, {"method": "GET", "path": "/health"}) == 200 for url in urls)
