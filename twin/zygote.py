"""The process that all others are forked from: it has imported everything, and holds no thread or database.

It takes one datagram a command from the supervisor ("spawn NAME" with the heartbeat's descriptor) and tells of
each child's end. Whoever dies takes those below along: kernels die with the zygote, the zygote with the supervisor.
"""

from __future__ import annotations

import array
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys

from twin.config import Config
from twin.htm import WORKERS
from twin.htm.worker import run_worker
from twin.kernel import run_kernel
from twin.kernels import KERNELS, load
from twin.upstream import SERVICES
from twin.upstream.service import run_service

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent_pid: int) -> None:
    """SIGKILL for this process when its parent ends; at once, if it has ended already."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def start_zygote(config: Config) -> tuple[socket.socket, int]:
    """Forks the zygote: the supervisor's end of their socket, and its pid."""
    for name in KERNELS:
        load(name)
    gc.collect()
    gc.freeze()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        ours.close()
        die_with(supervisor)
        _libc.prctl(PR_SET_NAME, b"grace-zygote")
        try:
            _serve(theirs, config)
        except OSError as error:  # this machine gives no process more
            print(f"twin: a kernel could not be forked: {error.strerror or error}", file=sys.stderr, flush=True)
        finally:
            os._exit(0)
    theirs.close()
    return ours, pid


def _serve(link: socket.socket, config: Config) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    while True:
        sources: list[socket.socket | int] = [link, wake_read]
        ready, _, _ = select.select(sources, [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap(link)
        if link in ready:
            command, ancillary, _, _ = link.recvmsg(4096, socket.CMSG_SPACE(4))
            if not command:
                return
            descriptors = array.array("i")
            for _level, _type, data in ancillary:
                descriptors.frombytes(data)
            pid = _fork(command.decode(), descriptors[0], config, (link.fileno(), wake_read, wake_write))
            os.close(descriptors[0])
            link.send(json.dumps({"spawned": command.decode(), "pid": pid}).encode())


def _reap(link: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        link.send(json.dumps({"exited": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


def _fork(name: str, heartbeat: int, config: Config, close: tuple[int, ...]) -> int:
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    die_with(zygote)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for descriptor in close:
        os.close(descriptor)
    _libc.prctl(PR_SET_NAME, f"g-{name}".encode()[:15])
    if name in WORKERS:
        run_worker(name, config, heartbeat)
    elif name in SERVICES:
        run_service(name, config, heartbeat)
    else:
        run_kernel(load(name), config, heartbeat)
    os._exit(0)
