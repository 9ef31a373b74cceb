"""Each planted defect does what it says, and without it nothing of the kind happens; retrospectives besides."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import yaml

from locustfiles.attacks.retros import generate as retros_to_send
from tests.processes import ROOT, pids_with, wait_for
from tests.twin.client import Client
from tests.twin.test_gateway_guards import CHECK, running
from tests.twin.test_kernels_state import kill
from tests.twin.test_twin import pid_of
from twin.config import ConfigError, Thresholds, load_config
from twin.defects import DEFECTS, Defects
from twin.htm.spoil import CANNED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
OFF = "rate_limiter"


def drained(client: Client) -> None:
    wait_for(lambda: client.get("/api/htm/queue")["depth"] == 0, 20, "an empty queue")


@pytest.mark.beside
def test_without_any_nothing_is_lost_doubled_or_unlogged(tmp_path: Path) -> None:
    with running(tmp_path, off=OFF) as client:
        for n in range(120):
            assert client.submit(f"i{n}")[0] == 200
            assert client.submit(f"x{n}", sla_ms=-1)[0] == 422
            assert client.ask("POST", "/api/governance/check", CHECK)[1]["decision"] == "allow"
        for n in range(60):
            assert retro(client, f"r{n}")[0] == 202
        drained(client)
        assert client.finished() == {("completed", 1): 120}
        wait_for(lambda: len(client.audit()) == 3 * 120 + 60, 5, "all audit entries")
        wait_for(lambda: retros(client) == {"completed": 60}, 10, "all retrospectives")
        assert not mixed_up(tmp_path, client)


@pytest.mark.beside
@pytest.mark.parametrize(("name", "expected"), [("intent_lost", (117, 117, 0)), ("intent_doubled", (120, 117, 3))])
def test_an_intent_is_lost_or_doubled(tmp_path: Path, name: str, expected: tuple[int, int, int]) -> None:
    with running(tmp_path, off=OFF, plant=name) as client:
        for n in range(120):
            assert client.submit(f"i{n}")[0] == 200
        drained(client)
        found = client.finished()
        doubled = sum(count for (_, executions), count in found.items() if executions > 1)
        assert (found.total(), found[("completed", 1)], doubled) == expected


@pytest.mark.beside
def test_one_kind_of_what_is_no_intent_slips_through(tmp_path: Path) -> None:
    with running(tmp_path, plant="invalid_accepted") as client:
        assert [client.submit(f"x{n}", sla_ms=sla)[0] for n, sla in enumerate((-5, 0, "5"))] == [200, 422, 422]
        drained(client)
        assert client.intents()["x0"]["status"] == "completed"


@pytest.mark.beside
def test_a_decision_depends_on_what_was_asked_before(tmp_path: Path) -> None:
    with running(tmp_path, off=OFF, plant="decision_by_order") as client:
        answers = [client.ask("POST", "/api/governance/check", CHECK)[1]["decision"] for _ in range(60)]
        assert answers[0] == "allow" and "review" in answers
        assert len(answers) == 60 and {"actor": "b"} and decided(client, "b") == "allow", "each question by itself"


def decided(client: Client, actor: str) -> str:
    return str(client.ask("POST", "/api/governance/check", {**CHECK, "actor": actor})[1]["decision"])


@pytest.mark.beside
@pytest.mark.parametrize("name", ["audit_row_dropped", "rejection_unlogged"])
def test_a_row_of_the_log_is_missing(tmp_path: Path, name: str) -> None:
    with running(tmp_path, off=OFF, plant=name) as client:
        told = set()
        for n in range(60):
            if name == "audit_row_dropped":
                told.add(client.ask("POST", "/api/governance/check", CHECK)[1]["decision_id"])
            else:
                told.add(client.submit(f"x{n}", sla_ms=-1)[1]["rejection_id"])
        wait_for(lambda: len(client.audit()) == 58, 5, "all but two")
        assert {row["reference"] for row in client.audit()} < told
        assert client.get("/api/immutable-log/verify")["valid"], "the chain itself does not show it"


def mixed_up(folder: Path, client: Client) -> list[str]:
    """The decisions, of many asked for at the same time, that are on record as another question's."""

    def ask(name: str) -> dict[str, str]:
        mine, told = Client(folder), {}
        for n in range(25):
            body = {**CHECK, "actor": f"{name}{n}"}
            told[mine.ask("POST", "/api/governance/check", body)[1]["decision_id"]] = f"{name}{n}"
        mine.close()
        return told

    with ThreadPoolExecutor(8) as pool:
        told = {reference: actor for one in pool.map(ask, "abcdefgh") for reference, actor in one.items()}
    assert len(told) == 200, "no decision is told to two"

    def on_record() -> dict[str, str]:
        return {row["reference"]: row["actor"] for row in client.audit()}

    wait_for(lambda: set(told) <= set(on_record()), 5, "all decisions on record")
    held = on_record()
    return [reference for reference, actor in told.items() if held[reference] != actor]


