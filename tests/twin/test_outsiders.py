"""Entries from outside: only with the token, only under one name, and in the same chain as all others."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import twin
from tests.twin.client import Client
from twin.http.outsiders import ACTOR, ENTRIES_MAX, PAYLOAD_BYTES_MAX, Outsiders, make_token, read_token
from twin.rpc import KernelError

ONE = {"action": "inspect", "resource": "queue", "result": "done", "reference": "a/1", "payload": {"n": 1}}
LOG = "/api/immutable-log"


def test_the_token_stays_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    token = make_token(tmp_path)
    assert len(token) >= 32 and make_token(tmp_path) == read_token(tmp_path) == token
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer wrong")],
        [(b"authorization", b"Basic right")],
        [(b"authorization", b"right")],
        [(b"x-authorization", b"Bearer right")],
        [(b"authorization", b"Bearer right"), (b"authorization", b"Bearer wrong")],
    ],
    ids=str,
)
def test_whoever_does_not_show_it_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(KernelError) as error:
        Outsiders("right").admit(headers)
    assert error.value.status == 401
    Outsiders("right").admit([(b"authorization", b"bearer right")])


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [],
        [ONE] * (ENTRIES_MAX + 1),
        [7],
        [{**ONE, "actor": "governance"}],
        [{**ONE, "action": ""}],
        [{**ONE, "reference": "x" * 201}],
        [{**ONE, "payload": "text"}],
        [{**ONE, "payload": {"text": "x" * PAYLOAD_BYTES_MAX}}],
        [ONE, {key: value for key, value in ONE.items() if key != "result"}],
    ],
    ids=lambda entries: str(entries)[:60],
)
def test_what_cannot_be_an_entry_is_refused_as_a_whole(entries: Any) -> None:
    with pytest.raises(KernelError) as error:
        Outsiders("t").entries({"entries": entries})
    assert error.value.status == 422 and error.value.detail["field"].startswith("entries")


def test_an_entry_bears_the_outsider_s_name_and_a_reference_of_its_kind() -> None:
    (made,) = Outsiders("t").entries({"entries": [ONE]})["entries"]
    assert made == {**ONE, "actor": ACTOR, "subsystem": "external", "reference": f"{ACTOR}/a/1"}


@pytest.mark.slow
def test_it_is_chained_as_any_other_and_stands_there_once(tmp_path: Path) -> None:
    with twin(tmp_path):
        told = yaml.safe_load((tmp_path / "target.yaml").read_text())["immutable_log"]
        client = Client(tmp_path)

        def append(key: str) -> tuple[int, dict[str, Any]]:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            client.connection.request("POST", told["append"], json.dumps({"entries": [ONE]}), headers)
            answer = client.connection.getresponse()
            return answer.status, json.loads(answer.read())

        decision = {"actor": "me", "action": "read", "resource": "status", "payload": {}}
        assert client.ask("POST", "/api/governance/check", decision)[0] == 200
        assert append("")[0] == append("wrong")[0] == 401
        first, again = append(told["secret_key"]), append(told["secret_key"])
        assert first == again and first[0] == 200
        assert client.ask("POST", "/api/governance/check", decision)[0] == 200
        mine = [row for row in client.audit() if row["actor"] == ACTOR]
        assert [row["sequence"] for row in mine] == first[1]["sequences"]
        assert client.get(LOG + "/verify")["valid"]
        client.close()
