"""The target manifest: what a system under test is, wherever it comes from."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

from harness.catalog import nearest
from harness.contracts import (
    AuditTrail,
    BehaviourQuestion,
    LedgerPage,
    Link,
    LogRoute,
    ProcessId,
    Question,
    Route,
    TargetError,
    WorkerPool,
)
from harness.hosts import Permit, off_limits
from harness.manifest_lines import lines_of_keys
from harness.model import Kind
from harness.playbook_effects import read_effects
from harness.process import pid_of_file, pids_of_words, read_process
from harness.target_behaviour import read_behaviour
from harness.yaml_reader import Field, Reader, ReadError, read_yaml

SCHEMA = "grace-target/1"
SUPERVISOR = "supervisor"  # the process that hears the kernels' heartbeats
KEYS = (
    "schema",
    "name",
    "base_url",
    "processes",
    SUPERVISOR,
    "paths",
    "bus",
    "routes",
    "safeguards",
    "playbooks",
    "playbook_effects",
    "signals",
    "event_rules",
    "capabilities",
    "links",
    "permits",
    "workers",
    "ledgers",
    "models",
    "behaviour",
    "immutable_log",
    "audit",
    "exclusive",
)
DIGESTS = ("sha256",)
ANSWERED = ("model", "label", "confidence")
NEEDED = ("schema", "base_url", "routes")
FRAMINGS = ("u32be",)
BUS_KEYS = ("endpoint", "server_public_key", "open_topic", "spare_actors")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SIGNALS = ("kernels", "events", "safeguards", "metrics", "playbooks")
# What a target may say of itself; faults and the run are told by the harness only.
TOLD = tuple(
    kind.value
    for kind in (
        *(Kind.SAFEGUARD_ENGAGED, Kind.SAFEGUARD_RELEASED, Kind.PLAYBOOK_STARTED, Kind.PLAYBOOK_FINISHED),
        *(Kind.ALERT_RAISED, Kind.SYMPTOM_SEEN, Kind.KERNEL_CHANGED),
    )
)
FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")  # MODULE:FUNCTION
TOKEN = re.compile(r"[!-~]+")
REQUEST_PATH = re.compile(r"/(?![/\\])[!-~]*")  # what follows the host and nothing that could be read as another one


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
    workers: Mapping[str, WorkerPool] = field(default_factory=dict)
    ledgers: Mapping[str, LedgerPage] = field(default_factory=dict)
    models: Mapping[str, Question] = field(default_factory=dict)
    behaviour: tuple[BehaviourQuestion, ...] = ()
    immutable_log: LogRoute | None = None
    audit: AuditTrail | None = None
    exclusive: bool = False
    supervisor: Mapping[str, str] = field(default_factory=dict)
    permits: tuple[Permit, ...] = ()  # those in force that the caller has named as well
    playbook_effects: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    offers: tuple[str, ...] = ()  # dotted keys of the manifest, see offered_keys()
    lines: Mapping[str, int] = field(default_factory=dict)  # dotted key → line, see manifest_lines.py

    @property
    def permitted(self) -> tuple[str, ...]:
        return tuple(permit.host for permit in self.permits)

    @property
    def kernels(self) -> tuple[str, ...]:
        return tuple(self.processes)

    def process(self, name: str) -> ProcessId:
        """A kernel's, a worker's of any pool, or the supervisor's."""
        known = {SUPERVISOR: self.supervisor} if self.supervisor else {}
        known.update({one: where for pool in self.workers.values() for one, where in pool.processes.items()})
        known.update(self.processes)
        where = known.get(name)
        if where is None:
            raise TargetError(f"the target has no process {name!r}.{nearest(name, known)}")
        pids = [pid_of_file(Path(where["pid_file"]))] if "pid_file" in where else pids_of_words(where["cmdline"])
        found = [process for pid in pids if pid and (process := read_process(pid))]
        if len(found) != 1:
            raise TargetError(f"{name}: {len(found)} living processes fit {dict(where)}; exactly one is expected")
        return found[0]