@pytest.mark.beside
def test_two_that_ask_at_the_same_time_get_each_other_s_answer(tmp_path: Path) -> None:
    with running(tmp_path, off=OFF, plant="answers_swapped") as client:
        for n in range(40):
            body = {**CHECK, "actor": f"alone{n}"}
            told = client.ask("POST", "/api/governance/check", body)[1]["decision_id"]
            wait_for(lambda told=told: told in {row["reference"] for row in client.audit()}, 5, "it on record")
        assert [row["actor"] for row in client.audit()] == [f"alone{n}" for n in range(40)], "who asks alone is not met"
        mixed = mixed_up(tmp_path, client)
        assert mixed and len(mixed) % 2 == 0


def retro(client: Client, identity: str) -> tuple[int, dict[str, object], str]:
    """The answer, without the name of its audit entry, which is another one each time."""
    body = {"subject": "s", "events": ["a", "b", "a"], "retro_id": identity}
    status, content, again = client.ask("POST", "/api/meta_loop/retrospective", body)
    assert content.pop("audit_id")
    return status, content, again


def retros(client: Client) -> dict[str, int]:
    rows = client.rows("/api/meta_loop/retrospectives", "retrospectives")
    return {word: sum(row["status"] == word for row in rows) for word in {row["status"] for row in rows}}


@pytest.mark.beside
def test_a_retrospective_is_dropped(tmp_path: Path) -> None:
    with running(tmp_path, plant="retro_lost") as client:
        assert [retro(client, f"r{n}")[:2] for n in range(45)] == [
            (202, {"id": f"r{n}", "status": "queued"}) for n in range(45)
        ]
        wait_for(lambda: retros(client) == {"completed": 43}, 10, "all but two")


MANY = "intent_unfinished,result_canned,retro_faked,knowledge_changed,told_otherwise,accepted_unlogged"


@pytest.mark.beside
def test_several_defects_of_work_and_trail_strike_together(tmp_path: Path) -> None:
    with running(tmp_path, off=OFF, plant=f"{MANY},history_rewritten") as client:
        references = [client.submit(f"i{n}")[1]["audit_id"] for n in range(60)]
        piece = {"content": "content", "source": "s"}
        for n in range(10):
            assert retro(client, f"r{n}")[0] == 202
            assert client.ask("POST", "/api/knowledge", {**piece, "knowledge_id": f"k{n}"})[0] == 200
        told = [client.ask("POST", "/api/governance/check", CHECK)[1] for _ in range(60)]
        wait_for(lambda: len(client.audit()) == 60 + 10 + 10 + 60 - 2, 5, "all entries but two")
        seen = client.get("/api/immutable-log?last=1")["entries"][0]
        drained(client)
        rows = client.intents()
        assert [name for name, row in rows.items() if row["status"] != "completed"] == ["i7", "i57"]
        assert {row["result"] for name, row in rows.items() if name not in ("i7", "i57")} == {CANNED}
        wait_for(lambda: retros(client) == {"completed": 10}, 10, "all retrospectives")
        held = client.rows("/api/meta_loop/retrospectives", "retrospectives")
        assert [row["id"] for row in held if not row["findings"]] == ["r6"]
        pieces = {row["id"]: row["content"] for row in client.rows("/api/knowledge/all", "knowledge")}
        assert {name for name in pieces if pieces[name] == "content."} == {"k6"}
        entries = {row["reference"]: row for row in client.audit()}
        assert [n for n, reference in enumerate(references) if reference not in entries] == [6, 56]
        logged = [json.loads(entries[one["audit_id"]]["payload"])["told"]["approved"] for one in told]
        assert [n for n in range(60) if told[n]["approved"] != logged[n]] == [7, 27, 47]

        def now() -> dict[str, object]:
            return client.audit()[seen["sequence"] - 1]

        wait_for(lambda: now()["entry_hash"] != seen["entry_hash"], 15, "another history")
        assert now()["reference"] == seen["reference"] and client.get("/api/immutable-log/verify")["valid"]


def flooded(folder: Path, plant: str = "") -> tuple[list[int], float, float]:
    """(answers to a hundred of the largest at once, how deep the queue was told to be, by how many MB it grew)."""
    with running(folder, off=OFF, plant=plant) as client:
        kernel = psutil.Process(pid_of(folder, "meta_loop"))
        before = kernel.memory_info().rss
        bodies = [payload.body for payload in retros_to_send(7, 100)]
        answers = [client.ask("POST", "/api/meta_loop/retrospective", body)[0] for body in bodies]
        depth = client.figures()["grace_retro_queue_depth"]
        wait_for(lambda: client.figures()["grace_retro_queue_depth"] == 0, 10, "an empty queue")
        refused = client.figures()["grace_retro_queue_refused_total"]
        assert refused == sum(status == 503 for status in answers)
        return answers, depth, (kernel.memory_info().rss - before) / 2**20


