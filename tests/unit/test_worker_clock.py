"""The clock of a worker: measured by questions that come back, its rows put into the run's time, or not believed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from harness.clock import Clock
from harness.worker import read
from harness.worker_clock import ASK_EVERY_S, ERROR_S_MAX, STEP_S, WorkerClocks, answer
from tests.processes import ROOT

pytestmark = pytest.mark.timeout(60)
SHIFT_S = 5.0
SHIFTED = """
from gevent import monkey; monkey.patch_all()
import gevent, json, sys, time
from types import SimpleNamespace as S
from harness.worker import work

listeners, orders = [], {}
events = S(request=S(add_listener=listeners.append), test_stop=S(add_listener=lambda _: None))
runner = S(
    send_message=lambda name, data: print(json.dumps([name, data]), flush=True),
    register_message=orders.__setitem__,
    user_count=0,
)
work(S(events=events, runner=runner), {}, clock=lambda: time.time() + float(sys.argv[1]))
while line := gevent.get_hub().threadpool.apply(sys.stdin.readline):
    listeners[0]("GET", "/x", 5.0, {"user": "legitimate", "status": 200}, None)
    orders["grace_clock"](msg=S(data=json.loads(line)))
"""


@dataclass
class Paper:
    """A run's clock, and a worker's that is *ahead_s* of it and takes its time to hear and to be heard."""

    ahead_s: float
    now_s: float = 10.0

    def now(self) -> float:
        return self.now_s

    def ask(self, clocks: WorkerClocks, there_s: float, back_s: float, worker: str = "w") -> bool:
        question = clocks.due(worker)
        assert question is not None
        self.now_s += there_s
        told = answer(question, lambda: self.now_s + self.ahead_s)
        self.now_s += back_s
        return clocks.heard(worker, told)


def test_rows_of_a_worker_process_that_is_five_seconds_ahead_stand_in_the_time_of_the_run() -> None:
    clock = Clock()
    clocks = WorkerClocks(clock.now_s, "run")
    command = [sys.executable, "-c", SHIFTED, str(SHIFT_S)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    rows: list[Any] = []
    try:
        assert process.stdin and process.stdout
        for line in process.stdout:
            name, told = json.loads(line)
            if name == "grace_clock":
                clocks.heard("w", told)
                continue
            if question := clocks.due("w"):
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
            for one in clocks.readable("w", told):
                rows += read(one, clocks.to_run("w"))[1]
            if rows:
                break
    finally:
        process.kill()
        process.communicate()
    known = clocks.found["w"]
    assert known.base_s - clock.wall_base_s == pytest.approx(SHIFT_S, abs=known.error_s + 0.01)
    assert known.error_s <= ERROR_S_MAX and clocks.problems() == ""
    assert 0.0 <= rows[0].at_s <= clock.now_s(), "not five seconds ahead of everything else"
    (ahead,) = {row.at_s for row in read(one, clock.from_wall)[1][:1]}
    assert ahead > clock.now_s() + SHIFT_S - 2.0, "as it would stand there without: the correction is what does it"


def test_the_quickest_answer_counts_and_says_how_far_it_may_be_wrong() -> None:
    paper = Paper(ahead_s=1000.0)
    clocks = WorkerClocks(paper.now, "run")
    assert paper.ask(clocks, 0.3, 0.1), "the first one is told of"
    assert abs(clocks.found["w"].base_s - 1000.0) <= clocks.found["w"].error_s == pytest.approx(0.2)
    assert clocks.problems() == "", "it has told no row yet"
    clocks.readable("w", {})
    assert clocks.problems() == "the clock of worker w is known only to 200 ms, 50 are allowed"
    assert not paper.ask(clocks, 0.4, 0.1), "a slower one changes nothing"
    assert paper.ask(clocks, 0.004, 0.002)
    assert clocks.found["w"].error_s == pytest.approx(0.003) and clocks.problems() == ""
    assert clocks.to_run("w")(1042.0) == pytest.approx(42.0, abs=0.003)
    assert clocks.found["w"].answers == 3


def test_it_is_asked_at_once_until_it_is_known_and_then_now_and_then() -> None:
    paper = Paper(ahead_s=0.0)
    clocks = WorkerClocks(paper.now, "run")
    paper.ask(clocks, 0.1, 0.1)
    paper.ask(clocks, 0.001, 0.001)
    assert clocks.due("w") is None
    paper.now_s += ASK_EVERY_S
    assert clocks.due("w") is not None


def test_what_is_told_before_the_clock_is_known_waits_in_its_order() -> None:
    paper = Paper(ahead_s=0.0)
    clocks = WorkerClocks(paper.now, "run")
    first, second, third = {"n": 1}, {"n": 2}, {"n": 3}
    assert clocks.readable("w", first) == clocks.readable("w", second) == []
    assert clocks.problems() == "the clock of worker w is not known: it has answered no question"
    paper.ask(clocks, 0.001, 0.001)
    assert clocks.readable("w", third) == [first, second, third] and clocks.readable("w", first) == [first]


@pytest.mark.parametrize(("step_s", "red"), [(STEP_S + 0.02, True), (-3.0, True), (STEP_S / 2, False)])
def test_a_clock_that_is_set_anew_in_mid_run_is_not_believed(step_s: float, red: bool) -> None:
    paper = Paper(ahead_s=5.0)
    clocks = WorkerClocks(paper.now, "run")
    clocks.readable("w", {})
    paper.ask(clocks, 0.001, 0.001)
    paper.ahead_s += step_s
    paper.now_s += ASK_EVERY_S
    paper.ask(clocks, 0.001, 0.001)
    assert ("was set anew in mid-run" in clocks.problems()) == red


def test_an_answer_to_another_run_is_none() -> None:
    paper = Paper(ahead_s=0.0)
    before, clocks = WorkerClocks(paper.now, "before"), WorkerClocks(paper.now, "run")
    question = before.due("w")
    assert question is not None
    assert not clocks.heard("w", answer(question, paper.now)) and not clocks.found
