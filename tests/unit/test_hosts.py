"""Nothing leaves this machine: not by name, not by redirect, not by a proxy variable, not by another scheme."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests

from harness.hosts import HostRefused, Permit, is_loopback, lapsed, off_limits, resolve
from harness.loopback import Client
from locustfiles.guarded import keep_here
from tests.fake_target import Answer, FakeServer, as_json, serving

IPV6 = Path("/proc/net/if_inet6")  # a line for each address
ELSEWHERE = "192.0.2.1"  # of a block that is nobody's (RFC 5737)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as one:
        keep_here(one, "127.0.0.2")
        yield one


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each name resolves to, from now on; and no connection beyond this machine can be made."""
    known: dict[str, str] = {}
    real, connect = socket.getaddrinfo, socket.socket.connect

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> Any:
        return real(known.get(host, host), *args, **kwargs)

    def guarded(self: socket.socket, address: Any) -> None:
        assert is_loopback(address[0]), f"a connection to {address} was tried"
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", guarded)
    return known


def test_loopback_is_allowed_and_all_else_is_refused(names: dict[str, str]) -> None:
    names |= {"far.test": ELSEWHERE, "near.test": "127.0.0.1"}
    assert resolve("127.0.0.1", 80) == ("127.0.0.1", 80) and resolve("localhost", 80)[0] in ("127.0.0.1", "::1")
    assert resolve("near.test", 80) == ("127.0.0.1", 80)
    for host in (ELSEWHERE, "far.test", "10.0.0.1", "0.0.0.0", "::ffff:192.0.2.1"):
        with pytest.raises(HostRefused, match="nobody has authorised it"):
            resolve(host, 80)
    assert resolve("far.test", 80, ["far.test"]) == (ELSEWHERE, 80)


@pytest.mark.parametrize(
    ("found", "taken"),
    [
        (("127.0.0.1", ELSEWHERE), "127.0.0.1"),
        ((ELSEWHERE, "127.0.0.1"), "127.0.0.1"),
        ((ELSEWHERE, "::1"), "::1"),
        ((ELSEWHERE, "2001:db8::1"), ""),
    ],
)
def test_of_a_name_with_two_addresses_only_the_one_on_this_machine_is_taken(
    monkeypatch: pytest.MonkeyPatch, found: tuple[str, ...], taken: str
) -> None:
    def getaddrinfo(host: str, port: int, **_: Any) -> Any:
        families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in found]
        return [(family, 1, 6, "", (one, port)) for family, one in zip(families, found, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    if taken:
        assert resolve("both.test", 80) == (taken, 80)
        return
    with pytest.raises(HostRefused, match=r"192\.0\.2\.1, 2001:db8::1"):
        resolve("both.test", 80)


def test_loopback_of_the_newer_protocol(session: requests.Session) -> None:
    """A user and a probe; ::1 is one address alone, so all come from it."""
    assert off_limits("http://[::1]:80", "http") == "" and off_limits("http://[2001:db8::1]:80", "http")
    with pytest.raises(HostRefused):
        resolve("2001:db8::1", 80)
    if not IPV6.exists() or " lo" not in IPV6.read_text():
        return  # a machine without it has nothing to talk to
    with serving("::1") as server:
        server.answers["/a"] = as_json({"x": 1})
        assert session.get(f"{server.base_url}/a", timeout=3).status_code == 200
        assert Client(server.base_url).get_json("/a") == {"x": 1}
        assert {peer for _, _, peer, _ in server.seen} == {"::1"}
        assert {head["Host"] for head in server.headers} == {server.base_url.removeprefix("http://")}


def test_a_permit_ends_with_its_day() -> None:
    permit = Permit(host="far.test", owner="Ada", expires=date(2026, 11, 30))
    assert permit.in_force(date(2026, 11, 30)) and not permit.in_force(date(2026, 12, 1))
    assert str(permit) == "far.test, authorised by Ada until 2026-11-30"
    assert lapsed([permit], date(2026, 11, 30)) == "" == lapsed([], date(2026, 12, 1))
    assert "permit for far.test, given by Ada, ended on 2026-11-30" in lapsed([permit], date(2026, 12, 1))


def test_a_user_talks_to_this_machine_from_its_own_address(server: FakeServer, session: requests.Session) -> None:
    server.answers["/a"] = as_json({})
    assert session.get(f"{server.base_url}/a", timeout=3).status_code == 200
    assert server.seen[0][2] == "127.0.0.2"


@pytest.mark.parametrize("goal", [f"http://{ELSEWHERE}/", "http://far.test/", "https://127.0.0.1/", "ftp://127.0.0.1/"])
def test_a_redirect_does_not_lead_away(
    server: FakeServer, session: requests.Session, names: dict[str, str], goal: str
) -> None:
    names["far.test"] = ELSEWHERE
    server.answers["/away"] = Answer(status=302, headers=(("Location", goal),))
    with pytest.raises(requests.exceptions.RequestException):
        session.get(f"{server.base_url}/away", timeout=3)


def test_a_proxy_variable_is_ignored(
    server: FakeServer, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    server.answers["/a"] = as_json({})
    assert session.get(f"{server.base_url}/a", timeout=3).status_code == 200


def test_a_name_that_changes_its_address_is_caught_at_the_next_connection(
    server: FakeServer, session: requests.Session, names: dict[str, str]
) -> None:
    names["moving.test"] = "127.0.0.1"
    port = server.base_url.rpartition(":")[2]
    server.answers["/a"] = Answer(headers=(("Connection", "close"),))
    assert session.get(f"http://moving.test:{port}/a", timeout=3).status_code == 200
    names["moving.test"] = ELSEWHERE
    with pytest.raises(requests.exceptions.ConnectionError, match="nobody has authorised it"):
        session.get(f"http://moving.test:{port}/a", timeout=3)


def test_the_probes_are_kept_here_too(names: dict[str, str]) -> None:
    names["far.test"] = ELSEWHERE
    for host in (ELSEWHERE, "far.test"):
        with pytest.raises(HostRefused):
            Client(f"http://{host}:80").send("GET", "/")
