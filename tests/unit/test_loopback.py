"""The probes' HTTP client: from its own address, with every bound, and never a crash of another kind."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator

import pytest

from harness.loopback import BODY_BYTES_MAX, PROBE_ADDRESS, Client
from tests.fake_target import Answer, FakeServer, as_json, serving


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


def test_it_asks_from_its_own_address_and_through_no_proxy(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.answers["/a"] = as_json({"x": 1})
    client = Client(server.base_url)
    assert client.send("POST", "/a", {"q": 2})[0] == 200 and client.get_json("/a") == {"x": 1}
    client.close()
    assert server.seen == [("POST", "/a", PROBE_ADDRESS, b'{"q": 2}'), ("GET", "/a", PROBE_ADDRESS, b"")]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(body=b"<html>"), "does not answer with JSON"),
        (Answer(body=b"\xff\xfe"), "does not answer with JSON"),
        (Answer(status=500, body=b"{}"), "answers 500"),
        (Answer(status=302, headers=(("Location", "http://192.0.2.1/"),)), "answers 302"),
        (Answer(body=b"1" * (BODY_BYTES_MAX + 1)), "more than"),
    ],
)
def test_a_hostile_answer_is_an_error_in_words(server: FakeServer, answer: Answer, words: str) -> None:
    server.answers = {"/a": answer, "/b": as_json([])}
    client = Client(server.base_url)
    with pytest.raises(OSError, match=words):
        client.get_json("/a")
    assert client.get_json("/b") == []  # and the connection is fit for use
    client.close()


def test_silence_ends_with_the_time_out(server: FakeServer) -> None:
    server.answers["/a"] = Answer(silent=True)
    client, start_s = Client(server.base_url, timeout_s=0.2), time.monotonic()
    with pytest.raises(TimeoutError):
        client.send("GET", "/a")
    assert 0.15 < time.monotonic() - start_s < 2.0
    server.answers["/a"] = as_json({})
    assert client.get_json("/a") == {}
    client.close()


def test_nobody_there() -> None:
    with serving() as fake:
        base_url = fake.base_url
    with pytest.raises((OSError, http.client.HTTPException)):
        Client(base_url).send("GET", "/a")
