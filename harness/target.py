"""The target manifest: what a system under test is, wherever it comes from."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from harness.catalog import nearest
from harness.contracts import Link, ProcessId, Route, TargetError
from harness.process import read_process

SCHEMA = "grace-target/1"
KEYS = (
    "schema",
    "name",
    "base_url",
    "processes",
    "supervisor",
    "paths",
    "bus",
    "routes",
    "safeguards",
    "playbooks",
    "signals",
    "event_rules",
    "capabilities",
    "links",
)
FRAMINGS = ("", "u32be")
BUS_KEYS = ("endpoint", "server_public_key", "open_topic", "spare_actors")
NEEDED = ("schema", "base_url", "routes")


@dataclass(frozen=True, kw_only=True)
class ManifestTarget:
    """contracts.Target, as a manifest describes it."""

    name: str
    base_url: str
    processes: Mapping[str, Mapping[str, str]]
    paths: Mapping[str, Path]
    bus: Mapping[str, Any] | None
    routes: tuple[Route, ...]
    safeguards: tuple[str, ...]
    playbooks: tuple[str, ...]
    signals: Mapping[str, Mapping[str, Any]]
    event_rules: tuple[Mapping[str, str], ...]
    file: Path
    capabilities: tuple[str, ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)

    @property
    def kernels(self) -> tuple[str, ...]:
        return tuple(self.processes)

    def process(self, name: str) -> ProcessId:
        where = self.processes.get(name)
        if where is None:
            raise TargetError(f"the target has no process {name!r}.{nearest(name, self.processes)}")
        pids = [_pid_of_file(Path(where["pid_file"]))] if "pid_file" in where else _pids_of_words(where["cmdline"])
        found = [process for pid in pids if pid and (process := read_process(pid))]
        if len(found) != 1:
            raise TargetError(f"{name}: {len(found)} living processes fit {dict(where)}; exactly one is expected")
        return found[0]


def _pid_of_file(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _pids_of_words(words: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if words in line:
                found.append(int(entry.name))
    return found


def load_target(path: Path, host: str | None = None) -> ManifestTarget:
    """Reads a manifest; *host* replaces its base_url. Raises TargetError with file, line, culprit and choices."""
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, yaml.SafeLoader)
        data = yaml.safe_load(text)
    except OSError as error:
        raise TargetError(f"{path}: cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise TargetError(f"{place}: this is not YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(data, dict) or not isinstance(root, yaml.MappingNode):
        raise TargetError(f"{path}:1: a mapping is expected")
    lines = {str(key.value): key.start_mark.line + 1 for key, _ in root.value}
    for key in data:
        if key not in KEYS:
            raise TargetError(f"{path}:{lines[str(key)]}: no key is called {key!r}.{nearest(str(key), KEYS)}")
    for key in NEEDED:
        if key not in data:
            raise TargetError(f"{path}:1: {key} is missing")
    if data["schema"] != SCHEMA:
        raise TargetError(f"{path}:{lines['schema']}: schema {data['schema']!r}; {SCHEMA} is expected")
    base_url = (host or data["base_url"]).rstrip("/")
    _loopback_only(base_url, f"{path}:{lines['base_url']}")
    bus = data.get("bus")
    if bus is not None:
        place = f"{path}:{lines['bus']}"
        for key in BUS_KEYS:
            if not isinstance(bus, dict) or key not in bus:
                raise TargetError(f"{place}: bus.{key} is missing")
        _loopback_only(str(bus["endpoint"]), place)
    try:
        return ManifestTarget(
            name=str(data.get("name", "target")),
            base_url=base_url,
            processes={name: dict(where) for name, where in (data.get("processes") or {}).items()},
            paths={name: Path(where) for name, where in (data.get("paths") or {}).items()},
            bus=data.get("bus"),
            routes=tuple(_route(one) for one in data["routes"]),
            safeguards=tuple(data.get("safeguards") or ()),
            playbooks=tuple(data.get("playbooks") or ()),
            signals=data.get("signals") or {},
            event_rules=tuple(data.get("event_rules") or ()),
            file=path,
            capabilities=tuple(data.get("capabilities") or ()),
            links={name: _link(name, one) for name, one in (data.get("links") or {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TargetError(f"{path}: not a target manifest: {type(error).__name__}: {error}") from None


def _route(one: Mapping[str, Any]) -> Route:
    return Route(
        name=one["name"],
        method=one["method"],
        path=one["path"],
        kernels=tuple(one["kernels"]),
        body=one.get("body"),
        witness_of=one.get("witness_of", ""),
    )


def _link(name: str, one: Mapping[str, Any]) -> Link:
    framing = str(one.get("framing", ""))
    if framing not in FRAMINGS:
        raise ValueError(f"links.{name}.framing: {framing!r} is not known.{nearest(framing, FRAMINGS)}")
    address_file = Path(one["address_file"])
    if not address_file.is_absolute():
        raise ValueError(f"links.{name}.address_file: {address_file} is not an absolute path")
    callers = tuple(one.get("callers") or ())
    return Link(name=name, address_file=address_file, callee=one["callee"], callers=callers, framing=framing)


def _loopback_only(base_url: str, place: str) -> None:
    """This version attacks nothing beyond this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        # ZeroMQ reads "a;b" as a source and a destination: nothing may hide behind the first address
        loopback = ";" not in base_url and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        loopback = False
    if not loopback:
        raise TargetError(f"{place}: {base_url!r} is not on this machine; only loopback addresses are allowed")
