"""The manifest is read as written, or refused with the line, the culprit and the nearest word."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.contracts import AuditTrail, TargetError
from harness.process import read_process
from harness.target import ANSWERED, BUS_KEYS, KEYS, SIGNALS, load_target
from tests.fake_target import BASE, target, write_manifest
from tests.processes import ROOT, wait_for


def refusal(path: Path, host: str | None = None) -> str:
    with pytest.raises(TargetError) as caught:
        load_target(path, host)
    return str(caught.value)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    one = target(
        tmp_path,
        paths={"logs": "/x/logs"},
        processes={name: {"pid_file": "/x/pid"} for name in ("api_server", "librarian")},
    )
    assert one.name == "fake" and one.base_url == "http://127.0.0.1:1"
    assert one.kernels == ("api_server", "librarian")
    assert one.paths == {"logs": Path("/x/logs")} and one.bus is None
    assert one.safeguards == ("kernel_watchdog",) and one.playbooks == ("kernel_restart",)
    watched, unwatched = one.routes
    assert (watched.path, watched.kernels) == ("/work?n=1", ("api_server", "librarian"))
    assert watched.witness_of == "librarian" and unwatched.witness_of == ""
    assert watched.full == watched.same == ()


def test_a_host_replaces_the_base_url(tmp_path: Path) -> None:
    assert load_target(write_manifest(tmp_path), "http://127.0.0.1:99/").base_url == "http://127.0.0.1:99"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_this_machine_is_allowed(tmp_path: Path, host: str) -> None:
    assert host.strip("[]") in target(tmp_path, base_url=f"http://{host}:80").base_url


@pytest.mark.parametrize(
    "url", ["http://192.0.2.7:80", "http://example.org", "http://0.0.0.0:80", "http://127.0.0.1.example.org", "nothing"]
)
def test_another_machine_is_refused(tmp_path: Path, url: str) -> None:
    assert "only loopback addresses are allowed" in refusal(write_manifest(tmp_path, base_url=url))
    assert "only loopback addresses are allowed" in refusal(write_manifest(tmp_path), url)


BUS = {"server_public_key": "k", "open_topic": "t", "spare_actors": [{"public_key": "p", "secret_key": "s"}]}


def test_a_bus_on_this_machine_is_taken_and_any_other_refused(tmp_path: Path) -> None:
    bus = {**BUS, "endpoint": "tcp://127.0.0.1:9"}
    assert target(tmp_path, bus=bus).bus == bus
    for endpoint in ("tcp://192.0.2.7:9", "tcp://bus.example.org:9", "epgm://lo;239.0.0.1:9", "nothing"):
        said = refusal(write_manifest(tmp_path, bus={**BUS, "endpoint": endpoint}))
        assert "only loopback addresses are allowed" in said and "target.yaml:" in said


@pytest.mark.parametrize("bus", [{}, {"endpoint": "tcp://127.0.0.1:9"}, BUS])
def test_half_a_bus_is_refused(tmp_path: Path, bus: Any) -> None:
    assert "is missing" in refusal(write_manifest(tmp_path, bus=bus))


def test_an_unknown_key_is_told_with_its_line_and_the_nearest_word(tmp_path: Path) -> None:
    path = write_manifest(tmp_path)
    text = path.read_text().replace("safeguards:", "safegards:", 1)
    path.write_text(text)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if row.startswith("safegards"))
    said = refusal(path)
    assert said.startswith(f"{path}:{line}: ") and "'safegards'" in said and "Did you mean 'safeguards'?" in said


@pytest.mark.parametrize("key", ["schema", "base_url", "routes"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    path = tmp_path / "target.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in BASE.items() if name != key}))
    assert refusal(path) == f"{path}:1: {key} is missing"


def test_another_schema_is_refused(tmp_path: Path) -> None:
    said = refusal(write_manifest(tmp_path, schema="grace-target/9"))
    assert said.endswith("target.yaml:1: schema 'grace-target/9'; grace-target/1 is expected")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [1\nb: 2\n", "target.yaml:2: this is not YAML"),
        ("- a\n- b\n", "target.yaml:1: manifest: a mapping is expected, not a list"),
        ("", "target.yaml:1: is empty"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "target.yaml"
    path.write_text(text)
    assert part in refusal(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "routes", [5, ["GET /x"], [{"name": "GET /x"}], [{"name": "x", "method": "GET", "path": "/x"}]]
)
def test_routes_that_are_none_are_refused(tmp_path: Path, routes: Any) -> None:
    assert "target.yaml" in refusal(write_manifest(tmp_path, routes=routes))


def test_a_process_is_found_by_its_pid_file(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    one = target(tmp_path, processes={"librarian": {"pid_file": str(file)}})
    file.write_text(f"{os.getpid()}\n")
    assert one.process("librarian") == read_process(os.getpid())


@pytest.mark.parametrize("text", ["", "0", "-1", "abc", "4194999", None])
def test_a_pid_file_without_a_living_process(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "pid").write_text(text)
    one = target(tmp_path, processes={"librarian": {"pid_file": str(tmp_path / "pid")}})
    with pytest.raises(TargetError, match="librarian: 0 living processes"):
        one.process("librarian")


def test_a_process_is_found_by_its_words_only_when_it_is_the_only_one(tmp_path: Path) -> None:
    one = target(tmp_path, processes={"librarian": {"cmdline": f"--of {tmp_path}"}})
    with pytest.raises(TargetError, match="librarian: 0 living processes"):
        one.process("librarian")
    command = [sys.executable, "-c", "import sys; sys.stdin.read()", "--of", str(tmp_path)]
    twins = [subprocess.Popen(command, stdin=subprocess.PIPE)]
    try:
        found = wait_for(lambda: _found(one), 5)
        assert found.pid == twins[0].pid
        twins.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        wait_for(lambda: _refused(one, "librarian: 2 living processes"), 5)
    finally:
        for process in twins:
            process.communicate()


def _found(one: Any) -> Any:
    try:
        return one.process("librarian")
    except TargetError:
        return None


def _refused(one: Any, words: str) -> bool:
    try:
        one.process("librarian")
    except TargetError as error:
        return words in str(error)
    return False


def test_an_unknown_process_names_what_there_is(tmp_path: Path) -> None:
    one = target(tmp_path, processes={"librarian": {"pid_file": "/x"}})
    with pytest.raises(TargetError, match=r"'libarian'\. Did you mean 'librarian'"):
        one.process("libarian")


POOL = {"processes": {"worker_1": {"pid_file": "/x/1"}, "worker_2": {"cmdline": "w 2"}}, "function": "a.b:run"}
LEDGER = {"url": "/api/things?since={next}&limit=9", "rows": "things"}


def test_workers_and_ledgers_are_read(tmp_path: Path) -> None:
    one = target(tmp_path, workers={"pool": POOL}, ledgers={"things": LEDGER})
    assert one.workers["pool"].function == "a.b:run"
    assert one.workers["pool"].processes == POOL["processes"]
    assert one.kernels == (), "a worker is no kernel"
    assert (one.ledgers["things"].url, one.ledgers["things"].rows) == (LEDGER["url"], "things")
    assert target(tmp_path).workers == {} and target(tmp_path).ledgers == {}


def test_audit_trail_proof_and_exclusive_are_read(tmp_path: Path) -> None:
    trail = {"head": "/log?last=1", "digest": "sha256", "every_request": True}
    one = target(tmp_path, ledgers={"things": {**LEDGER, "proof": "sha256"}}, audit=trail, exclusive=True)
    assert one.audit == AuditTrail(head="/log?last=1", digest="sha256", every_request=True)
    assert one.exclusive and one.ledgers["things"].proof == "sha256"
    assert {"audit.head", "audit.digest", "audit.every_request", "exclusive", "ledgers.things.proof"} <= {*one.offers}
    bare = target(tmp_path, ledgers={"things": LEDGER}, audit={"every_request": False}, exclusive=False)
    assert bare.audit == AuditTrail() and not bare.exclusive and bare.ledgers["things"].proof == ""
    assert not {"audit.every_request", "exclusive"} & {*bare.offers} and target(tmp_path).audit is None


def test_questions_to_models_are_read(tmp_path: Path) -> None:
    ask = {"method": "POST", "path": "/classify", "body": {"text": "x"}}
    models = target(tmp_path, models={"a.pkl": ask, "b.pkl": {"method": "GET", "path": "/b"}}).models
    assert {name: asdict(one) for name, one in models.items()} == {
        "a.pkl": {**ask, "fields": {}},
        "b.pkl": {"method": "GET", "path": "/b", "body": None, "fields": {}},
    }
    assert target(tmp_path).models == {}


def test_a_worker_is_found_by_its_name_as_a_kernel_is(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    file.write_text(f"{os.getpid()}\n")
    pool = {**POOL, "processes": {"worker_1": {"pid_file": str(file)}, "worker_2": {"pid_file": "/x/2"}}}
    one = target(tmp_path, workers={"pool": pool}, processes={"librarian": {"pid_file": "/x/3"}})
    assert one.process("worker_1") == read_process(os.getpid())
    with pytest.raises(TargetError, match="worker_2: 0 living processes"):
        one.process("worker_2")
    with pytest.raises(TargetError, match=r"'worker_3'\. Did you mean 'worker_"):
        one.process("worker_3")


def test_links_are_read_and_those_that_cannot_be_are_refused(tmp_path: Path) -> None:
    way = {"address_file": "/x/a.addr", "callee": "librarian", "callers": ["api_server"], "framing": "u32be"}
    link = target(tmp_path, links={"librarian": way}).links["librarian"]
    assert (link.name, link.address_file, link.callee) == ("librarian", Path("/x/a.addr"), "librarian")
    assert (link.callers, link.framing) == (("api_server",), "u32be")
    assert target(tmp_path).links == {}
    for change, words in (
        ({"framing": "u32bf"}, "links.l.framing: 'u32bf' is not known. Did you mean 'u32be'?"),
        ({"address_file": "a.addr"}, "links.l.address_file: 'a.addr' is not an absolute path"),
    ):
        assert words in refusal(write_manifest(tmp_path, links={"l": {**way, **change}}))
    assert "links.l.callee is missing" in refusal(write_manifest(tmp_path, links={"l": {"address_file": "/x"}}))


SPARE = BUS["spare_actors"]
ROUTE = {"name": "GET /x", "method": "GET", "path": "/x", "kernels": ["api_server"]}
RULE = {"topic": "t", "kind": "safeguard_engaged", "name": "n", "subject": "s"}
DEEP: list[tuple[dict[str, Any], str]] = [
    ({"routes": [{**ROUTE, "kernals": []}]}, "routes[0]: no key is called 'kernals'. Did you mean 'kernels'?"),
    ({"routes": [{**ROUTE, "method": "GTE"}]}, "routes[0].method: 'GTE' is not known. Did you mean 'GET'?"),
    (
        {"routes": [{**ROUTE, "answer": {"ful": ["results"]}}]},
        "routes[0].answer: no key is called 'ful'. Did you mean 'full'?",
    ),
    (
        {"routes": [{**ROUTE, "witness_of": "api_sever"}]},
        "routes[0].witness_of: 'api_sever' is not known. Did you mean",
    ),
    ({"routes": [{**ROUTE, "kernels": "api_server"}]}, "routes[0].kernels: a list is expected, not 'api_server'"),
    ({"routes": [{**ROUTE, "body": [1]}]}, "routes[0].body: a mapping is expected, not a list"),
    ({"routes": [{"name": "x"}]}, "routes[0].method is missing"),
    ({"routes": [ROUTE, ROUTE]}, "routes[1]: 'GET /x' stands here twice"),
    ({"routes": {"a": ROUTE}}, "routes: a list is expected, not a mapping"),
    ({"processes": {"librarian": {"pidfile": "/x"}}}, "no key is called 'pidfile'. Did you mean 'pid_file'?"),
    ({"processes": {"librarian": {"pid_file": "/x", "cmdline": "y"}}}, "either pid_file or cmdline is expected"),
    ({"processes": {"librarian": {"cmdline": ""}}}, "processes.librarian.cmdline: a text is expected, not ''"),
    ({"processes": {"librarian": "/x"}}, "processes.librarian: a mapping is expected, not '/x'"),
    ({"processes": ["librarian"]}, "processes: a mapping is expected, not a list"),
    ({"supervisor": {"pid": 5}}, "supervisor: no key is called 'pid'."),
    ({"paths": {"logs": "logs"}}, "paths.logs: 'logs' is not an absolute path"),
    ({"paths": {"logs": 5}}, "paths.logs: a text is expected, not 5"),
    ({"signals": {"kernel": {"url": "/x"}}}, "signals: no key is called 'kernel'. Did you mean 'kernels'?"),
    ({"signals": {"kernels": {"uri": "/x"}}}, "signals.kernels: no key is called 'uri'. Did you mean 'url'?"),
    ({"signals": {"kernels": {"url": "http://192.0.2.7/x"}}}, "signals.kernels.url: a path from / on is expected"),
    ({"signals": {"events": {"url": "/x?{since}"}}}, "signals.events.url: '/x?{since}' holds a brace"),
    ({"signals": {"events": {"url": "/x"}}}, "signals.events.url: '/x' needs the cursor {next} once"),
    ({"signals": {"events": {"url": "/x?{next}{next}"}}}, "signals.events.url: '/x?{next}{next}' holds a brace"),
    ({"signals": {"metrics": {"url": "/x"}}}, "signals.metrics.counters is missing"),
    ({"signals": {"metrics": {"url": "/x", "counters": {"a": 5}}}}, "counters.a: a text is expected, not 5"),
    ({"event_rules": [{**RULE, "kind": "safeguard_engagd"}]}, "Did you mean 'safeguard_engaged'?"),
    ({"event_rules": [{**RULE, "kind": "recovered"}]}, "event_rules[0].kind: 'recovered' is not known."),
    (
        {"event_rules": [{**RULE, "subjekt": "s"}]},
        "event_rules[0]: no key is called 'subjekt'. Did you mean 'subject'?",
    ),
    ({"event_rules": [{"topic": "t"}]}, "event_rules[0].kind is missing"),
    ({"event_rules": [RULE, RULE]}, "event_rules[1]: a rule for 't' stands here twice"),
    (
        {"bus": {**BUS, "endpoint": "tcp://127.0.0.1:9", "endpint": "x"}},
        "bus: no key is called 'endpint'. Did you mean",
    ),
    ({"bus": {**BUS, "endpoint": "tcp://127.0.0.1:9", "spare_actors": [{"public_key": "p"}]}}, "secret_key is missing"),
    ({"bus": {**BUS, "endpoint": 9}}, "bus.endpoint: a text is expected, not 9"),
    ({"bus": {**BUS, "endpoint": "tcp://127.0.0.1:9;tcp://192.0.2.7:9"}}, "bus.endpoint: "),
    ({"bus": 5}, "bus: a mapping is expected, not 5"),
    ({"safeguards": "kernel_watchdog"}, "safeguards: a list is expected, not 'kernel_watchdog'"),
    ({"playbooks": ["a", "a"]}, "playbooks: 'a' stands here twice"),
    ({"links": {"l": {"address_file": "/x", "callee": "c", "caller": []}}}, "Did you mean 'callers'?"),
    ({"workers": {"p": {**POOL, "proceses": {}}}}, "workers.p: no key is called 'proceses'. Did you mean 'processes'?"),
    ({"workers": {"p": {"function": "a:b"}}}, "workers.p.processes is missing"),
    ({"workers": {"p": {**POOL, "function": "a.b"}}}, "workers.p.function: MODULE:FUNCTION is expected, not 'a.b'"),
    ({"workers": {"p": {**POOL, "processes": {"w": {"pid": "/x"}}}}}, "workers.p.processes.w: no key is called 'pid'."),
    ({"workers": {"p": POOL, "q": POOL}}, "workers.q.processes: 'worker_1' is another process's name"),
    ({"models": {"m": {"method": "POST"}}}, "models.m.path is missing"),
    ({"models": {"m": {"method": "PAST", "path": "/"}}}, "models.m.method: 'PAST' is not known. Did you mean 'POST'?"),
    ({"models": {"m": {"method": "GET", "path": "//host/x"}}}, "models.m.path: a path from / on is expected"),
    ({"models": {"m": {"method": "GET", "path": "/", "body": "x"}}}, "models.m.body: a mapping is expected"),
    ({"models": {"m": {"method": "GET", "path": "/", "bdy": {}}}}, "models.m: no key is called 'bdy'"),
    ({"ledgers": {"l": {**LEDGER, "row": "x"}}}, "ledgers.l: no key is called 'row'. Did you mean 'rows'?"),
    ({"ledgers": {"l": {"url": "/x?since={next}"}}}, "ledgers.l.rows is missing"),
    ({"ledgers": {"l": {**LEDGER, "url": "/x"}}}, "ledgers.l.url: '/x' needs the cursor {next} once"),
    ({"ledgers": {"l": {**LEDGER, "url": "/x?{next}{a}"}}}, "needs the cursor {next} once and no other brace"),
    ({"ledgers": {"l": {**LEDGER, "proof": "md5"}}}, "ledgers.l.proof: 'md5' is not known"),
    ({"audit": {"hed": "/x"}}, "audit: no key is called 'hed'. Did you mean 'head'?"),
    ({"audit": {"head": "http://192.0.2.7/x"}}, "audit.head: a path from / on is expected"),
    ({"audit": {"digest": "md5"}}, "audit.digest: 'md5' is not known"),
    ({"audit": {"every_request": "x"}}, "audit.every_request: "),
    ({"exclusive": 5}, "exclusive: "),
    ({"ledgers": {"l": {**LEDGER, "url": "http://192.0.2.7/{next}"}}}, "ledgers.l.url: a path from / on is expected"),
]


@pytest.mark.parametrize(("changes", "words"), DEEP, ids=[row[1][:50] for row in DEEP])
def test_what_is_wrong_below_the_first_level_is_told_with_its_line(tmp_path: Path, changes: Any, words: str) -> None:
    path = write_manifest(tmp_path, **changes)
    said = refusal(path)
    assert words in said
    line, top = int(said.split(":")[1]), next(iter(changes))
    rows = path.read_text().splitlines()
    begins = next(n for n, row in enumerate(rows, 1) if row.startswith(f"{top}:"))
    ends = next((n for n, row in enumerate(rows, 1) if n > begins and row[0].isalpha()), len(rows) + 1)
    assert begins <= line < ends, said


@pytest.mark.parametrize(
    "bad",
    [
        *("x", "//192.0.2.7/x", "/\\\\192.0.2.7/x", "http://192.0.2.7/x", "@192.0.2.7/x", "/x@192.0.2.7", "/a:/b"),
        *("/a b", "/a\r\nHost: x", "/ä", "/\x00", "", "?a=b", "/a\tb"),
    ],
)
def test_a_route_leads_nowhere_else(tmp_path: Path, bad: str) -> None:
    said = refusal(write_manifest(tmp_path, routes=[{**ROUTE, "path": bad}]))
    assert "routes[0].path: " in said, said


@pytest.mark.parametrize("good", ["/", "/x", "/x?a=b&c=http://y@z", "/a/b.c~d-e_f", "/x?q=%20"])
def test_a_route_with_a_query_is_taken(tmp_path: Path, good: str) -> None:
    assert target(tmp_path, routes=[{**ROUTE, "path": good}]).routes[0].path == good


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1", "https://127.0.0.1:80", "http://me@127.0.0.1:80", "http://192.0.2.7:80@127.0.0.1:80"),
        *("http://127.0.0.1:80/api", "http://127.0.0.1:80?x", "http://127.0.0.1:80#x", "http://127.0.0.1:0"),
        *("tcp://127.0.0.1:80", "http://127.0.0.1:080"),
    ],
)
def test_a_base_url_is_a_host_and_a_port_and_nothing_else(tmp_path: Path, url: str) -> None:
    assert "target.yaml:3: base_url: http://HOST:PORT and nothing else" in refusal(
        write_manifest(tmp_path, base_url=url)
    )
    assert refusal(write_manifest(tmp_path), url).startswith("--host: ")


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://[::1:80", "http://[::2]:80", "", "http://:80"])
def test_what_is_no_address_at_all_is_refused(tmp_path: Path, url: str) -> None:
    assert "base_url: " in refusal(write_manifest(tmp_path, base_url=url))


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    said = refusal(write_manifest(tmp_path, safegards=[], bus=5, routes=[{**ROUTE, "method": "GTE"}]))
    assert len(said.splitlines()) == 3


def test_a_bus_of_nothing_is_no_bus(tmp_path: Path) -> None:
    assert target(tmp_path, bus=None).bus is None


LOG = {"append": "/log", "actor": "auditor", "secret_key": "s3cret"}


def test_the_way_into_the_target_s_log_is_read_and_its_key_is_not_shown(tmp_path: Path) -> None:
    assert target(tmp_path).immutable_log is None
    route = target(tmp_path, immutable_log=LOG).immutable_log
    assert route is not None and (route.append, route.actor, route.secret_key) == tuple(LOG.values())
    assert "s3cret" not in repr(route)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"append": "http://127.0.0.1/log"}, "immutable_log.append: a path from / on is expected"),
        ({"secret_key": "two words"}, "immutable_log.secret_key: it cannot stand in a header"),
        ({"token": "x"}, "'token'"),
    ],
)
def test_a_wrong_way_into_the_log_is_refused(tmp_path: Path, change: dict[str, str], words: str) -> None:
    assert words in refusal(write_manifest(tmp_path, immutable_log={**LOG, **change}))
    assert "immutable_log.actor is missing" in refusal(write_manifest(tmp_path, immutable_log={"append": "/log"}))


def test_the_supervisor_is_a_process_and_no_kernel(tmp_path: Path) -> None:
    pid_file = tmp_path / "supervisor.pid"
    pid_file.write_text(str(os.getpid()))
    found = target(tmp_path, supervisor={"pid_file": str(pid_file)})
    assert found.process("supervisor").pid == os.getpid() and "supervisor" not in found.kernels
    with pytest.raises(TargetError, match="no process 'supervisor'"):
        target(tmp_path).process("supervisor")


PAGE = (ROOT / "docs" / "target.md").read_text(encoding="utf-8")


def test_the_smallest_manifest_of_the_page_is_one(tmp_path: Path) -> None:
    path = tmp_path / "target.yaml"
    path.write_text(PAGE.partition("```yaml\n")[2].partition("```")[0])
    assert load_target(path).kernels == ("memory_fusion",)


def test_the_page_tells_of_every_key() -> None:
    keys = {*KEYS, *BUS_KEYS, *SIGNALS, *ANSWERED, "counters", "topic", "kind", "subject", "rows", "append", "function"}
    assert {key for key in keys if f"`{key}`" not in PAGE} == set()
