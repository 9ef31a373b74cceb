"""A borrowed thread runs what it is given and goes on as before, whoever dies meanwhile; else it is said why not."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.helpers import borrowing
from faults.helpers.borrowing import NoBorrowing, resumption, run_in, way_into
from faults.helpers.images import Memory, gnu_hash, images
from harness.contracts import ProcessId
from harness.process import read_process, same
from tests.contract.victims import Pool
from tests.processes import ROOT, wait_for

# Threads that compute and check what they compute, and a main thread that waits in one of several ways, or never.
CRUNCHES = """
import math, os, select, sys, threading, time
folder, way, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
rounds = [0]
def crunch(seed):
    first = None
    while True:
        x = seed
        for i in range(5000):
            x = math.sin(x) * 1.1 + i * 1e-7
        first = x if first is None else first
        if x != first:
            os._exit(77)
        rounds[0] += 1
for number in range(count):
    threading.Thread(target=crunch, args=(number + 0.5,), daemon=True).start()
poll, event = select.poll(), threading.Event()
ways = {
    "sleep": lambda: time.sleep(0.02),
    "poll": lambda: poll.poll(20),
    "select": lambda: select.select([], [], [], 0.02),
    "lock": lambda: event.wait(0.02),
    "never": lambda: sum(range(1000)),
}
while True:
    began = time.monotonic()
    ways[way]()
    if way != "never" and time.monotonic() - began < 0.0195:
        os._exit(78)
    rounds[0] += 1
    with open(folder + "/rounds.new", "w") as file:
        file.write(str(rounds[0]))
    os.rename(folder + "/rounds.new", folder + "/rounds")
"""


class Cruncher:
    """A process that checks itself."""

    def __init__(self, folder: Path, way: str, threads: int, python: str = sys.executable) -> None:
        self.folder = folder
        self.child = subprocess.Popen([python, "-c", CRUNCHES, str(folder), way, str(threads)])
        wait_for(lambda: self.rounds() > 0, 10, "its first round")

    def rounds(self) -> int:
        with contextlib.suppress(OSError):
            return int((self.folder / "rounds").read_text())
        return 0

    @property
    def process(self) -> ProcessId:
        found = read_process(self.child.pid)
        assert found, f"it has ended with {self.child.poll()}"
        return found

    def ran(self, limit_s: float = 3.0) -> int:
        """Sends a thread, and waits until it has run; how many have by now."""
        before, file = self.count(), self.folder / "ran"
        run_in(self.process, f"with open({str(file)!r}, 'a') as file: file.write('x')\n", limit_s)
        wait_for(lambda: self.count() > before, 5, "that the text is run")
        return self.count()

    def count(self) -> int:
        with contextlib.suppress(OSError):
            return (self.folder / "ran").stat().st_size
        return 0

    def goes_on(self, limit_s: float = 5.0) -> None:
        before = self.rounds()
        wait_for(lambda: self.rounds() > before, limit_s, "another round")
        assert self.child.poll() is None

    def close(self) -> None:
        self.child.kill()
        self.child.wait()


@contextlib.contextmanager
def cruncher(folder: Path, way: str, threads: int, python: str = sys.executable) -> Iterator[Cruncher]:
    one = Cruncher(folder, way, threads, python)
    try:
        yield one
    finally:
        one.close()


@pytest.mark.parametrize(("way", "threads"), [("sleep", 2), ("poll", 1), ("select", 0), ("lock", 2)])
def test_it_runs_every_time_and_the_process_never_miscounts(tmp_path: Path, way: str, threads: int) -> None:
    with cruncher(tmp_path, way, threads) as one:
        assert [one.ran() for _ in range(25)] == list(range(1, 26))
        one.goes_on()


def test_who_waits_for_the_gil_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its threads compute: it is refused, and goes on. Borrowed all the same, it never would again."""
    with cruncher(tmp_path, "never", 2) as one:
        with pytest.raises(NoBorrowing, match="none of its threads was found asleep"):
            run_in(one.process, "pass", 0.3)
        one.goes_on()
        monkeypatch.setattr(borrowing, "FUTEX", -1)
        with pytest.raises(AssertionError, match=r"text is run|another round"):
            for _ in range(20):
                one.ran()
                one.goes_on(2.0)


KILLED = """
import sys
from faults.helpers.borrowing import run_in
from harness.process import read_process
while True:
    run_in(read_process(int(sys.argv[1])), "pass")
    print(1, flush=True)
"""


def test_its_sender_killed_at_any_moment(tmp_path: Path) -> None:
    pool = Pool(tmp_path, names=("crew_1",))
    generator = random.Random(20261125)
    try:
        process = pool.process("crew_1")
        for _ in range(15):
            command = [sys.executable, "-c", KILLED, str(process.pid)]
            sender = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
            assert sender.stdout and sender.stdout.readline() == b"1\n"
            with contextlib.suppress(subprocess.TimeoutExpired):
                sender.wait(generator.uniform(0.0, 0.02))
            sender.kill()
            sender.wait()
            sender.stdout.close()
        assert same(process)
        pool.goes_on("crew_1")
        pool.nothing_lost("crew_1")
    finally:
        pool.close()