def load_target(
    path: Path, host: str | None = None, allow: Collection[str] = (), today: date | None = None
) -> ManifestTarget:
    """Reads a manifest; *host* replaces its base_url. Raises TargetError with all that is wrong, a line each.

    A host beyond this machine needs both: a permit of the manifest that is in force *today*, and its name in *allow*.
    """
    try:
        root = read_yaml(path, str(path))
    except ReadError as error:
        raise TargetError(str(error)) from None
    manifest = _Manifest(Reader(str(path)), frozenset(allow), today or datetime.now(UTC).date())
    found = manifest.fields(root, "manifest", KEYS, NEEDED)
    target = manifest.target(found, path, host) if set(NEEDED) <= set(found) else None
    if target is None or manifest.reader.problems:
        raise TargetError("\n".join(manifest.reader.problems))
    return target


@dataclass(frozen=True)
class _Manifest:
    """Reads the parts of a manifest; what is wrong with one is said, and something harmless stands for it."""

    reader: Reader
    allow: frozenset[str]
    today: date

    def fields(
        self, node: yaml.Node, what: str, known: Collection[str] | None, needed: Collection[str] = ()
    ) -> dict[str, Field]:
        found = self.reader.mapping(node, what, known)
        lacking = [key for key in needed if key not in found]
        for key in lacking if isinstance(node, yaml.MappingNode) else ():
            self.reader.say(node, f"{'' if what == 'manifest' else what + '.'}{key} is missing")
        return found

    def texts(self, node: yaml.Node, what: str, known: Collection[str], needed: Collection[str] = ()) -> dict[str, str]:
        """A mapping of texts."""
        return {
            key: self.reader.text(one.value, f"{what}.{key}")
            for key, one in self.fields(node, what, known, needed).items()
        }

    def target(self, found: Mapping[str, Field], path: Path, host: str | None) -> ManifestTarget:
        read = self.reader
        schema = read.text(found["schema"].value, "schema")
        if schema and schema != SCHEMA:
            read.say_of(found["schema"], f"schema {schema!r}; {SCHEMA} is expected")

        def each(key: str) -> dict[str, Field]:
            return read.mapping(found[key].value, key) if key in found else {}

        def names(key: str) -> tuple[str, ...]:
            return read.names(found[key].value, key) if key in found else ()

        permits = self.permits(found["permits"].value) if "permits" in found else ()
        routes, playbooks = self.routes(found["routes"].value, each("processes")), names("playbooks")
        return ManifestTarget(
            permits=permits,
            name=read.text(found["name"].value, "name") if "name" in found else "target",
            base_url=self.base_url(found["base_url"], host, permits),
            processes={name: self.process(one.value, f"processes.{name}") for name, one in each("processes").items()},
            paths={name: self.absolute(one.value, f"paths.{name}") for name, one in each("paths").items()},
            bus=self.bus(found["bus"].value) if "bus" in found else None,
            routes=routes,
            safeguards=names("safeguards"),
            playbooks=playbooks,
            signals=self.signals(found["signals"].value) if "signals" in found else {},
            event_rules=self.event_rules(found["event_rules"].value) if "event_rules" in found else (),
            file=path,
            capabilities=names("capabilities"),
            links={name: self.link(name, one.value) for name, one in each("links").items()},
            workers=self.workers(each("workers"), each("processes")),
            supervisor=self.process(found[SUPERVISOR].value, SUPERVISOR) if SUPERVISOR in found else {},
            ledgers={name: self.ledger(one.value, f"ledgers.{name}") for name, one in each("ledgers").items()},
            models={name: self.question(one.value, f"models.{name}") for name, one in each("models").items()},
            behaviour=read_behaviour(self, found["behaviour"].value, each("ledgers")) if "behaviour" in found else (),
            immutable_log=self.log_route(found["immutable_log"].value) if "immutable_log" in found else None,
            audit=self.audit(found["audit"].value) if "audit" in found else None,
            exclusive="exclusive" in found and read.flag(found["exclusive"].value, "exclusive"),
            playbook_effects=read_effects(read, found.get("playbook_effects"), playbooks, [one.name for one in routes]),
            offers=offered_keys({name: one.value for name, one in found.items()}),
            lines=lines_of_keys(found),
        )

    def workers(self, pools: Mapping[str, Field], kernels: Collection[str]) -> dict[str, WorkerPool]:
        keys = ("processes", "function")
        taken, made = set(kernels), {}
        for name, one in pools.items():
            what = f"workers.{name}"
            found = self.fields(one.value, what, keys, keys)
            processes = (
                self.reader.mapping(found["processes"].value, f"{what}.processes") if "processes" in found else {}
            )
            for worker in processes:
                if worker in taken:
                    self.reader.say_of(processes[worker], f"{what}.processes: {worker!r} is another process's name")
                taken.add(worker)
            function = self.reader.text(found["function"].value, f"{what}.function") if "function" in found else ""
            if function and not FUNCTION.fullmatch(function):
                self.reader.say_of(found["function"], f"{what}.function: MODULE:FUNCTION is expected, not {function!r}")
            made[name] = WorkerPool(
                processes={
                    key: self.process(where.value, f"{what}.processes.{key}") for key, where in processes.items()
                },
                function=function,
            )
        return made

    def ledger(self, node: yaml.Node, what: str) -> LedgerPage:
        found = self.fields(node, what, ("url", "rows", "last", "proof"), ("url", "rows"))
        url = self.request_path(found["url"], f"{what}.url") if "url" in found else ""
        bare = url.replace("{next}", "", 1)
        if url and (bare == url or "{" in bare or "}" in bare):
            self.reader.say_of(found["url"], f"{what}.url: {url!r} needs the cursor {{next}} once and no other brace")
        return LedgerPage(
            url=url,
            rows=self.reader.text(found["rows"].value, f"{what}.rows") if "rows" in found else "",
            last=self.request_path(found["last"], f"{what}.last") if "last" in found else "",
            proof=self.word(found["proof"], f"{what}.proof", DIGESTS) if "proof" in found else "",
        )

    def audit(self, node: yaml.Node) -> AuditTrail:
        found = self.fields(node, "audit", ("head", "digest", "every_request"))
        every = found.get("every_request")
        return AuditTrail(
            head=self.request_path(found["head"], "audit.head") if "head" in found else "",
            digest=self.word(found["digest"], "audit.digest", DIGESTS) if "digest" in found else "",
            every_request=every is not None and self.reader.flag(every.value, "audit.every_request"),
        )

    def question(self, node: yaml.Node, what: str) -> Question:
        found = self.fields(node, what, ("method", "path", "body", "fields"), ("method", "path"))
        named = found["fields"].value if "fields" in found else None
        return Question(
            method=self.word(found["method"], f"{what}.method", METHODS) if "method" in found else "",
            path=self.request_path(found["path"], f"{what}.path") if "path" in found else "",
            body=self.body(found, what),
            fields=self.texts(named, f"{what}.fields", ANSWERED, ANSWERED) if named is not None else {},
        )

    def body(self, found: Mapping[str, Field], what: str, key: str = "body") -> Any:
        """A request's body, which is a mapping, or None."""
        if key not in found or found[key].value.tag.endswith(":null"):
            return None
        self.reader.mapping(found[key].value, f"{what}.{key}")
        return self.reader.plain(found[key].value, f"{what}.{key}")

    def log_route(self, node: yaml.Node) -> LogRoute | None:
        keys = ("append", "actor", "secret_key")
        found = self.fields(node, "immutable_log", keys, keys)
        if set(found) != set(keys):
            return None
        actor, key = (self.reader.text(found[one].value, f"immutable_log.{one}") for one in keys[1:])
        if key and not TOKEN.fullmatch(key):
            self.reader.say_of(found["secret_key"], "immutable_log.secret_key: it cannot stand in a header")
        return LogRoute(append=self.request_path(found["append"], "immutable_log.append"), actor=actor, secret_key=key)

    def permits(self, node: yaml.Node) -> tuple[Permit, ...]:
        """The permits that count today and for this call."""
        keys, found = ("host", "owner", "expires"), []
        for number, item in enumerate(self.reader.items(node, "permits")):
            what = f"permits[{number}]"
            one = self.fields(item, what, keys, keys)
            if set(one) != set(keys):
                continue
            day = str(one["expires"].value.value)  # as it is written: YAML itself would make a date of it, or a text
            try:
                expires = date.fromisoformat(day)
            except ValueError:
                self.reader.say_of(one["expires"], f"{what}.expires: a day as 2026-12-31 is expected, not {day!r}")
                continue
            host, owner = (self.reader.text(one[key].value, f"{what}.{key}") for key in ("host", "owner"))
            permit = Permit(host=host, owner=owner, expires=expires)
            if permit.host in self.allow and not permit.in_force(self.today):
                self.reader.say(item, f"{what}: the permit for {permit.host} ended on {permit.expires.isoformat()}")
            elif permit.host in self.allow:
                found.append(permit)
        return tuple(found)

    def base_url(self, found: Field, host: str | None, permits: tuple[Permit, ...]) -> str:
        written = self.reader.text(found.value, "base_url").rstrip("/")
        place = f"{self.reader.label}:{found.line}: base_url"
        if host is not None:
            written, place = host.rstrip("/"), "--host"
        why = off_limits(written, "http", [permit.host for permit in permits])
        if why and written:
            self.reader.say(place, why)
        return written

    def process(self, node: yaml.Node, what: str) -> dict[str, str]:
        found = self.texts(node, what, ("pid_file", "cmdline"))
        if len(found) != 1 and isinstance(node, yaml.MappingNode):
            self.reader.say(node, f"{what}: either pid_file or cmdline is expected")
        return found

    def absolute(self, node: yaml.Node, what: str) -> Path:
        text = self.reader.text(node, what)
        if text and not Path(text).is_absolute():
            self.reader.say(node, f"{what}: {text!r} is not an absolute path")
        return Path(text)

    def bus(self, node: yaml.Node) -> dict[str, Any] | None:
        if node.tag.endswith(":null"):
            return None
        found = self.fields(node, "bus", (*BUS_KEYS, "protocol", "heartbeat_topic"), BUS_KEYS)
        bus: dict[str, Any] = {
            key: self.reader.text(one.value, f"bus.{key}") for key, one in found.items() if key != "spare_actors"
        }
        endpoint = bus.get("endpoint")
        why = off_limits(endpoint, "tcp") if endpoint else ""
        if why:
            self.reader.say_of(found["endpoint"], f"bus.endpoint: {why}")
        if "spare_actors" in found:
            pair = ("public_key", "secret_key")
            bus["spare_actors"] = [
                self.texts(one, f"bus.spare_actors[{number}]", pair, pair)
                for number, one in enumerate(self.reader.items(found["spare_actors"].value, "bus.spare_actors"))
            ]
        return bus

    def routes(self, node: yaml.Node, processes: Collection[str]) -> tuple[Route, ...]:
        """The routes; the kernels that they need must be among *processes*, if there are any."""
        found: dict[str, Route] = {}
        for number, item in enumerate(self.reader.items(node, "routes")):
            route = self.route(item, f"routes[{number}]")
            for kernel in route.kernels if route is not None and processes else ():
                if kernel not in processes:
                    near = nearest(kernel, processes)
                    self.reader.say(item, f"routes[{number}].kernels: no process is called {kernel!r}.{near}")
            if route is not None and route.name in found:
                self.reader.say(item, f"routes[{number}]: {route.name!r} stands here twice")
            elif route is not None:
                found[route.name] = route
        return tuple(found.values())

    def route(self, node: yaml.Node, what: str) -> Route | None:
        needed = ("name", "method", "path", "kernels")
        found = self.fields(node, what, (*needed, "body", "witness_of", "answer"), needed)
        if not set(needed) <= set(found):
            return None
        read = self.reader
        kernels = read.names(found["kernels"].value, f"{what}.kernels")
        witness_of = ""
        if "witness_of" in found and not _is_empty(found["witness_of"].value):
            witness_of = self.word(found["witness_of"], f"{what}.witness_of", kernels)
        holds = self.fields(found["answer"].value, f"{what}.answer", ("full", "same"), ()) if "answer" in found else {}
        words = {key: read.names(one.value, f"{what}.answer.{key}") for key, one in holds.items()}
        return Route(
            name=read.text(found["name"].value, f"{what}.name"),
            method=self.word(found["method"], f"{what}.method", METHODS),
            path=self.request_path(found["path"], f"{what}.path"),
            kernels=kernels,
            body=self.body(found, what),
            witness_of=witness_of,
            full=words.get("full", ()),
            same=words.get("same", ()),
        )

    def word(self, found: Field, what: str, known: Collection[str]) -> str:
        text = self.reader.text(found.value, what)
        if text and text not in known:
            self.reader.say_of(found, f"{what}: {text!r} is not known.{nearest(text, known)}")
        return text

    def request_path(self, found: Field, what: str) -> str:
        text = self.reader.text(found.value, what)
        before = text.partition("?")[0]
        if text and (not REQUEST_PATH.fullmatch(text) or "@" in before or ":/" in before or "\\" in text):
            shape = "a path from / on is expected, in ASCII, without blanks, scheme, host or user"
            self.reader.say_of(found, f"{what}: {shape}, not {text!r}")
        return text

    def signals(self, node: yaml.Node) -> dict[str, dict[str, Any]]:
        signals: dict[str, dict[str, Any]] = {}
        for name, one in self.fields(node, "signals", SIGNALS).items():
            what = f"signals.{name}"
            keys = ("url", "counters") if name == "metrics" else ("url",)
            found = self.fields(one.value, what, keys, keys)
            signals[name] = {}
            if "url" in found:
                url = self.request_path(found["url"], f"{what}.url")
                bare = url.replace("{next}", "", 1) if name == "events" else url
                if url and name == "events" and bare == url and "{" not in url:
                    self.reader.say_of(found["url"], f"{what}.url: {url!r} needs the cursor {{next}} once")
                elif "{" in bare or "}" in bare:
                    self.reader.say_of(
                        found["url"], f"{what}.url: {url!r} holds a brace that is not {{next}} of events"
                    )
                signals[name]["url"] = url
            if "counters" in found:
                counters = self.reader.mapping(found["counters"].value, f"{what}.counters")
                signals[name]["counters"] = {
                    key: self.reader.text(value.value, f"{what}.counters.{key}") for key, value in counters.items()
                }
        return signals

    def event_rules(self, node: yaml.Node) -> tuple[dict[str, str], ...]:
        keys = ("topic", "kind", "name", "subject")
        rules: dict[str, dict[str, str]] = {}
        for number, item in enumerate(self.reader.items(node, "event_rules")):
            what = f"event_rules[{number}]"
            found = self.fields(item, what, keys, keys)
            if set(found) != set(keys):
                continue
            rule = {key: self.reader.text(one.value, f"{what}.{key}") for key, one in found.items() if key != "kind"}
            rule["kind"] = self.word(found["kind"], f"{what}.kind", TOLD)
            if rule["topic"] in rules:
                self.reader.say_of(found["topic"], f"{what}: a rule for {rule['topic']!r} stands here twice")
            rules[rule["topic"]] = rule
        return tuple(rules.values())

    def link(self, name: str, node: yaml.Node) -> Link:
        what = f"links.{name}"
        needed = ("address_file", "callee")
        found = self.fields(node, what, (*needed, "callers", "framing", "probe"), needed)
        framing = found.get("framing")
        return Link(
            name=name,
            address_file=self.absolute(found["address_file"].value, f"{what}.address_file")
            if "address_file" in found
            else Path(),
            callee=self.reader.text(found["callee"].value, f"{what}.callee") if "callee" in found else "",
            callers=self.reader.names(found["callers"].value, f"{what}.callers") if "callers" in found else (),
            probe=self.body(found, what, "probe") or {},
            framing=self.word(framing, f"{what}.framing", FRAMINGS) if framing and not _is_empty(framing.value) else "",
        )


OFFERS_DEPTH = 4  # "signals.metrics.counters.htm_queue_depth"
NO_OFFERS = ("schema", "name", "base_url", "processes", "workers", "permits")  # names, not sources of evidence


def offered_keys(found: Mapping[str, yaml.Node]) -> tuple[str, ...]:
    """Dotted keys of a manifest down to OFFERS_DEPTH, sorted; a key whose value is empty, null or false is left out."""
    keys: list[str] = []

    def walk(key: str, node: yaml.Node, depth: int) -> None:
        if isinstance(node, yaml.ScalarNode) and node.value.lower() in ("", "~", "null", "false"):
            return
        if isinstance(node, yaml.MappingNode | yaml.SequenceNode) and not node.value:
            return
        keys.append(key)
        if isinstance(node, yaml.MappingNode) and depth < OFFERS_DEPTH:
            for name, value in node.value:
                walk(f"{key}.{name.value}", value, depth + 1)

    for key, node in found.items():
        if key not in NO_OFFERS:
            walk(key, node, 1)
    return tuple(sorted(keys))


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == ""
