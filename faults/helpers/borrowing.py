"""Has a thread of a running Python process carry out a piece of Python text, and go on as if nothing had been.

A thread that sleeps in a system call is stopped with ptrace. The text, the thread's own registers and a frame for the
floating-point ones are written below its stack; a few bytes of code go into the unused end of a page of code. Then
one ptrace request sends the thread there: it takes the GIL in the way that any foreign thread does, runs the text,
and puts its registers back itself, with the system call about to be taken up again. So there is no moment at which
the tracer may not die: before that request the thread is untouched, after it, it needs nobody.

A debugger's `call` is another matter: gdb puts the registers back itself, dies with what it has half done, and gdb
up to 13 cannot even write those of a CPU with AMX, which ends the process: docs/decisions/0008-borrowed-threads.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.helpers.images import Memory, Unreadable, images
from harness.contracts import ProcessId
from harness.process import refuse_harm, same

WANTED = ("PyGILState_Ensure", "PyRun_SimpleString", "PyGILState_Release")
RUNTIME = "_PyRuntime"  # the interpreter's own state, and with it the GIL
# fxsave64 (%rsp); call *(%rbx); mov %eax,%r12d; mov 24(%rbx),%rdi; call *8(%rbx); mov %r12d,%edi; call *16(%rbx);
# fxrstor64 (%rsp); mov 32(%rbx),%rsp; pop r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi; popf; ret $128
CODE = bytes.fromhex(
    "480fae0424ff134189c4488b7b18ff53084489e7ff5310480fae0c24488b6320"
    "415f415e415d415c5d5b415b415a4159415858595a5e5f9dc280009090909090"
)
RED_ZONE_BYTES = 128  # below the stack pointer, and still the thread's own
FLOATING_BYTES = 512  # as fxsave64 writes them; no system call of a C library keeps more in registers
STOP_LIMIT_S = 0.2
SLEEPER_LIMIT_S = 3.0
# Registers in the order of user_regs_struct (sys/user.h); the code above pops the first fifteen.
REGISTERS = struct.Struct("<27Q")
R_RBX, R_RAX, R_RDI, R_ORIG_RAX, R_RIP, R_FLAGS, R_RSP = 5, 10, 14, 15, 16, 18, 19
POPPED = 15
SYSCALL = b"\x0f\x05"
FUTEX, RESTART_SYSCALL = 202, 219
EINTR, RESTARTED, RESTART_BLOCK = -4, (-512, -513, -514), -516
NONE = (1 << 64) - 1

PTRACE_POKEDATA, PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_DETACH = 5, 12, 13, 17
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
PTRACE_EVENT_STOP = 128
WALL = 0x40000000
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
CAP_SYS_PTRACE = 19
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long] * 4
_libc.ptrace.restype = ctypes.c_long


class NoBorrowing(Exception):
    """It cannot be done to this process, or on this machine; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Borrowed:
    """Which thread ran the text, and in what room its code lies."""

    thread: int
    syscall: int
    room: int


@dataclass(frozen=True, kw_only=True)
class Way:
    """What a process offers: the addresses of WANTED, where RUNTIME is, and room for CODE."""

    functions: tuple[int, ...]
    runtime: range
    room: int


def way_into(process: ProcessId) -> Way:
    """Touches nothing. Raises NoBorrowing in words."""
    if platform.machine() != "x86_64":
        raise NoBorrowing(f"it is done on x86_64 only, and this is {platform.machine()}")
    if not _may_trace():
        raise NoBorrowing("ptrace is forbidden here (by a container's seccomp profile, most likely)")
    scope = _scope(YAMA)
    if scope >= 3 or (scope and not _privileged()):
        raise NoBorrowing(f"kernel.yama.ptrace_scope is {scope}: 0 is needed, or root and at most 2")
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if "shstk" in next((line for line in status.splitlines() if line.startswith("x86_Thread_features:")), ""):
            raise NoBorrowing("it has a shadow stack")
        return _way(process.pid)
    except Unreadable as error:
        raise NoBorrowing(str(error)) from None
    except OSError as error:
        raise NoBorrowing(f"it is gone ({type(error).__name__})") from None


