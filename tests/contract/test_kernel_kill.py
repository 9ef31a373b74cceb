"""kernel_kill ends the very processes that it names, and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from faults.helpers import killing
from faults.kernel_kill import KernelKill
from harness.catalog import CatalogError, build_fault
from harness.contracts import Hands, ProcessId, TargetError
from harness.guardian_link import GuardianLink
from harness.limits import protected
from harness.model import Effect, Hold, Undo
from harness.process import read_process, same
from harness.undo import heal
from tests.processes import ROOT, wait_for

DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(1, flush=True)\ntime.sleep(60)"
NO_HANDS: Hands = None  # type: ignore[assignment]


class Kernels:
    """A target whose kernels are processes that do not heed a SIGTERM."""

    def __init__(self, *names: str) -> None:
        self.children = {name: self.start() for name in names}

    @staticmethod
    def start() -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
        assert child.stdout and child.stdout.readline() == b"1\n"
        child.stdout.close()
        return child

    def process(self, name: str) -> ProcessId:
        found = read_process(self.children[name].pid) if name in self.children else None
        if found is None:
            raise TargetError(f"no process {name}")
        return found


@pytest.fixture
def kernels() -> Iterator[Kernels]:
    one = Kernels("a", "b", "c")
    yield one
    for child in one.children.values():
        child.kill()
        child.wait()


def test_those_that_are_named_die_and_no_other(kernels: Kernels) -> None:
    fault = KernelKill(targets=("a", "b"))
    before = {name: kernels.process(name) for name in "abc"}
    undo = fault.prepare(kernels)  # type: ignore[arg-type]
    assert [one["pid"] for one in undo.primitives] == [before[name].pid for name in "ab"]
    assert all(same(process) for process in before.values()), "prepare touches nothing"
    assert all(result["verified"] for result in heal(undo))
    effect = fault.inject(kernels, undo, NO_HANDS)  # type: ignore[arg-type]
    wait_for(lambda: fault.sample(kernels, undo, effect, NO_HANDS).achieved == 2.0, 2)  # type: ignore[arg-type]
    assert [kernels.children[name].wait(2) for name in "ab"] == [-9, -9]
    assert same(before["c"]) and fault.asked.floor == 2.0
    for _ in range(2):
        assert all(result["verified"] for result in heal(undo))


def test_a_successor_does_not_bring_the_dead_back(kernels: Kernels) -> None:
    fault = KernelKill(target="a")
    effect = fault.inject(kernels, fault.prepare(kernels), NO_HANDS)  # type: ignore[arg-type]
    kernels.children["a"].wait(2)
    kernels.children["a"] = kernels.start()
    sample = fault.sample(kernels, Undo(), effect, NO_HANDS)  # type: ignore[arg-type]
    assert (sample.achieved, sample.hold) == (1.0, Hold.HOLDS)
    same_pid = {"killed": {"a": asdict(replace(kernels.process("a"), start_ticks=1))}}
    assert fault.sample(kernels, Undo(), Effect(facts=same_pid), NO_HANDS).achieved == 1.0, (  # type: ignore[arg-type]
        "a pid with a new owner is not the old process"
    )


def test_a_signal_that_is_not_heeded_is_no_kill(kernels: Kernels) -> None:
    fault = KernelKill(target="a", kill_method="SIGTERM")
    effect = fault.inject(kernels, fault.prepare(kernels), NO_HANDS)  # type: ignore[arg-type]
    sample = fault.sample(kernels, Undo(), effect, NO_HANDS)  # type: ignore[arg-type]
    assert sample.achieved == 0.0 < fault.asked.floor and sample.detail == {"left": ["a"]}


def test_gone_before_the_kill_is_not_injected(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = KernelKill(target="a")
    with monkeypatch.context() as patched, pytest.raises(TargetError, match="a: gone before the SIGKILL came"):
        patched.setattr(killing, "send", lambda process, number: False)
        fault.inject(kernels, fault.prepare(kernels), NO_HANDS)  # type: ignore[arg-type]
    undo = fault.prepare(kernels)  # type: ignore[arg-type]
    kernels.children["a"].kill()
    kernels.children["a"].wait()
    kernels.children["a"] = kernels.start()
    with pytest.raises(TargetError, match="a: gone before the SIGKILL came"):
        fault.inject(kernels, undo, NO_HANDS)  # type: ignore[arg-type]
    assert same(kernels.process("a")), "a successor was never looked at by the limits"
    kernels.children["b"].kill()
    kernels.children["b"].wait()
    with pytest.raises(TargetError, match="no process b"):
        KernelKill(targets=("a", "b")).prepare(kernels)  # type: ignore[arg-type]


class Aimed:
    """A target whose manifest's words fit a process that must live."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def process(self, name: str) -> ProcessId:
        found = read_process(self.pid)
        assert found
        return found


def test_the_guardian_is_seen_by_the_limits_before_anything_is_done(link: GuardianLink) -> None:
    assert "its guardian" in protected(KernelKill(target="a").prepare(Aimed(link.pid)), [link.pid])  # type: ignore[arg-type]
    assert "its parents" in protected(KernelKill(target="a").prepare(Aimed(os.getppid())), [])  # type: ignore[arg-type]


PARENT = f"grace-chaos-parent-of-a-test-{os.getpid()}"
CHILD = """
import signal, sys
from pathlib import Path
from faults.kernel_kill import KernelKill
from faults.kernel_pause import KernelPause
from harness.process import send
from harness.target import load_target
target = load_target(Path(sys.argv[1]))
for fault in (KernelKill(target="victim"), KernelPause(target="victim", pause_seconds=5)):
    try:
        fault.inject(target, fault.prepare(target), None)
    except ValueError as error:
        print("refused:", error, flush=True)
print("continued", send(target.process("victim"), signal.SIGCONT), flush=True)
"""


def test_a_manifest_that_fits_the_parent_only_is_refused_whoever_calls(tmp_path: Path) -> None:
    """The parent is a shell of the test's own; it must be able to say that it lives."""
    manifest = {
        "schema": "grace-target/1",
        "base_url": "http://127.0.0.1:1",
        "processes": {"victim": {"cmdline": PARENT}},
        "routes": [{"name": "GET /", "method": "GET", "path": "/", "kernels": ["victim"]}],
    }
    (tmp_path / "target.yaml").write_text(json.dumps(manifest))
    (tmp_path / "child.py").write_text(CHILD)
    words = f"{sys.executable} child.py target.yaml; echo the parent lives"
    shell = subprocess.Popen(
        ["sh", "-c", words, PARENT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said, _ = shell.communicate(timeout=20)
    finally:
        shell.kill()
    refused = f"refused: pid {shell.pid} is never a target: it is a parent of this process"
    assert said.splitlines() == [refused, refused, "continued True", "the parent lives"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, r"kernel_kill\.target: either target"),
        ({"target": "a", "targets": ["b"]}, r"kernel_kill\.target: either target"),
        ({"targets": ["a", "a"]}, "named twice"),
        ({"targets": "a"}, "a list of kernels is expected, not 'a'"),
        ({"targets": [1]}, "a list of kernels"),
        ({"target": "a", "kill_method": "SIGSEGV"}, "'SIGSEGV'. Known: SIGKILL, SIGTERM"),
    ],
)
def test_what_cannot_be_is_refused_in_words(values: dict[str, object], words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        build_fault("kernel_kill", values)
