"""What a session does when something breaks; in a process of its own, since Locust patches the one that imports it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.timeout(60)
PAPER = '''
import gevent, json, sys
from pathlib import Path
from types import SimpleNamespace as S
from harness import locust_load
from harness.contracts import TargetError
from harness.model import Kind

told = []
options = S(scenario="MF01_triple_threat", time_scale=1.0, seed=0, safeguards_off="", control=False, num_users=20,
            plant="", out="nowhere", target="", headless=False)
runner = S(stop=lambda: told.append("load stopped"), worker_count=0)
environment = S(parsed_options=options, runner=runner, host=None, process_exit_code=None)
session = locust_load.Session(environment, {})
locust_load.say = lambda text: None
locust_load.summary_of = lambda run: ""
locust_load.Progress = lambda run: S(show=lambda: None, close=lambda: None)


class Run:
    """A run with one fault in force; its *greenlet* is dead, so a halt of the conductor heals nothing."""

    def __init__(self, greenlet_lives=True):
        self.done, self.folder = False, Path("nowhere")
        self.lives, self.events = greenlet_lives, []
        self.conductor = S(active=("pause",), halt=self.heal)
        self.journal = S(events=self.events)
        self.guardian = S(heal=lambda name: told.append(f"guardian heals {name}") or [{"verified": True}])
        self.target, self.findings, self.verdict, self.head = S(base_url=""), [], None, "ab12"

    def heal(self):
        if self.lives and not self.events:
            told.append("healed")
            self.events.append(S(subject="pause", kind=Kind.FAULT_HEALED, detail={"verified": True}))

    def abort(self, reason):
        if not self.done:
            self.done = True
            told.append(f"aborted: {reason}")
            self.heal()

    def tick(self):
        raise ZeroDivisionError("a tick breaks")

    def settle(self):
        told.append("judged")
        return S(exit_code=3, value="INCONCLUSIVE")

session.board.over = lambda run: told.append("shown")
'''


def on_paper(script: str) -> Any:
    """What *script* prints as JSON, after the session of paper above."""
    command = [sys.executable, "-c", PAPER + script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_tick_that_breaks_heals_stops_the_load_and_is_judged() -> None:
    told, word = on_paper("""
session.run = run = Run()
session._drive(run)
gevent.sleep(0.1)
print(json.dumps([told, session.last_word]))
""")
    assert told == [
        "aborted: the harness failed: ZeroDivisionError: a tick breaks",
        "healed",
        "load stopped",
        "judged",
        "shown",
    ]
    told = "timeline head: ab12\nINCONCLUSIVE (exit 3): nowhere/report.html"
    assert word == told, "said again at the very end of the process"


def test_a_disk_that_takes_nothing_any_more_ends_the_load_all_the_same() -> None:
    """Neither the journal nor a report can be written; what is in force is healed, and the exit code is 3."""
    told, code = on_paper(
        FULL
        + """
gevent.spawn(session._drive, run)
gevent.sleep(0.6)
print(json.dumps([told, environment.process_exit_code]))
"""
    )
    assert told[1:] == ["healed", "load stopped", "the process ends"] and code == 3


def test_so_does_a_signal_on_such_a_disk_and_no_twin_is_left() -> None:
    halted, told, code = on_paper(
        FULL
        + """
session.twin = S(stop=lambda: told.append("twin stopped"))
healed = session.halt_run()
try:
    session.halt()
except OSError:
    pass  # Locust writes it down
print(json.dumps([healed, told, environment.process_exit_code]))
"""
    )
    assert halted == {"pause": True}, "the page is told what was healed"
    assert told[1:] == ["healed", "load stopped", "twin stopped"] and code == 3


def test_an_exit_while_judging_is_inconclusive_and_named() -> None:
    """SystemExit would end Locust with its own code; it is an error like any other, and the exit code is 3."""
    word, kind, code = on_paper(
        """
class Ends(Run):
    def settle(self):
        raise SystemExit(1)
session.run = run = Ends()
try:
    session.halt()
except BaseException as error:
    kind = type(error).__name__
print(json.dumps([session.last_word, kind, environment.process_exit_code]))
"""
    )
    assert (kind, code) == ("RuntimeError", 3)
    assert word == "INCONCLUSIVE (exit 3): the run nowhere could not be judged: SystemExit: 1"


FULL = """
class Full(Run):
    def tick(self):
        raise OSError(28, "No space left on device")
    def abort(self, reason):
        super().abort(reason)
        raise OSError(28, "No space left on device")
    def settle(self):
        raise OSError(28, "No space left on device")
options.headless = True
runner.quit = lambda: told.append("the process ends")
session.run = run = Full()
"""


@pytest.mark.parametrize(("lives", "by"), [(True, "healed"), (False, "guardian heals pause")])
def test_halt_heals_also_a_fault_whose_greenlet_is_dead(lives: bool, by: str) -> None:
    answer, told = on_paper(f"""
