"""A small target to do things to: a process, files, a link, a bus nobody answers on; and what it looks like."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml
import zmq

from harness.cgroup import MARK, CgroupError, make_group, remove
from harness.primitives.kill_marked import MARKER_VARIABLE
from harness.primitives.remove_file import MARK as FILE_MARK
from harness.process import process_state, read_process

LOG = "log.db"
READY_LIMIT_S = 10.0
GROUP_BYTES = 160 << 20
CGROUPS = Path("/sys/fs/cgroup")
MOUNTS = Path("/proc/self/mountinfo")
SLEEPER = "import time\nwhile True: time.sleep(0.05)"
ECHO = """
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    peer, _ = server.accept()
    while data := peer.recv(65536):
        peer.sendall(data)
"""
# Who hears the heartbeats of a worker, at its standard input.
SUPERVISOR = "import os\nwhile os.read(0, 4096): pass"
# A worker: a thread that does piece after piece, and a main thread that tells by whose code; else not to be seen.
# Its standard output is a heartbeat to its supervisor.
WORKER = """
import os, socket, sys, threading, time
def execute():
    time.sleep(0.005)
def work():
    while True:
        execute()
        os.write(1, b".")
threading.Thread(target=work, daemon=True).start()
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    peer, _ = server.accept()
    peer.sendall(f"{execute.__code__.co_name}, {len(sys._current_frames())} threads".encode())
    peer.close()
"""


class World:
    """Made in *folder*, which must be new. close() ends all of it, whatever has become of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "target"
        self.run = (
            folder / f"run-{os.getpid()}-{secrets.token_hex(4)}"
        )  # its name is the run's id, and its helpers' mark
        for one in (self.root / "links", self.root / "spare", self.run):
            one.mkdir(parents=True)
        (self.root / "model.bin").write_bytes(hashlib.sha512(b"model").digest() * 64)
        (self.root / "state.json").write_text('{"memory_index": [1, 2, 3], "governance_rules": {"deploy": "ask"}}\n')
        with contextlib.closing(sqlite3.connect(self.root / LOG)) as log, log:
            log.execute("CREATE TABLE entries (sequence INTEGER PRIMARY KEY, payload TEXT)")
            log.executemany("INSERT INTO entries VALUES (?, ?)", [(n, f'{{"risk": 0.{n}}}') for n in range(1, 10)])
        self.socket = folder / "victim.sock"
        self.obstacle = self.root / f"{FILE_MARK}in-the-way"
        self.own: set[int] = set()  # pids of who lives the fault's life: whether they end is asked elsewhere
        self.owners: set[int] = set()  # pids after which a fault of this world may have named a cgroup
        self.worker = folder / "worker.sock"
        hears, beats = os.pipe()
        self.children = [
            self._start(SLEEPER),
            self._start(ECHO, str(self.socket)),
            self._start(WORKER, str(self.worker), stdout=beats),
            self._start(SUPERVISOR, stdin=hears),
        ]
        os.close(hears)
        os.close(beats)
        self.owners |= {child.pid for child in self.children}
        (self.root / "victim.pid").write_text(f"{self.children[0].pid}\n")
        (self.root / "worker.pid").write_text(f"{self.children[2].pid}\n")
        (self.root / "supervisor.pid").write_text(f"{self.children[3].pid}\n")
        self.address = self.root / "links" / "victim.addr"
        self.address.write_text(f"unix:{self.socket}\n")
        self.group: Path | None = None
        with contextlib.suppress(CgroupError):
            self.group = make_group(GROUP_BYTES)
        self.manifest = folder / "target.yaml"
        self.manifest.write_text(yaml.safe_dump(self._manifest(), sort_keys=False))
        self._ready()

    def _start(
        self, program: str, *words: str, stdin: int = subprocess.DEVNULL, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", program, *words], stdin=stdin, stdout=stdout)

    def _ready(self) -> None:
        deadline = time.monotonic() + READY_LIMIT_S
        while not self._stands():
            if time.monotonic() > deadline:
                raise OSError("the victims did not start")
            time.sleep(0.005)

    def _stands(self) -> bool:
        alive = all(process_state(child.pid) in ("S", "R") for child in self.children)
        return alive and self.socket.exists() and _said(self.worker) != ""

    def _manifest(self) -> dict[str, Any]:
        public, secret = (one.decode() for one in zmq.curve_keypair())
        paths = {
            "root": str(self.root),
            "immutable_log": str(self.root / LOG),
            "state": str(self.root),
            "spare": str(self.root / "spare"),
        }
        if self.group is not None:
            paths["memory_cgroup"] = str(self.group)
        return {
            "schema": "grace-target/1",
            "name": "small-world",
            "base_url": "http://127.0.0.1:1",
            "processes": {
                "victim": {"pid_file": str(self.root / "victim.pid")},
                "beating": {"pid_file": str(self.root / "worker.pid")},
            },
            "supervisor": {"pid_file": str(self.root / "supervisor.pid")},
            "paths": paths,
            "bus": {
                "endpoint": "tcp://127.0.0.1:1",
                "server_public_key": public,
                "open_topic": "telemetry.open",
                "spare_actors": [{"public_key": public, "secret_key": secret}],
            },
            "links": {
                "victim": {
                    "address_file": str(self.address),
                    "callee": "victim",
                    "callers": ["client"],
                    "framing": "u32be",
                }
            },
            "workers": {
                "crew": {
                    "processes": {"worker": {"pid_file": str(self.root / "worker.pid")}},
                    "function": "__main__:execute",
                },
                "sleepers": {
                    "processes": {"sleeper": {"pid_file": str(self.root / "victim.pid")}},
                    "function": "__main__:none",
                },
            },
            "routes": [{"name": "GET /", "method": "GET", "path": "/", "kernels": ["victim"]}],
        }

    def look(self) -> Mapping[str, Any]:
        """All that a fault could have changed, as anybody can see it from outside."""
        victim = self.children[0]
        return {
            "stopped": process_state(victim.pid) in ("T", "t"),
            "alive": victim.poll() is None,
            "others": [_how(child) for child in self.children[1:]],
            "cgroups of the victim": _read(Path(f"/proc/{victim.pid}/cgroup")) if victim.poll() is None else "",
            "worker": _said(self.worker),
            "heartbeat": _kind(Path(f"/proc/{self.children[2].pid}/fd/1")),
            **{f"file {one.relative_to(self.root)}": _file(one) for one in sorted(self.root.rglob("*")) if _lasts(one)},
            "log": _rows(self.root / LOG),
            "mounts": [line.split()[4] for line in _read(MOUNTS).splitlines() if str(self.folder) in line],
            "helpers": self.helpers(),
            "cgroups": [str(path) for path in marked_groups(self.owners) if path != self.group],
        }

    def clear(self) -> None:
        """What keeps a fault from being healed is out of the way, at one stroke: there is a file now, to be removed."""
        if self.obstacle.is_symlink():
            file = self.folder / "cleared"
            file.touch()
            file.replace(self.obstacle)

    def helpers(self) -> list[str]:
        """Every process that carries this world's marker or has its folder in its command line, but for its own."""
        found = []
        own = {os.getpid(), *self.own, *(child.pid for child in self.children)}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in own and read_process(int(entry.name)):
                with contextlib.suppress(OSError):
                    marked = f"{MARKER_VARIABLE}={self.run.name}/".encode() in (entry / "environ").read_bytes()
                    if marked or str(self.folder).encode() in (entry / "cmdline").read_bytes():
                        found.append(entry.name)
        self.owners |= {int(one) for one in found}
        return found

    def close(self) -> None:
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGCONT)
                child.kill()
            child.wait()
        if self.group is not None:
            with contextlib.suppress(OSError):
                remove(self.group)