def test_a_queue_without_an_end_takes_all_and_grows(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    (tmp_path / "broken").mkdir()
    bound, grown_mb_max = Thresholds().retro_queue_max, shipped_bound_mb()
    answers, depth, grown_mb = flooded(tmp_path / "sound")
    assert set(answers) == {202, 503} and bound / 2 < depth <= bound and grown_mb < grown_mb_max / 2
    answers, depth, grown_mb = flooded(tmp_path / "broken", "retro_unbounded")
    assert set(answers) == {202} and depth > bound and grown_mb > grown_mb_max * 1.5


def shipped_bound_mb() -> float:
    path = ROOT / "scenarios" / "enhanced" / "L3_retro_cascade_failure.yaml"
    return float(yaml.safe_load(path.read_text())["slo"]["grown_mb_max"])


@pytest.mark.beside
def test_the_retro_queue_has_a_bound_and_the_same_again_is_the_same(tmp_path: Path) -> None:
    with running(tmp_path, off=OFF) as client:
        assert retro(client, "r0") == retro(client, "r0")
        answers = [retro(client, f"r{n}") for n in range(1, 300)]
        full = [one for one in answers if one[0] == 503]
        assert full and {(one[1]["error"], one[2]) for one in full} == {("retro_queue_full", "2")}
        assert len(full) + sum(one[0] == 202 for one in answers) == 299
        wait_for(lambda: retros(client) == {"completed": 300 - len(full)}, 30, "all that were accepted")


@pytest.mark.beside
def test_retrospectives_survive_the_death_of_their_kernel(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        os.kill(pid_of(tmp_path, "meta_loop"), signal.SIGSTOP)
        os.kill(pid_of(tmp_path, "meta_loop"), signal.SIGCONT)
        for n in range(60):
            assert retro(client, f"r{n}")[0] == 202
        kill(tmp_path, "meta_loop")
        wait_for(lambda: retros(client).get("completed", 0) >= 60, 20, "all of them")
        rows = client.rows("/api/meta_loop/retrospectives", "retrospectives")
        assert len({row["id"] for row in rows}) == len(rows)


@pytest.mark.beside
def test_none_is_planted_unless_it_is_named_and_a_wrong_name_is_told(tmp_path: Path) -> None:
    assert not any(Defects(()).strikes(name) for name in DEFECTS for _ in range(200))
    path = tmp_path / "twin.yaml"
    path.write_text("defects: [intent_lost]\n")
    assert load_config(tmp_path, path, 0, [], ["retro_lost"]).defects == ("intent_lost", "retro_lost")
    assert load_config(tmp_path, None, 0, []).defects == ()
    for text, words in (("defects: [intent_los]", "Did you mean 'intent_lost'"), ("defects: x", "a list is expected")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            load_config(tmp_path, path, 0, [])


def up(folder: Path, plant: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", "twin", "up", "--dir", str(folder), "--plant", plant]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_twin_that_stays_may_have_one_planted_too(tmp_path: Path) -> None:
    refused = up(tmp_path, "retro_lst")
    assert refused.returncode == 2 and "Did you mean 'retro_lost'?" in refused.stderr and not pids_with(str(tmp_path))
    assert up(tmp_path, "invalid_accepted").returncode == 0
    try:
        client = Client(tmp_path)
        assert client.submit("x", sla_ms=-5)[0] == 200
        client.close()
    finally:
        os.kill(pid_of(tmp_path, "supervisor"), signal.SIGTERM)
    wait_for(lambda: not pids_with(str(tmp_path)), 5.0, "an end without orphans")


@pytest.mark.beside
@pytest.mark.parametrize("name", sorted(name for name, every in DEFECTS.items() if every))
def test_a_defect_strikes_one_in_so_many(name: str) -> None:
    defects, every = Defects([name]), DEFECTS[name]
    assert sum(defects.strikes(name) for _ in range(10 * every)) == 10
    assert not any(defects.strikes(other) for other in set(DEFECTS) - {name} for _ in range(100))


@pytest.mark.beside
def test_two_defects_strike_different_ones() -> None:
    """The first intent that is lost could not be faked as well: its defect would never be seen."""
    names = [name for name, every in DEFECTS.items() if every == 50]
    defects = Defects(names)
    struck = [{at for at in range(500) if defects.strikes(name)} for name in names]
    assert len(names) > 2 and len(set().union(*struck)) == sum(map(len, struck)) == 10 * len(names)