session.run = Run(greenlet_lives={lives})
print(json.dumps([session.halt_run(), told]))
""")
    assert answer == {"pause": True} and told == ["aborted: halted", by]


def test_a_halt_before_the_run_has_begun_is_kept() -> None:
    before, during, refused, nothing = on_paper("""
before = session.halt_run()
class Twin:
    def __init__(self, off, plant): pass
    def wait(self):
        told.append(session.halt_run())
        return None
    def stop(self): pass
locust_load.EmbeddedTwin = Twin
session._plan = lambda *_: None
refused = session.prepare({})
print(json.dumps([before, told[0], refused, session.halt_run()]))
""")
    assert (before, during, refused, nothing) == (None, {}, "halted before it began", None)


def test_a_halt_between_the_answer_and_the_start_is_kept_too() -> None:
    halted, refused, told = on_paper("""
session.twin = S(stop=lambda: told.append("twin stopped"))
session.prepared = True
halted = session.halt_run()
session.start()
gevent.sleep(0.1)
print(json.dumps([halted, session.board.refused, told]))
""")
    assert (halted, refused) == ({}, "halted before it began") and told == ["twin stopped", "load stopped"]


def test_a_twin_that_does_not_start_is_told_and_the_next_start_is_free() -> None:
    refused, starting = on_paper("""
class Twin:
    def __init__(self, off, plant): pass
    def wait(self): raise RuntimeError("the embedded Grace did not start: no memory")
    def stop(self): pass
locust_load.EmbeddedTwin = Twin
print(json.dumps([session.prepare({}), session.board.starting]))
""")
    assert refused == "RuntimeError: the embedded Grace did not start: no memory" and starting == ""


def test_a_machine_that_cannot_hold_a_twin_is_told_at_the_run_and_not_taken_for_a_crash() -> None:
    twin, refused, code, word = on_paper("""
def refuse(off, plant): raise locust_load.TwinFailed("the embedded Grace has no room: 3 MB left")
locust_load.EmbeddedTwin = refuse
options.headless = True
runner.quit = lambda: None
session._try_twin(None)
twin = session.twin
session.start()
gevent.sleep(0.1)
print(json.dumps([twin, session.board.refused, environment.process_exit_code, session.last_word]))
""")
    assert (twin, refused, code) == (None, "the embedded Grace has no room: 3 MB left", 3)
    assert word == f"INCONCLUSIVE (exit 3): not started: {refused}", "below the empty tables that Locust prints"


def test_a_run_whose_twin_has_no_room_left_is_cut_short() -> None:
    told = on_paper("""
run = Run()
run.tick = lambda: told.append("ticked")
session.twin = S(trouble="")
session._step(run)
session.twin = S(trouble="it has no room")
session._step(run)
print(json.dumps(told))
""")
    assert told == ["ticked", "aborted: it has no room", "healed", "ticked"]


def test_a_guardian_that_cannot_be_started_is_told_by_its_name() -> None:
    words = on_paper("""
print(json.dumps(session._words(locust_load.GuardianLost("it could not be started: no process is left"))))
""")
    assert words == "nothing is injected without a guardian: it could not be started: no process is left"


@pytest.mark.parametrize(("call", "reason"), [("session.halt_run()", "halted"), ("session.halt()", "interrupted")])
def test_a_halt_reaches_a_run_that_is_being_judged(call: str, reason: str) -> None:
    """It may read what the target holds for longer than the end of the process waits."""
    reasons, waited_s = on_paper(f"""
class Judged(Run):
    def __init__(self):
        super().__init__()
        self.reasons = []
    def abort(self, reason):
        self.reasons.append(reason)
    def settle(self):
        while not self.reasons:
            gevent.sleep(0.05)
        return S(exit_code=3, value="INCONCLUSIVE")
import time
run = session.run = Judged()
run.done = True
session.reports = S(missing=lambda: [])
judges = gevent.spawn(session.stop)
gevent.sleep(0.1)
began_s = time.monotonic()
{call}
judges.join(timeout=30)
print(json.dumps([run.reasons, time.monotonic() - began_s]))
""")
    assert reasons == [reason] and waited_s < 10.0


def test_a_twin_that_does_not_come_up_is_inconclusive_without_a_page() -> None:
    code, told, refused = on_paper("""
class Twin:
    def __init__(self, off, plant): pass
    def wait(self): raise RuntimeError("the embedded Grace did not start: no memory")
    def stop(self): pass
locust_load.EmbeddedTwin = Twin
options.headless = True
runner.quit = lambda: told.append("process ends")
session.start()
gevent.sleep(0.1)
print(json.dumps([environment.process_exit_code, told, session.board.refused]))
""")
    assert (code, told) == (3, ["load stopped", "process ends"]) and refused.endswith("did not start: no memory")
