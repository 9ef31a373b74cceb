"""`python -m locustfiles.engine`: what it prints and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from locustfiles.engine.__main__ import main
from tests.flood.shapes import expected, hostile


def test_it_tells_what_the_server_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"yyyy")
    with hostile() as server:
        url = f"http://127.0.0.1:{server.port}"
        words = ["--requests", "300", "--connections", "5", "--body", str(body), "--json"]
        assert main([url + "/plain/{id}", *words, "--address", "127.0.0.3", "--length", "21"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["requests"], told["outcomes"], told["statuses"]) == (300, {"ok": 300}, {"200": 300})
        assert told["cpu_s"] > 0 and told["latency_us"]["p100"] >= told["latency_us"]["p50"] > 0
        assert told["body_bytes"] == 300 * 21 and told["send_lag_us"] == {}
        assert server.told()["peers"] == {"127.0.0.3": 5} and server.told()["twice"] == []

        assert main([url + "/limited/{id}", *words, "--rate", "500", "--arrivals", "poisson"]) == 1
        told = json.loads(capsys.readouterr().out)
        assert told["outcomes"] == {"limited": 300} and told["send_lag_us"]["p50"] >= 0

        assert main([url + "/not_found/{id}", "--requests", "7"]) == 1
        assert "status 404 7" in capsys.readouterr().out
        counts = server.told()["counts"]
    assert sum(expected(counts).values()) == 607


def test_for_a_time_instead_of_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    with hostile() as server:
        assert main([f"http://127.0.0.1:{server.port}/plain/{{id}}", "--seconds", "0.5", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["requests"] == server.told()["counts"]["plain 200 ok"] and told["seconds"] < 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["https://127.0.0.1/"], "is no http:// address"),
        (["http://192.0.2.1/"], "nobody has authorised it"),
        (["http://127.0.0.1/", "--connections", "0"], "can send nothing"),
        (["http://127.0.0.1/", "--rate", "-1"], "is none"),
        (["http://127.0.0.1/", "--body", "no/such/file"], "no/such/file"),
        (["http://127.0.0.1/", "--header", "nonsense"], "NAME: VALUE"),
    ],
)
def test_what_cannot_be_asked(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