def test_any_other_python_of_this_machine(tmp_path: Path) -> None:
    """Also one that is stripped, or linked into one file: what the system calls python3, if it has one."""
    found = {os.path.realpath(one) for one in (shutil.which("python3", path="/usr/bin:/bin"), sys.executable) if one}
    for number, python in enumerate(sorted(found)):
        (tmp_path / str(number)).mkdir()
        with cruncher(tmp_path / str(number), "sleep", 1, python) as one:
            assert one.ran() == 1
            one.goes_on()


def test_what_is_no_python_is_refused() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        wait_for(lambda: Path(f"/proc/{child.pid}/exe").readlink().name != "python", 3)
        process = read_process(child.pid)
        assert process
        wait_for(lambda: "it has no PyGILState_Ensure" in why_not(process), 3, "that it is looked into")
    finally:
        child.kill()
        child.wait()
    assert "gone" in why_not(process)
    with pytest.raises(ValueError, match="never a target"):
        run_in(ProcessId(pid=os.getppid(), start_ticks=1, boot_id=""), "pass")


def why_not(process: ProcessId) -> str:
    try:
        way_into(process)
    except NoBorrowing as error:
        return str(error)
    return ""


SCOPES = ((0, False, False), (1, False, True), (1, True, False), (2, True, False), (3, True, True))
STRANGER = """
import os, sys
from faults.helpers.borrowing import NoBorrowing, way_into
from harness.process import read_process
process = read_process(int(sys.argv[1]))
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    way_into(process)
except NoBorrowing as error:
    print(error)
"""


def test_without_the_right_to_trace_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with cruncher(tmp_path, "sleep", 0) as one:
        pid = one.child.pid if os.geteuid() == 0 else 1
        command = [sys.executable, "-c", STRANGER, str(pid)]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert "this user may not trace it" in told
        scope = tmp_path / "ptrace_scope"
        for value, root, refused in SCOPES:  # kernel.yama.ptrace_scope, whether root, whether refused
            scope.write_text(f"{value}\n")
            monkeypatch.setattr(borrowing, "YAMA", scope)
            monkeypatch.setattr(borrowing, "_privileged", lambda root=root: root)
            assert (f"kernel.yama.ptrace_scope is {value}: 0 is needed" in why_not(one.process)) == refused
        monkeypatch.undo()
        assert borrowing._scope(tmp_path / "no_such") == 0
        monkeypatch.setattr(borrowing.platform, "machine", lambda: "aarch64")
        assert why_not(one.process) == "it is done on x86_64 only, and this is aarch64"
        monkeypatch.undo()
        monkeypatch.setattr(borrowing, "_may_trace", lambda: False)
        assert "ptrace is forbidden here" in why_not(one.process)


TRACER = """
import ctypes, sys
libc = ctypes.CDLL(None)
print(libc.ptrace(0x4206, int(sys.argv[1]), 0, 0), flush=True)
sys.stdin.read()
"""


def test_a_debugger_at_it_is_said(tmp_path: Path) -> None:
    with cruncher(tmp_path, "sleep", 0) as one:
        command = [sys.executable, "-c", TRACER, str(one.child.pid)]
        tracer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert tracer.stdout and tracer.stdout.readline() == b"0\n"
            with pytest.raises(NoBorrowing, match="a debugger may be at it"):
                run_in(one.process, "pass")
        finally:
            tracer.communicate()
        assert one.ran() == 1


def test_how_a_thread_goes_on() -> None:
    def registers(number: int, result: int) -> list[int]:
        values = [0] * 27
        values[borrowing.R_ORIG_RAX], values[borrowing.R_RAX] = number, result % (1 << 64)
        values[borrowing.R_RIP] = 1000
        return values

    assert resumption(registers(7, -512)) == (7, 998), "made once more"
    assert resumption(registers(270, -514)) == (270, 998)
    assert resumption(registers(7, -516)) == resumption(registers(232, -4)) == ((1 << 64) - 4, 1000), "EINTR"
    assert resumption(registers(7, 3)) is None, "it has come back with an answer"
    assert resumption(registers(borrowing.NONE, -512)) is None, "it was in no system call"
    assert resumption(registers(219, -516)) is None, "what it waits for is not to be seen"


def test_symbols_are_found_as_the_linker_finds_them() -> None:
    assert gnu_hash("printf") == 0x156B2BB8  # from the specification of the table
    memory = Memory(os.getpid())
    found = [one.symbol("PyGILState_Ensure") for one in images(os.getpid(), memory)]
    assert len([1 for address, _ in found if address]) >= 1
    assert all(one.symbol("no_such_symbol_at_all") == (0, 0) for one in images(os.getpid(), memory))
    code = [one.room() for one in images(os.getpid(), memory)]
    assert code and all(0 <= size < 4096 and (start + size) % 4096 == 0 for start, size in code if start)
