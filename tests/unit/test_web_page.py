"""The Grace page with Flask's test client, on a session of paper: before a run, during it and after its verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, Response, jsonify
from flask.testing import FlaskClient

from harness.clock import Clock
from harness.judge import judge, verdict
from harness.model import Kind, Verdict
from harness.web import TAB, blueprint, page
from harness.web_state import EVENTS_MAX, RUNS_MAX, Board, rows_of, state_of, view_of
from tests import drafts
from tests.drafts import Draft, healthy

MID_FAULT_S = 11.0


@dataclass
class PaperSession:
    """web_state.Watched without Locust; *asked* is every form that came."""

    run: Any = None
    board: Board = field(default_factory=Board)
    refusal: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    halts: int = 0

    @property
    def shown(self) -> Any:
        return self.run

    def prepare(self, form: Mapping[str, str]) -> str:
        self.asked.append(dict(form))
        return self.refusal

    def halt_run(self) -> Mapping[str, bool] | None:
        self.halts += 1
        return None if self.run is None else {"cpu_spike": True}


def paper_run(folder: Path, draft: Draft, now_s: float, phase: str) -> Any:
    """What a Run shows at *now_s* of the story; in phase "done" it is judged."""
    written = draft.write(folder)
    record = drafts.Record.load(written)
    events = [event for event in record.events if event.at_s <= now_s]
    on = {(e.subject, e.detail["subject"]) for e in events if e.kind is Kind.SAFEGUARD_ENGAGED}
    off = {(e.subject, e.detail["subject"]) for e in events if e.kind is Kind.SAFEGUARD_RELEASED}
    findings = judge(record) if phase == "done" else []
    for name in ("report.html", "incident.json", "junit.xml"):
        (written / name).write_text(f"<p>{name}</p>")
    return SimpleNamespace(
        plan=draft.plan,
        facts=record.events[0].detail,
        folder=written,
        phase=phase,
        phase_at_s=8.0,
        unwell_because="engaged: x",
        clock=SimpleNamespace(now_s=lambda: now_s, wall_time=Clock(0.0, drafts.STARTED_WALL_S).wall_time),
        journal=SimpleNamespace(events=events),
        watcher=SimpleNamespace(engaged=on - off, latest={("cpu_percent", ""): (now_s, 91.0)}),
        rows=[row for row in draft.requests if row.at_s <= now_s],
        findings=findings,
        verdict=verdict(findings) if findings else None,
    )


@pytest.fixture
def session() -> PaperSession:
    return PaperSession()


@pytest.fixture
def client(session: PaperSession) -> FlaskClient:
    return client_of(session)


def client_of(session: PaperSession, base: str = "", guard: Callable[[Any], Any] = lambda view: view) -> FlaskClient:
    app = Flask(__name__)
    app.add_url_rule(f"{base}/", "index", lambda: "<html><body>locust</body></html>")
    app.add_url_rule(f"{base}/stats/requests", "stats", lambda: jsonify({"state": "running"}))
    app.add_url_rule(f"{base}/swarm", "swarm", lambda: jsonify({"success": True}), methods=["POST"])
    app.register_blueprint(blueprint(session, base, guard))
    return app.test_client()


def test_before_a_run_there_is_a_page_and_nothing_to_halt(session: PaperSession, client: FlaskClient) -> None:
    state = client.get("/grace/state.json").get_json()
    assert state == {"running": False, "starting": "", "refused": "", "run": None, "runs": []}
    assert client.get("/grace").headers["Location"].endswith("/grace/")
    answer = client.get("/grace/")
    assert b"state.json" in answer.data and "default-src 'none'" in answer.headers["Content-Security-Policy"]
    halt = client.post("/grace/halt")
    assert (halt.status_code, halt.get_json()["halted"]) == (409, False)


def test_during_a_run_it_tells_phase_faults_and_safeguards(tmp_path: Path, session: PaperSession) -> None:
    session.run = paper_run(tmp_path, healthy(), MID_FAULT_S, "faults")
    state = state_of(session)
    run = state["run"]
    assert state["running"] and (run["scenario_id"], run["seed"], run["verdict"]) == ("MF01_triple_threat", 7, None)
    assert (run["phase"], run["phase_s"]) == ("faults", 3.0) and 0 < run["phase_part"] < 1
    assert run["waits_for"] == "", "that is of the baseline and the recovery"
    assert {one["id"]: one["state"] for one in run["faults"]} == dict.fromkeys(
        ("acl_flood", "cpu_spike", "kernel_pause"), "in force"
    )
    guards = {one["name"]: (one["state"], one["first_at_s"]) for one in run["safeguards"]}
    assert guards["kernel_watchdog"] == ("engaged", 10.7) and guards["resource_pressure_monitor"][0] == "engaged"
    assert {one["name"]: one["state"] for one in run["playbooks"]}["kernel_restart"] == "running"
    assert len(run["events"]) == EVENTS_MAX and run["events"][0]["seq"] == len(session.run.journal.events)
    assert run["now"]["cpu_percent"] == 91.0 and run["now"]["success_percent"] < 100
    assert run["now"]["requests_per_s"] == pytest.approx(20, abs=1)
    json.dumps(state)


def test_early_on_nothing_has_happened_yet(tmp_path: Path) -> None:
    run = view_of(paper_run(tmp_path, healthy(), 8.0, "baseline"))
    assert {one["state"] for one in run["faults"]} == {"waiting"}
    assert {one["state"] for one in run["safeguards"]} == {"not yet"}
    assert run["waits_for"] == "engaged: x"


def test_a_fault_that_is_not_healed_or_was_lost_is_said(tmp_path: Path) -> None:
    draft = healthy().change(Kind.FAULT_HEALED, "cpu_spike", verified=False)
    draft.change(Kind.FAULT_ENDED, "acl_flood", ended_by="lost").drop(Kind.FAULT_INJECTED, "kernel_pause")
    states = {one["id"]: one["state"] for one in view_of(paper_run(tmp_path, draft, 40.0, "recovery"))["faults"]}
    assert (states["cpu_spike"], states["acl_flood"]) == ("not healed", "lost, healed")


def test_a_safeguard_that_nobody_expected_is_shown(tmp_path: Path) -> None:
    draft = healthy().add(9.0, Kind.SAFEGUARD_ENGAGED, "rate_limiter", "control_plane", subject="10.0.0.1")
    guards = view_of(paper_run(tmp_path, draft, MID_FAULT_S, "faults"))["safeguards"]
    assert [(one["name"], one["expected"]) for one in guards][-1] == ("rate_limiter", False)


def test_after_a_fail_it_tells_what_did_not_pass_and_serves_the_reports(
    tmp_path: Path, session: PaperSession, client: FlaskClient
) -> None:
    draft = healthy().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog")
    run = paper_run(tmp_path, draft, 40.0, "done")
    session.board.over(run)
    state = client.get("/grace/state.json").get_json()
    assert not state["running"] and state["run"]["verdict"] == "FAIL" == state["runs"][0]["verdict"]
    assert any(one["verdict"] == "FAIL" and "kernel_watchdog" in one["claim"] for one in state["run"]["open"])
    assert all(one["verdict"] != "PASS" for one in state["run"]["open"])
    for name in state["runs"][0]["reports"]:
        answer = client.get(f"/grace/runs/{run.folder.name}/{name}")
        assert answer.status_code == 200 and name in answer.text
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get(f"/grace/runs/{run.folder.name}/timeline.jsonl").mimetype == "text/plain"


def test_after_a_pass_nothing_is_open(tmp_path: Path, session: PaperSession) -> None:
    session.board.over(paper_run(tmp_path, healthy(), 40.0, "done"))
    run = state_of(session)["run"]
    assert (run["verdict"], run["open"], run["shown"]) == ("PASS", [], run["claims"])


def test_a_run_that_was_halted_says_so(tmp_path: Path, session: PaperSession) -> None:
    session.board.over(paper_run(tmp_path, healthy().cut_short(MID_FAULT_S, "halted"), 40.0, "done"))
    run = state_of(session)["run"]
    assert (run["verdict"], run["cut_short"]) == (Verdict.INCONCLUSIVE.value, "halted")


@pytest.mark.parametrize(
    "path",
    [
        "RUN/../../secret",
        "RUN/..%2f..%2fsecret",
        "RUN/%2e%2e/secret",
        "RUN/undo.log",
        "RUN/target",
        "RUN/",
        "RUN/linked/junit.xml",
        "../report.html",
        "other/report.html",
        "%2e%2e/report.html",
    ],
)
def test_nothing_else_is_served(tmp_path: Path, session: PaperSession, client: FlaskClient, path: str) -> None:
    run = paper_run(tmp_path, healthy(), 40.0, "done")
    session.board.over(run)
    (tmp_path / "secret").write_text("secret")
    (run.folder / "undo.log").write_text("secret")
    other = tmp_path / "other"
    other.mkdir()
    (other / "report.html").write_text("secret: a run of another process")
    answer = client.get("/grace/runs/" + path.replace("RUN", run.folder.name))
    assert answer.status_code in (404, 308) and b"secret" not in answer.data


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    run, board = paper_run(tmp_path, healthy(), 40.0, "done"), Board()
    board.over(run)
    assert board.file(run.folder.name, "report.html") == run.folder / "report.html"
    (tmp_path / "secret").write_text("secret")
    (run.folder / "report.html").unlink()
    (run.folder / "report.html").symlink_to(tmp_path / "secret")
    assert board.file(run.folder.name, "report.html") is None


def test_halt_is_a_post_and_answers_what_was_healed(tmp_path: Path, session: PaperSession, client: FlaskClient) -> None:
    session.run = paper_run(tmp_path, healthy(), MID_FAULT_S, "faults")
    assert client.get("/grace/halt").status_code == 405 and session.halts == 0
    assert client.post("/grace/halt").get_json() == {"halted": True, "healed": {"cpu_spike": True}}


def test_a_start_that_is_refused_never_reaches_locust(session: PaperSession, client: FlaskClient) -> None:
    session.refusal = "no scenario is called 'x'"
    answer = client.post("/swarm", data={"scenario": "x", "host": "http://h"}).get_json()
    assert answer == {"success": False, "message": "no scenario is called 'x'", "host": "http://h"}
    session.refusal = ""
    assert client.post("/swarm", data={"scenario": "x"}).get_json() == {"success": True}
    assert [form["scenario"] for form in session.asked] == ["x", "x"]
    session.board.refused = "the twin did not start"
    assert client.get("/grace/state.json").get_json()["refused"] == "the twin did not start"
    assert {"what": "start refused", "state": "the twin did not start"} in rows_of(state_of(session))


def test_locusts_page_gets_the_tab_its_table_and_the_script(tmp_path: Path, session: PaperSession) -> None:
    session.run = paper_run(tmp_path, healthy(), MID_FAULT_S, "faults")
    client = client_of(session, "/base")
    assert "./grace/tab.js" in client.get("/base/").text and "grace-frame" in client.get("/base/grace/tab.js").text
    stats = client.get("/base/stats/requests").get_json()
    table = {row["what"]: row["state"] for row in stats["extended_stats"][0]["data"]}
    assert stats["state"] == "running" and stats["extended_stats"][0]["key"] == TAB["extended_tabs"][0]["key"]
    assert table["faults in force"] == "acl_flood, cpu_spike, kernel_pause" and "seed 7" in table["scenario"]
    session.refusal = "no"
    assert not client.post("/base/swarm").get_json()["success"]


def test_with_a_login_nothing_is_told_or_halted_without_it(tmp_path: Path, session: PaperSession) -> None:
    def guard(view: Any) -> Any:
        @wraps(view)
        def refuse(*_: Any, **__: Any) -> Response:
            return Response("login", status=401)

        return refuse

    session.run = paper_run(tmp_path, healthy(), MID_FAULT_S, "faults")
    client = client_of(session, guard=guard)
    for path in ("/grace/", "/grace/state.json", f"/grace/runs/{session.run.folder.name}/report.html"):
        assert client.get(path).status_code == 401
    assert client.post("/grace/halt").status_code == 401 and session.halts == 0


def test_the_page_asks_the_network_for_nothing_but_its_state() -> None:
    html, policy = page()
    assert "/*S" not in html and "http://" not in html and "https://" not in html
    assert "innerHTML" not in html, "words of a target go in as text"
    assert "connect-src 'self'" in policy and "'unsafe-inline'" not in policy.partition("script-src")[2]


def test_the_board_holds_no_more_than_it_may(tmp_path: Path) -> None:
    board, run = Board(), paper_run(tmp_path, healthy(), 40.0, "done")
    for number in range(RUNS_MAX + 1):
        board.over(SimpleNamespace(**{**vars(run), "folder": tmp_path / str(number)}))
    assert len(board.past) == RUNS_MAX and board.past[0].folder.name == str(RUNS_MAX)


def test_long_words_are_cut(tmp_path: Path) -> None:
    draft = healthy().add(10.9, Kind.SYMPTOM_SEEN, "governance", "routes", what="x" * 500, target_seq=9)
    shown = view_of(paper_run(tmp_path, draft, MID_FAULT_S, "faults"))["events"][0]
    assert len(shown["words"]) == 150 and "target_seq" not in shown["words"]
