"""Where kernels find each other: an address file for each, written by the control plane, watched by those who call.

run/links/CALLEE.addr holds one line, `unix:/PATH` or `tcp:HOST:PORT`, for all who call. When there is a
run/links/CALLER/CALLEE.addr as well, it holds for that one caller. A file is replaced at one stroke, never edited.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twin.config import Config, ConfigError
from twin.kernels import KERNELS
from twin.upstream import MODEL, SERVICES

LOOK_EVERY_S = 0.1
ADDRESS_BYTES_MAX = 512
SOCKET_PATH_BYTES_MAX = 107  # sun_path of Linux, without the end of the text
FRAMING = "u32be"  # each message has its length before it: 4 bytes, the highest first
# A message that is always answered and changes nothing: who wants to know how far away a callee is sends it.
PING = {"id": 0, "op": "ping", "payload": {}}
PROBES = {MODEL: {"id": 0, "op": "answer", "payload": {"text": "what is the status of the queue"}}}
# Who calls whom; a kernel that is not named here is called by the gateway only.
GATEWAY = ("api_server",)
CALLERS: dict[str, tuple[str, ...]] = {
    "api_server": ("self_healing",),
    "agentic_spine": ("api_server", "self_healing"),
    "upstream_model": ("agentic_spine",),
    "memory_fusion": ("api_server", "infrastructure_manager", "librarian", "self_healing"),
    "health_monitor": (
        *("agentic_spine", "api_server", "governance", "immutable_log", "infrastructure_manager"),
        *("learning_integration", "librarian"),
        *("scheduler", "self_healing", "trigger_mesh", "verification_framework"),
    ),
    "immutable_log": ("api_server", "governance", "self_healing"),
    "self_healing": (
        *(
            "agentic_spine",
            "api_server",
            "health_monitor",
            "immutable_log",
            "infrastructure_manager",
            "learning_integration",
            "scheduler",
        ),
        *("trigger_mesh", "verification_framework"),
    ),
    "librarian": ("api_server", "self_healing"),
    "learning_integration": ("api_server", "self_healing"),
    "infrastructure_manager": ("api_server", "self_healing"),
    "governance": ("api_server", "infrastructure_manager", "self_healing"),
    "message_bus": ("api_server", "self_healing"),
}


def callees(caller: str) -> tuple[str, ...]:
    """The kernels that *caller* calls."""
    return tuple(kernel for kernel in KERNELS if caller in CALLERS.get(kernel, GATEWAY))


def socket_path(config: Config, name: str) -> Path:
    return config.run_dir / f"{name}.sock"


def check_length(config: Config) -> None:
    """Raises ConfigError for a folder whose path is so long that a kernel could not listen on its socket."""
    longest = socket_path(config, max((*KERNELS, *SERVICES, "control_plane"), key=len))
    over = len(os.fsencode(longest)) - SOCKET_PATH_BYTES_MAX
    if over > 0:
        raise ConfigError(
            f"{config.dir}: its path is {over} bytes too long for a socket such as {longest.name} below it"
        )


def write_addresses(config: Config) -> None:
    """An address file for each kernel, service and the control plane; those of an earlier life are overwritten."""
    folder = config.run_dir / "links"
    for name in (*KERNELS, *SERVICES, "control_plane"):
        for own in folder.glob(f"*/{name}.addr"):
            own.unlink()
        path = folder / f"{name}.addr"
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(f"unix:{socket_path(config, name)}\n")
        fresh.replace(path)
    for caller in KERNELS:
        (folder / caller).mkdir(exist_ok=True)


def links(config: Config) -> dict[str, dict[str, Any]]:
    """{name: {address_file, callee, callers, framing}}: the way to each for all who call it, and for each caller."""
    folder = config.run_dir / "links"
    found: dict[str, dict[str, Any]] = {}
    for callee in (*KERNELS, *SERVICES):
        callers = CALLERS.get(callee, GATEWAY)
        about = {"callee": callee, "framing": FRAMING, "probe": PROBES.get(callee, PING)}
        found[callee] = {"address_file": str(folder / f"{callee}.addr"), "callers": list(callers), **about}
        for caller in callers:
            own = {"address_file": str(folder / caller / f"{callee}.addr"), "callers": [caller], **about}
            found[f"{caller}->{callee}"] = own
    return found


@dataclass
class _Known:
    address: str
    seen: tuple[str, int, int, int]  # the file's path, inode, time of change and size
    looked_s: float


class AddressBook:
    """What *caller* knows of the others' addresses; looks at a file at most every LOOK_EVERY_S."""

    def __init__(self, run_dir: Path, caller: str) -> None:
        self.folder = run_dir / "links"
        self.caller = caller
        self._known: dict[str, _Known] = {}

    def address(self, callee: str, now_s: float, fresh: bool = False) -> str:
        """The address of *callee*; *fresh*: looks in any case. Raises FileNotFoundError when it has none."""
        known = self._known.get(callee)
        if known is not None and not fresh and now_s - known.looked_s < LOOK_EVERY_S:
            return known.address
        path, seen = self._find(callee)
        if known is None or known.seen != seen:
            address = path.read_text(encoding="utf-8")[:ADDRESS_BYTES_MAX].strip()
            known = self._known[callee] = _Known(address, seen, now_s)
        known.looked_s = now_s
        return known.address

    def _find(self, callee: str) -> tuple[Path, tuple[str, int, int, int]]:
        own, common = self.folder / self.caller / f"{callee}.addr", self.folder / f"{callee}.addr"
        try:
            return own, _seen(own)
        except FileNotFoundError:
            return common, _seen(common)


def _seen(path: Path) -> tuple[str, int, int, int]:
    stat = os.stat(path)  # noqa: PTH116  # every 100 ms on the way of every request
    return str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size
