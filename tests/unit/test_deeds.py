"""Writing into a target's immutable log: with the token, once, after the last reading; what cannot be is told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import run as run_module
from harness.clock import Clock
from harness.contracts import LedgerPage, LogRoute
from harness.deeds import NO_ROUTE, log_deeds
from harness.journal import Journal
from harness.model import Kind, Verdict
from harness.run import Run
from tests.drafts import PaperTarget, mf01_plan
from tests.fake_target import Answer, FakeServer, as_json, serving
from tests.ledgers import chained, entry

pytestmark = pytest.mark.timeout(30)
ROUTE = LogRoute(append="/log/append", actor="auditor", secret_key="s3cret")
PAGE = LedgerPage(url="/log?since={next}", rows="entries")
SENT = [
    {"action": "run", "resource": "x", "result": "done", "reference": f"r/{n}", "payload": {"n": n}} for n in range(2)
]


@dataclass
class Log:
    """An immutable log behind a fake server; *refuses* answers come first, *loses* takes and drops, *alters* edits."""

    server: FakeServer
    rows: list[dict[str, Any]] = field(default_factory=list)
    refuses: list[Answer] = field(default_factory=list)
    loses: bool = False

    def __post_init__(self) -> None:
        self.rows = [entry(f"d{n}", "me|read|status", "allow") for n in range(3)]
        self.server.answers["/log"] = self.page
        self.server.answers["/log/append"] = self.append

    def page(self, path: str) -> Answer:
        since = int(path.rpartition("=")[2])
        rows = chained(self.rows)[since : since + 2]
        return as_json({"entries": rows, "next": since + len(rows)})

    def append(self, path: str) -> Answer:
        if self.refuses:
            return self.refuses.pop(0)
        _, _, _, body = next(one for one in reversed(self.server.seen) if one[0] == "POST")
        for one in json.loads(body)["entries"]:
            known = one["reference"] in [row["reference"] for row in self.rows]
            if not known and not self.loses:
                payload = json.dumps(one["payload"])
                self.rows.append({**one, "payload": payload, "actor": "auditor", "subsystem": "external"})
        return as_json({"sequences": []})

    @property
    def target(self) -> PaperTarget:
        return PaperTarget(base_url=self.server.base_url, ledgers={"audit": PAGE}, immutable_log=ROUTE)


@pytest.fixture
def log() -> Iterator[Log]:
    with serving() as server:
        yield Log(server)


def before(folder: Path, log: Log) -> None:
    """The last reading of the verdict."""
    (folder / "target").mkdir()
    (folder / "target" / "audit.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chained(log.rows)))


def after(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "target" / "audit_after.jsonl").read_text().splitlines()]


def written(folder: Path, log: Log) -> dict[str, Any]:
    before(folder, log)
    return log_deeds(log.target, folder, SENT, pause=lambda _: None)


def test_it_is_written_with_the_token_and_only_what_is_new_is_taken_down(tmp_path: Path, log: Log) -> None:
    told = written(tmp_path, log)
    assert told == {"actor": "auditor", "route": "/log/append", "entries": SENT, "added": 2}
    posts = [n for n, one in enumerate(log.server.seen) if one[0] == "POST"]
    assert [log.server.headers[n]["Authorization"] for n in posts] == ["Bearer s3cret"]
    assert [row["reference"] for row in after(tmp_path)] == ["r/0", "r/1"]
    assert "s3cret" not in json.dumps(told) and "s3cret" not in repr(log.target)


def test_what_is_refused_for_a_while_is_sent_again_and_stands_there_once(tmp_path: Path, log: Log) -> None:
    log.refuses = [Answer(status=429, headers=(("Retry-After", "1"),)), Answer(status=503)]
    waits: list[float] = []
    before(tmp_path, log)
    log_deeds(log.target, tmp_path, SENT, pause=waits.append)
    assert waits == [1.0, 0.5] and [row["reference"] for row in after(tmp_path)] == ["r/0", "r/1"]


def test_what_is_never_taken_is_told_and_nothing_is_read(tmp_path: Path, log: Log) -> None:
    log.refuses = [Answer(status=401, body=b"who are you") for _ in range(9)]
    told = written(tmp_path, log)
    assert told["unwritten"] == "/log/append answers 401: who are you"
    assert not (tmp_path / "target" / "audit_after.jsonl").exists()


def test_an_entry_that_is_lost_is_not_there(tmp_path: Path, log: Log) -> None:
    log.loses = True
    assert written(tmp_path, log)["added"] == 0 and after(tmp_path) == []


def test_a_log_that_shrank_or_cannot_be_read_is_told(tmp_path: Path, log: Log) -> None:
    before(tmp_path, log)
    log.rows = log.rows[:1]
    log.loses = True
    assert log_deeds(log.target, tmp_path, SENT)["unread"] == "it has 1 entries where it had 3"
    log.server.answers["/log"] = Answer(status=500)
    assert "answers 500" in log_deeds(log.target, tmp_path, SENT, pause=lambda _: None)["unread"]


def test_a_target_without_such_a_route_is_told_plainly(tmp_path: Path) -> None:
    assert log_deeds(PaperTarget(), tmp_path, SENT) == {"absent": NO_ROUTE}
    nothing = log_deeds(PaperTarget(immutable_log=ROUTE), tmp_path, [])
    assert nothing["nothing"] and "unwritten" not in nothing


def settled(folder: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Any]:
    """The order in which a run that came to its end does what is left, and the run."""
    order: list[str] = []

    class Part:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getattr__(self, call: str) -> Any:
            return lambda *_: order.append(f"{self.name}.{call}") and None

    def heard(path: str) -> Answer:
        order.append("the log is read")
        return log.page(path)

    def appended(path: str) -> Answer:
        order.append("the log is written")
        return log.append(path)

    log.server.answers |= {"/log": heard, "/log/append": appended}
    (folder / "target").mkdir()
    for name in ("plan.json", "signals.csv", "requests.csv", "incident.json"):
        (folder / name).write_text("")
    run: Any = object.__new__(Run)
    run.plan, run.folder, run.phase, run.clock, run.target = mf01_plan(), folder, "done", Clock(), log.target
    run.facts, run.reading, run.enough, run._finished = {"harness_version": "9"}, False, "", True
    run._take_blamed = lambda: None
    run.journal = Journal(folder, run.clock)
    run.journal.append(Kind.STEADY_STATE_MET, "baseline", "run", {})
    for name in ("conductor", "ledger", "watcher", "guardian", "signals", "requests", "stacks", "state"):
        setattr(run, name, Part(name))
    run._keep_target = lambda: None
    written = SimpleNamespace(verdict=Verdict.PASS, findings=[], record=SimpleNamespace(head=""))
    monkeypatch.setattr(run_module, "write_reports", lambda folder: written)
    run.sign_key = None
    monkeypatch.setattr(run_module, "LAST_LOOK_S", 0.0)
    (folder.parents[1] / "x").mkdir(exist_ok=True)
    run.settle()
    return order, run


def test_nothing_is_written_before_the_last_reading_of_the_verdict(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "scenario" / "run"
    folder.mkdir(parents=True)
    order, run = settled(folder, log, monkeypatch)
    written_at = order.index("the log is written")
    assert "the log is read" in order[:written_at], "what the target holds was read back first"
    assert order.index("watcher.stop") < written_at and order.index("signals.close") < written_at
    after_it = [one for one in order[written_at + 1 :] if not one.startswith("stacks.")]
    assert after_it and set(after_it) == {"the log is read"}, "only its own entries"
    kinds = [event.kind for event in run.journal.events]
    assert kinds[-3:] == [Kind.READ_BACK, Kind.DEEDS_LOGGED, Kind.RUN_FINISHED]
    assert "target/audit_after.jsonl" in run.journal.events[-1].detail["sha256"]
    assert [row["action"] for row in after(folder)] == ["run"]


def test_a_target_that_says_nothing_holds_nobody_up_for_long(tmp_path: Path, log: Log) -> None:
    before(tmp_path, log)
    log.server.answers["/log/append"] = Answer(silent=True)
    started_s = time.monotonic()
    told = log_deeds(log.target, tmp_path, SENT, pause=lambda _: None, limit_s=0.5)
    assert "timed out" in told["unwritten"] and time.monotonic() - started_s < 3.0
