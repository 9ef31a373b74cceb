"""Before anything starts: each process, route and signal of the manifest is asked once, and each problem has a line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.contracts import TargetError
from harness.observers.control_plane import ControlPlane
from harness.observers.events import Events
from harness.preflight import LIMIT_S, ManifestWrong, Problem, checked, preflight
from harness.signal_shapes import ShapeError, engaged, events, kernels, metrics
from harness.target import load_target
from tests.contract.victims import wait_for
from tests.fake_target import BASE, Answer, FakeServer, FakeView, as_json, serving, target, write_manifest

KERNEL = {"name": "api", "state": "running", "pid": 1, "heartbeat_age_s": 0.1, "restarts": 0}
WELL = {
    "/kernels": as_json({"kernels": [KERNEL]}),
    "/events": as_json({"now": 1.0, "events": []}),
    "/safeguards": as_json({"safeguards": [{"name": "kernel_watchdog", "engaged": []}]}),
    "/metrics": Answer(body=b"acl_violations_total 3\n"),
    "/work": as_json({}),
}
ROUTES = [{"name": "GET /work", "method": "GET", "path": "/work", "kernels": ["api"], "witness_of": "api"}]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as one:
        one.answers.update(WELL)
        yield one


def asked(folder: Path, server: FakeServer, **changes: Any) -> list[Problem]:
    (folder / "api.pid").write_text(f"{os.getpid()}\n")
    words = {"processes": {"api": {"pid_file": str(folder / "api.pid")}}, "routes": ROUTES, **changes}
    began_s = time.monotonic()
    found = preflight(target(folder, base_url=server.base_url, **words))
    assert time.monotonic() - began_s < LIMIT_S + 0.5
    return found


def line_of(folder: Path, text: str) -> str:
    """Place of the first line that has *text*, which may begin with the end of the line before."""
    content = (folder / "target.yaml").read_text()
    before = content[: content.index(text)].count("\n")
    return f"{folder / 'target.yaml'}:{before + 1 + text.startswith(chr(10))}"


def test_a_target_that_is_as_its_manifest_says(tmp_path: Path, server: FakeServer) -> None:
    assert asked(tmp_path, server) == []
    assert {path for _, path, _, _ in server.seen} == {
        "/work",
        "/kernels",
        "/events?since=0",
        "/safeguards",
        "/metrics",
    }


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "cannot be read"), ("", "''"), ("4194305\n", "'4194305'"), ("x\n", "'x'")]
)
def test_a_pid_file_without_a_process(tmp_path: Path, server: FakeServer, content: str | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "b.pid").write_text(content)
    processes = {name: {"pid_file": f"{tmp_path}/{name}.pid"} for name in ("api", "b")}
    (found,) = asked(tmp_path, server, processes=processes)
    assert (found.lacks, found.place) == (False, line_of(tmp_path, "  b:"))
    assert expected in found.text and f"{tmp_path}/b.pid" in found.text


def test_two_processes_that_fit_one_command_line(tmp_path: Path, server: FakeServer) -> None:
    words = f"twins-{uuid.uuid4().hex}"
    pair = [subprocess.Popen([sys.executable, "-c", "input()", words], stdin=subprocess.PIPE) for _ in range(2)]
    try:
        wait_for(lambda: all(words.encode() in Path(f"/proc/{one.pid}/cmdline").read_bytes() for one in pair))
        (found,) = asked(tmp_path, server, processes={"api": {"cmdline": words}})
        assert not found.lacks and found.place == line_of(tmp_path, "  api:") and "2 living processes" in found.text
    finally:
        for one in pair:
            one.kill()
            one.communicate()


def test_a_process_that_is_just_being_replaced(tmp_path: Path, server: FakeServer) -> None:
    (tmp_path / "late.pid").write_text("0\n")
    child = subprocess.Popen(
        [sys.executable, "-c", f"import time; time.sleep(0.5); open('{tmp_path}/late.pid', 'w').write('{os.getpid()}')"]
    )
    try:
        assert asked(tmp_path, server, processes={"api": {"pid_file": f"{tmp_path}/late.pid"}}) == []
    finally:
        child.wait()


@pytest.mark.parametrize(
    ("status", "lacks"),
    [(404, True), (405, True), (401, True), (403, True), (422, False), (503, None), (200, None), (302, False)],
)
def test_a_route_is_asked_once(tmp_path: Path, server: FakeServer, status: int, lacks: bool | None) -> None:
    server.answers["/work"] = Answer(status=status)
    found = asked(tmp_path, server)
    assert [(one.lacks, one.place) for one in found] == (
        [] if lacks is None else [(lacks, line_of(tmp_path, "- name: GET /work"))]
    )


def test_what_would_leave_work_behind_is_not_asked(tmp_path: Path, server: FakeServer) -> None:
    path = "/api/meta_loop/retrospective"
    other = {"name": "POST /chat", "method": "POST", "path": "/chat", "kernels": ["api"], "body": {"message": "hello"}}
    routes = [
        *ROUTES,
        {"name": "POST r", "method": "POST", "path": path, "kernels": ["api"], "body": {"a": "b"}},
        other,
    ]
    asked(tmp_path, server, routes=routes)
    assert [path for method, path, _, body in server.seen if method == "POST" and body != b"{"] == ["/chat"]


@pytest.mark.parametrize(
    ("options", "post", "lacks"),
    [(404, 404, True), (410, 410, True), (404, 400, False), (404, 500, False), (405, 404, False), (200, 404, False)],
)
def test_a_route_that_leaves_work_behind_is_missed_all_the_same(
    tmp_path: Path, server: FakeServer, options: int, post: int, lacks: bool
) -> None:
    path = "/api/htm/intents"
    server.answers |= {f"OPTIONS {path}": Answer(status=options), path: Answer(status=post)}
    intents = {"name": "POST intents", "method": "POST", "path": path, "kernels": ["api"], "body": {"goal": "g"}}
    found = asked(tmp_path, server, routes=[*ROUTES, intents])
    assert [(one.lacks, one.place) for one in found] == (
        [(True, line_of(tmp_path, "- name: POST intents"))] if lacks else []
    )
    mine = [(method, body) for method, where, _, body in server.seen if where == path]
    assert mine[0][0] == "OPTIONS" and [body for method, body in mine[1:]] == [b"{"] * (options in (404, 410))


@pytest.mark.parametrize(
    ("path", "answer", "lacks", "words"),
    [
        (
            "/kernels",
            as_json({"kernels": [{"name": "api", "state": "running"}]}),
            False,
            "kernels[0].heartbeat_age_s is",
        ),
        ("/kernels", as_json([]), False, "a JSON object is expected"),
        ("/kernels", Answer(body=b"<html>"), False, "JSON is expected"),
        ("/kernels", Answer(status=404), True, "404"),
        ("/kernels", Answer(status=302), False, "answers 302"),
        ("/events", Answer(status=400), False, "answers 400"),
        ("/safeguards", Answer(status=429), False, "answers 429"),
        ("/metrics", Answer(status=503), True, "answers 503"),
        ("/events", as_json({"events": []}), False, "now is missing"),
        ("/events", as_json({"now": 1, "events": [{"seq": "1"}]}), False, "events[0].seq: a whole number"),
        ("/safeguards", as_json({"safeguards": [{"name": "x"}]}), False, "safeguards[0].engaged is missing"),
        ("/metrics", Answer(body=b"<html></html>"), False, "Prometheus"),
    ],
)
def test_a_signal_of_another_shape(
    tmp_path: Path, server: FakeServer, path: str, answer: Answer, lacks: bool, words: str
) -> None:
    server.answers[path] = answer
    (found,) = asked(tmp_path, server)
    assert found.lacks is lacks and words in found.text and path in found.text
    assert found.place == line_of(tmp_path, f"\n  {path[1:]}:\n    url:")


def test_all_of_it_is_bounded(tmp_path: Path, server: FakeServer) -> None:
    for path in ("/work", "/kernels", "/events", "/metrics"):
        server.answers[path] = Answer(silent=True)
    processes = {f"p{n}": {"pid_file": f"{tmp_path}/none-{n}.pid"} for n in range(9)}
    found = asked(tmp_path, server, processes=processes, routes=[{**ROUTES[0], "kernels": ["p1"], "witness_of": "p1"}])
    silent = [one.text.partition(":")[0] for one in found if one.lacks]
    assert silent == ["signals.kernels", "signals.events", "signals.metrics"]
    assert len(found) == 9 + 3 and [one.place for one in found] == sorted({one.place for one in found}, key=_line)


def _line(place: str) -> int:
    return int(place.rpartition(":")[2])


def test_a_signal_that_is_just_coming_up(tmp_path: Path, server: FakeServer) -> None:
    answers = iter([Answer(status=503), Answer(status=503)])
    server.answers["/kernels"] = lambda path: next(answers, WELL["/kernels"])
    assert asked(tmp_path, server) == []


def test_a_look_that_crashes_is_a_problem(
    tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(answer: object) -> None:
        raise KeyError("heartbeat_age_s")

    monkeypatch.setattr("harness.signal_shapes.kernels", broken)
    (found,) = asked(tmp_path, server)
    assert not found.lacks and "signals.kernels: it cannot be asked: KeyError" in found.text
    assert found.place == line_of(tmp_path, "\n  kernels:\n    url:")
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_wrong_is_raised_and_what_is_lacking_is_told(tmp_path: Path, server: FakeServer) -> None:
    server.answers["/work"] = Answer(status=404)
    (tmp_path / "api.pid").write_text(f"{os.getpid()}\n")
    words = {"base_url": server.base_url, "routes": ROUTES}
    known = target(tmp_path, processes={"api": {"pid_file": str(tmp_path / "api.pid")}}, **words)
    assert [line.split(": ")[1] for line in checked(known)] == ["routes[0]"]
    with pytest.raises(ManifestWrong, match=r"processes\.api:"):
        checked(target(tmp_path, processes={"api": {"pid_file": str(tmp_path / "none.pid")}}, **words))


def test_an_unknown_kernel_of_a_route_has_its_line(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, processes={"api": {"pid_file": "/x"}}, routes=[{**ROUTES[0], "kernels": ["apj"]}])
    with pytest.raises(TargetError) as error:
        load_target(path)
    assert f"{line_of(tmp_path, '- name: GET /work')}: routes[0].kernels: no process is called 'apj'" in str(
        error.value
    )
    assert "Did you mean 'api'?" in str(error.value)


@pytest.mark.parametrize(
    ("reader", "answer"),
    [
        (kernels, {}),
        (kernels, {"kernels": [{**KERNEL, "heartbeat_age_s": "0.1"}]}),
        (kernels, {"kernels": [{**KERNEL, "heartbeat_age_s": True}]}),
        (kernels, {"kernels": ["api"]}),
        (kernels, None),
        (events, {"now": 1, "events": {}}),
        (events, {"now": 1, "events": [{"seq": 1, "topic": "t", "timestamp": 1.0, "payload": None}]}),
        (engaged, {"safeguards": [{"name": "x", "engaged": [{"incident_id": "i"}]}]}),
        (metrics, "# only a comment\n"),
    ],
)
def test_a_reader_names_what_is_wrong(reader: Any, answer: Any) -> None:
    with pytest.raises(ShapeError, match="expected"):
        reader(answer)


def test_an_observer_raises_the_same_words(tmp_path: Path, server: FakeServer) -> None:
    server.answers["/kernels"] = as_json({"kernels": [{"name": "api", "state": "running"}]})
    server.answers["/events"] = as_json({"events": []})
    known = target(tmp_path, base_url=server.base_url, signals=BASE["signals"])
    for kind, words in ((ControlPlane, "heartbeat_age_s is missing"), (Events, "now is missing")):
        observer = kind(known)
        with pytest.raises(ShapeError, match=words):
            list(observer.observe(FakeView(known)))
        observer.close()