def _may_trace() -> bool:
    """Whether the request as such is let through: for a process that cannot be, the answer is ESRCH."""
    return _libc.ptrace(PTRACE_SEIZE, 0x3FFFFFFF, 0, 0) == -1 and ctypes.get_errno() == 3


def _scope(path: Path) -> int:
    """0: whoever runs as the same user may trace. 1: ancestors only, which the helper that does it is not."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _privileged() -> bool:
    """Whether this process may trace any other (CAP_SYS_PTRACE)."""
    status = Path("/proc/self/status").read_text()
    mask = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(mask, 16) >> CAP_SYS_PTRACE & 1)


def _way(pid: int) -> Way:
    memory = Memory(pid)
    found = dict.fromkeys((*WANTED, RUNTIME), (0, 0))
    rooms = []
    for image in images(pid, memory):
        rooms.append(image.room())
        for name in [name for name, (address, _) in found.items() if not address]:
            found[name] = image.symbol(name)
    lacking = [name for name, (address, _) in found.items() if not address]
    if lacking:
        raise NoBorrowing(f"it is no CPython that others may call: it has no {', '.join(lacking)}")
    room, size = max(rooms, key=lambda one: one[1])
    if size < len(CODE):
        raise NoBorrowing(f"no page of its code has {len(CODE)} bytes left")
    start, length = found[RUNTIME]
    functions = tuple(found[name][0] for name in WANTED)
    return Way(functions=functions, runtime=range(start, start + length), room=room)


def run_in(process: ProcessId, text: str, limit_s: float = SLEEPER_LIMIT_S) -> Borrowed:
    """Sends a thread of *process* to run *text*; it may still be at it when this returns.

    Raises NoBorrowing, and ValueError for those that nothing may be done to.
    """
    refuse_harm(process)
    way = way_into(process)
    memory = _writable(process)
    if not same(process):
        raise NoBorrowing("it is gone")
    deadline = time.monotonic() + limit_s
    while same(process):
        for thread in _sleepers(process.pid):
            with _stopped(thread) as stopped:
                borrowed = stopped and _send(thread, way, memory, text)
            if borrowed:
                return borrowed
        if time.monotonic() > deadline:
            raise NoBorrowing(f"none of its threads was found asleep in a system call within {limit_s:g} s")
        time.sleep(0.001)
    raise NoBorrowing("it is gone")


def _writable(process: ProcessId) -> Memory:
    try:
        return Memory(process.pid, "r+b")
    except Unreadable as error:
        raise NoBorrowing(str(error)) from None


def _sleepers(pid: int) -> Iterator[int]:
    """Threads that sleep: those that wait for a lock last, for who wakes them may want to see them go; main first."""
    found = []
    for thread in sorted(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/task/{thread}/stat").read_text()
            if stat[stat.rindex(")") + 2] == "S":
                call = Path(f"/proc/{pid}/task/{thread}/syscall").read_text().split()[0]
                found.append((call == str(FUTEX), thread))
    yield from (thread for _, thread in sorted(found))


@contextlib.contextmanager
def _stopped(thread: int) -> Iterator[bool]:
    """Stops *thread* alone and lets it go on; what is yielded says whether it stands."""
    if _libc.ptrace(PTRACE_SEIZE, thread, 0, 0) != 0:
        number = ctypes.get_errno()
        if number == 3:
            yield False
            return
        raise NoBorrowing(f"thread {thread} cannot be traced: {os.strerror(number)} (a debugger may be at it)")
    _libc.ptrace(PTRACE_INTERRUPT, thread, 0, 0)
    status, deadline = 0, time.monotonic() + STOP_LIMIT_S
    while time.monotonic() < deadline:
        pid, status = os.waitpid(thread, os.WNOHANG | WALL)
        if pid:
            break
        time.sleep(0.0002)
    # a thread that does not even stop is let go when this process ends
    stands = os.WIFSTOPPED(status) if status else False
    ours = stands and status >> 16 == PTRACE_EVENT_STOP and os.WSTOPSIG(status) == signal.SIGTRAP
    try:
        yield ours
    finally:
        if stands:  # a signal that came first is passed on
            _libc.ptrace(PTRACE_DETACH, thread, 0, 0 if status >> 16 else os.WSTOPSIG(status))


def _send(thread: int, way: Way, memory: Memory, text: str) -> Borrowed | None:
    """None when the thread may not be borrowed: not asleep in a system call, in a wrong one, or without a stack."""
    block = ctypes.create_string_buffer(REGISTERS.size)
    if _libc.ptrace(PTRACE_GETREGS, thread, 0, ctypes.addressof(block)) != 0:
        return None
    registers = list(REGISTERS.unpack(block.raw))
    resumed = resumption(registers)
    if resumed is None or memory.read(registers[R_RIP] - 2, 2) != SYSCALL:
        return None
    if registers[R_ORIG_RAX] == FUTEX and registers[R_RDI] in way.runtime:
        return None  # it waits for the GIL: glibc lets who gives that up wait until all whom it woke have gone on
    start, data, sent = frame(registers, resumed, way, text)
    try:
        memory.file.seek(start)
        if memory.file.write(data) != len(data) or memory.read(start, len(data)) != data:
            return None
    except (OSError, Unreadable):
        return None
    for at in range(0, len(CODE), 8):
        (word,) = struct.unpack("<q", CODE[at : at + 8])
        if _libc.ptrace(PTRACE_POKEDATA, thread, way.room + at, word) != 0:
            raise NoBorrowing(f"its code cannot be added to: {os.strerror(ctypes.get_errno())}")
    block = ctypes.create_string_buffer(REGISTERS.pack(*sent), REGISTERS.size)
    if _libc.ptrace(PTRACE_SETREGS, thread, 0, ctypes.addressof(block)) != 0:
        raise NoBorrowing(f"thread {thread} cannot be sent: {os.strerror(ctypes.get_errno())}")
    return Borrowed(thread=thread, syscall=registers[R_ORIG_RAX], room=way.room)


def resumption(registers: list[int]) -> tuple[int, int] | None:
    """(rax, rip) with which a thread goes on whose system call was interrupted; None: it was in none.

    As the kernel does it: the call is made once more. One that would go on with a rest kept in the kernel (a
    time-out) tells EINTR instead, as after any signal: that rest may be another call's by then. One that does go on
    with such a rest (restart_syscall) does not say what it is: it may be a wait for the GIL.
    """
    number, rip = registers[R_ORIG_RAX], registers[R_RIP]
    (result,) = struct.unpack("<q", struct.pack("<Q", registers[R_RAX]))
    if number in (NONE, RESTART_SYSCALL) or result not in (*RESTARTED, RESTART_BLOCK, EINTR):
        return None
    if result in RESTARTED:
        return number, rip - len(SYSCALL)
    return EINTR % (1 << 64), rip


def frame(registers: list[int], resumed: tuple[int, int], way: Way, text: str) -> tuple[int, bytes, list[int]]:
    """(address, bytes): what CODE finds on the stack, from the lowest address up; and the registers to enter it."""
    rax, rip = resumed
    popped = registers[:POPPED]
    popped[R_RAX] = rax
    back = struct.pack(f"<{POPPED + 2}Q", *popped, registers[R_FLAGS], rip)
    back_at = registers[R_RSP] - RED_ZONE_BYTES - len(back)
    words = text.encode() + b"\0"
    words += bytes(-len(words) % 8)
    table_at = back_at - 8 * (len(WANTED) + 2)
    words_at = table_at - len(words)
    table = struct.pack(f"<{len(WANTED) + 2}Q", *way.functions, words_at, back_at)
    floating_at = (words_at - FLOATING_BYTES) & ~63
    gap = bytes(words_at - floating_at)
    sent = list(registers)
    sent[R_RIP], sent[R_RSP], sent[R_RBX], sent[R_ORIG_RAX] = way.room, floating_at, table_at, NONE
    return floating_at, gap + words + table + back, sent
