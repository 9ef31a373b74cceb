"""What is kept of a run: the control plane's answers in bounds, the ends of logs, and where a hung kernel stood."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import dump
from harness.dump import Stacks, blamed, control_plane, hung, keep_logs
from harness.model import Finding, Verdict
from harness.process import process_state
from tests.fake_target import Answer, as_json, serving, target
from tests.processes import wait_for

pytestmark = pytest.mark.timeout(30)
LOOPS = """
import sys
def stands_here():
    print("ready", flush=True)
    while True: pass
stands_here()
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[int]:
    """The pid of a kernel that is at work, and is then stopped."""
    process = subprocess.Popen([sys.executable, "-c", LOOPS], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        (tmp_path / "librarian.pid").write_text(str(process.pid))
        os.kill(process.pid, signal.SIGSTOP)
        wait_for(lambda: process_state(process.pid) == "T", 5, "a stopped process")
        yield process.pid
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def taken(tmp_path: Path, name: str = "librarian") -> str:
    one = target(tmp_path, processes={"librarian": {"pid_file": str(tmp_path / "librarian.pid")}})
    stacks = Stacks(one, tmp_path)
    stacks.take({name: "its process is stopped"}, 3.0)
    stacks.wait()
    return (tmp_path / "dump" / "stacks" / f"{name}.txt").read_text()


def test_a_stopped_kernel_s_stack_is_taken_and_it_stays_stopped(tmp_path: Path, kernel: int) -> None:
    text = taken(tmp_path)
    assert text.startswith("librarian at 3.00 s of the run: its process is stopped\n")
    assert f"pid {kernel}\n" in text and "State:\tT (stopped)" in text
    assert "stands_here (" in text, "the function in which it stands"
    assert process_state(kernel) == "T"


def test_without_py_spy_or_the_right_to_trace_it_says_so(
    tmp_path: Path, kernel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "py_spy", lambda: None)
    assert "no stack: py-spy is not installed" in taken(tmp_path)
    refuses = tmp_path / "py-spy"
    refuses.write_text("#!/bin/sh\necho 'Permission Denied: Try running again with elevated permissions' >&2\nexit 1\n")
    refuses.chmod(0o755)
    monkeypatch.setattr(dump, "py_spy", lambda: str(refuses))
    assert "Permission Denied" in taken(tmp_path) and "it takes the right to trace" in taken(tmp_path)
    refuses.write_text("no program")
    assert "no stack: py-spy cannot be started" in taken(tmp_path)


def test_a_kernel_that_is_gone_is_told(tmp_path: Path) -> None:
    assert "0 living processes fit" in taken(tmp_path)
    assert "no process 'nobody'" in taken(tmp_path, "nobody")


def test_each_kernel_once_and_no_more_than_a_few(tmp_path: Path) -> None:
    stacks = Stacks(target(tmp_path), tmp_path)
    stacks.take(dict.fromkeys("abcdefgh", "x"), 1.0)
    stacks.wait()
    stacks.take({"a": "again"}, 2.0)
    stacks.wait()
    texts = [path.read_text() for path in (tmp_path / "dump" / "stacks").iterdir()]
    assert len(texts) == dump.STACKS_MAX and not any("again" in text for text in texts)


def test_what_hangs_is_known_by_what_was_seen_of_it() -> None:
    ages = {("kernel_heartbeat_age_s", name): (9.0, age) for name, age in (("a", 0.4), ("b", 1.6), ("c", 0.1))}
    assert hung("abc", {"c": "T", "a": "running"}, ages) == {
        "b": "its heartbeat is 1.6 s old",
        "c": "its process is stopped",
    }
    assert hung("abc", {}, {}) == {}


def test_a_kernel_is_blamed_by_a_claim_that_failed_about_it() -> None:
    def finding(verdict: Verdict, claim: str, because: str = "") -> Finding:
        return Finding(check="x", verdict=verdict, claim=claim, because=because)

    findings = [
        finding(Verdict.FAIL, "librarian restarted within 60s"),
        finding(Verdict.PASS, "sandbox restarted within 60s"),
        finding(Verdict.FAIL, "all kernels survive", "at the end governance is T"),
        finding(Verdict.INCONCLUSIVE, "scheduler restarted within 60s"),
    ]
    kernels = ("librarian", "sandbox", "governance", "scheduler", "library")
    assert blamed(findings, kernels) == {
        "librarian": "FAIL: librarian restarted within 60s",
        "governance": "FAIL: all kernels survive",
    }


def test_the_control_plane_is_kept_in_bounds_and_what_it_does_not_tell_is_said(tmp_path: Path) -> None:
    events = [{"n": n, "text": "x" * 1000} for n in range(2000)]
    with serving() as server:
        server.answers |= {
            "/kernels": as_json({"kernels": [{"name": "librarian"}]}),
            "/events": as_json({"events": events, "next": 2000}),
            "/metrics": Answer(body=b"grace_up 1\n"),
            "/safeguards": Answer(status=503, body=b"busy"),
        }
        control_plane(target(tmp_path, base_url=server.base_url), tmp_path, "before")
    place = tmp_path / "dump" / "before"
    assert json.loads((place / "kernels.json").read_text())["kernels"] == [{"name": "librarian"}]
    kept = json.loads((place / "events.json").read_text())
    assert kept["events"][-1]["n"] == 1999 and kept["left_out"] + len(kept["events"]) == 2000
    assert (place / "metrics.txt").read_text() == "grace_up 1\n"
    assert (place / "safeguards.txt").read_text() == "/safeguards answers 503: busy\n"
    assert max(path.stat().st_size for path in place.iterdir()) < 2 * dump.PAGE_BYTES_MAX
    control_plane(target(tmp_path), tmp_path, "after")  # nobody listens any more
    texts = [path.read_text() for path in (tmp_path / "dump" / "after").iterdir()]
    assert len(texts) == 4 and all("refused" in text for text in texts)
    assert sum(text.startswith("not asked for any more: /") for text in texts) == 3


def test_of_a_long_log_the_end_is_kept(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    (logs / "sub").mkdir(parents=True)
    (logs / "short.log").write_text("whole\n")
    (logs / "sub" / "long.log").write_bytes(b"x" * dump.LOG_BYTES_MAX + b"the end\n")
    keep_logs(logs, tmp_path / "kept")
    assert (tmp_path / "kept" / "short.log").read_text() == "whole\n"
    long = (tmp_path / "kept" / "sub" / "long.log").read_text()
    assert long.startswith("[the first 8 bytes are left out]\n") and long.endswith("the end\n")


def test_py_spy_is_that_of_this_python() -> None:
    found = dump.py_spy()
    assert found and Path(found).parent == Path(sys.executable).parent