def _how(child: subprocess.Popen[bytes]) -> str:
    if child.poll() is not None:
        return "gone"
    return "stopped" if process_state(child.pid) in ("T", "t") else "lives"


def _said(path: Path) -> str:
    """What who listens at *path* says, which is the end of it; "" when nobody does."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:
        one.settimeout(READY_LIMIT_S)
        one.connect(str(path))
        return one.recv(1024).decode()
    return ""


def _lasts(path: Path) -> bool:
    """Not the database and its journal, whose bytes are the database's own affair: its rows count."""
    return not path.name.startswith(LOG)


def _rows(path: Path) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as log:
        return log.execute("SELECT * FROM entries ORDER BY sequence").fetchall()


def _kind(path: Path) -> str:
    """Whether a descriptor is a pipe, or what else."""
    with contextlib.suppress(OSError):
        return str(path.readlink()).partition(":")[0]
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _file(path: Path) -> str:
    """What a file is: its bytes, its rights and when it was changed; "" when it is gone.

    An address file is written anew when it is taken back, and whoever watches it must see that it was.
    """
    try:
        if path.is_dir():
            return f"folder of {path.stat().st_dev}"
        info, digest = path.stat(), hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
    return f"{digest[:16]} {info.st_mode:o}" + ("" if path.suffix == ".addr" else f" {info.st_mtime_ns}")


def marked_groups(owners: Collection[int]) -> list[Path]:
    """The cgroups of the harness that are named after one of *owners*, whether that lives or not, in every hierarchy.

    Others on this machine belong to somebody else's faults, or to a twin that stays.
    """
    marked = (Path(top) / name for top, names, _ in os.walk(CGROUPS) for name in names if name.startswith(MARK))
    return sorted(one for one in marked if re.sub(r"\D.*", "", one.name.removeprefix(MARK)) in set(map(str, owners)))
