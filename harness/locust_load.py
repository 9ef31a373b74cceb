"""Puts a run into Locust: options, start, requests, stop, exit code. The only file of the harness that knows Locust."""

from __future__ import annotations

import argparse
import random
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from harness.console import Progress, say
from harness.contracts import TargetError
from harness.embedded import EmbeddedTwin, TwinRefused
from harness.metrics import METRICS
from harness.model import Verdict
from harness.plan import Options, build_plan, describe, lint
from harness.run import Run
from harness.scenario import Scenario, ScenarioError, find, shipped
from harness.target import ManifestTarget, load_target
from harness.traffic import RequestLog, RequestRow

VERSION = "0.1.0"
TICK_S = 0.2
SPAWN_RATE = 20.0
ROWS = "grace_rows"


class _AnyScenario(list[str]):
    """The choices of the web form. On the command line a file or a category is as good, and find() judges it."""

    def __contains__(self, _: object) -> bool:
        return True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenario",
        choices=_AnyScenario(shipped()),
        default="MF01_triple_threat",
        metavar="ID",
        help="scenario id, category or a file",
    )
    parser.add_argument("--time-scale", type=float, default=1.0, help="scales durations, never rates or limits")
    parser.add_argument("--seed", type=int, default=0, help="0 draws one, which is printed")
    parser.add_argument("--out", default="logs/chaos_enhanced", include_in_web_ui=False, help="where runs are kept")
    parser.add_argument("--target", default="", include_in_web_ui=False, help="manifest of the system under test")
    parser.add_argument("--safeguards-off", default="", help="NAME,... of the embedded Grace")
    parser.add_argument("--control", action="store_true", help="without faults: no safeguard may engage")


def refuse(text: str) -> None:
    """A usage error: said in full, before anything has started."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
    raise SystemExit(2)


class Session:
    """What this process does with the runs that Locust starts in it; one at a time, any number of them."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.options: Any = environment.parsed_options
        self.distributed = isinstance(environment.runner, MasterRunner)
        self.run: Run | None = None
        self.log: RequestLog | None = None
        self.twin: EmbeddedTwin | None = None
        self.greenlet: gevent.Greenlet | None = None
        self.verdict: Verdict | None = None
        self.workers = 0

    # Before anything starts

    def check(self) -> None:
        """Compiles the scenario and reads the target; whatever is wrong ends the process here, in words."""
        if self.environment.host and not self.options.target:
            refuse("--host needs --target FILE: the harness must know the processes, routes and signals it judges by")
        try:
            scenarios = find(self.options.scenario)
            if len(scenarios) > 1:
                refuse("one scenario a run: " + ", ".join(one.scenario_id for one in scenarios))
            if self.options.time_scale <= 0:
                refuse(f"--time-scale: above 0 is expected, not {self.options.time_scale:g}")
            if self.options.target:
                target = load_target(Path(self.options.target), self.environment.host or None)
                self._plan(scenarios[0], target)
                self._reach(target)
            else:
                lint(scenarios[0], frozenset(METRICS))
                self._try_twin(scenarios[0])
        except (ScenarioError, TargetError, TwinRefused) as error:
            self._stop_twin()
            refuse(str(error))
        if self.options.num_users is None:
            self.options.num_users = scenarios[0].users
        if self.options.spawn_rate is None:
            self.options.spawn_rate = SPAWN_RATE

    def _try_twin(self, scenario: Scenario) -> None:
        """Headless, the twin is started at once: words that only it can judge are then refused before anything runs."""
        if self.options.headless:
            self.twin = EmbeddedTwin(self.options.safeguards_off)
            try:
                self._plan(scenario, self.twin.wait())
            except RuntimeError:
                self.twin = None  # it is started again, and said to be broken, when the run begins

    @staticmethod
    def _reach(target: ManifestTarget) -> None:
        from harness.loopback import Client

        try:
            client = Client(target.base_url, timeout_s=3.0)
            client.send("GET", target.routes[0].path)
            client.close()
        except OSError as error:
            raise TargetError(f"{target.base_url} does not answer: {error}") from None

    def _plan(self, scenario: Scenario, target: ManifestTarget) -> Any:
        seed = self.options.seed or random.SystemRandom().randrange(1, 2**31)
        options = Options(
            seed=seed,
            time_scale=self.options.time_scale,
            control=bool(self.options.control),
            users=self.options.num_users,
        )
        return build_plan(scenario, target, options, frozenset(METRICS))

    # A run

    def start(self) -> None:
        """Called by Locust before the users are spawned."""
        try:
            self._start()
        except Exception as error:  # Locust would swallow it, and load a target that nobody watches
            say(f"not started: {type(error).__name__}: {error}")
            self.verdict = Verdict.INCONCLUSIVE
            self._stop_twin()
            gevent.spawn(self._leave)

    def _start(self) -> None:
        scenario = find(self.options.scenario)[0]
        if self.options.target:
            target = load_target(Path(self.options.target), self.environment.host or None)
        else:
            self.twin = self.twin or EmbeddedTwin(self.options.safeguards_off)
            target = self.twin.wait()
        self.environment.host = target.base_url
        plan, faults = self._plan(scenario, target)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        folder = Path(self.options.out) / plan.scenario_id / stamp
        facts = {
            "scenario_id": plan.scenario_id,
            "seed": plan.seed,
            "time_scale": plan.time_scale,
            "control": plan.control,
            "target": target.name,
            "base_url": target.base_url,
            "harness_version": VERSION,
            "repeat": self._repeat(plan.seed),
        }
        say(describe(plan))
        say(f"  target {target.name} at {target.base_url}")
        say(f"  run folder {folder}")
        self.run = Run(plan, faults, target, folder, facts, scenario.path)
        self.log = RequestLog(self.run.clock.now_s)
        self.verdict = None
        self.run.begin()
        self.greenlet = gevent.spawn(self._drive, self.run)

    def _repeat(self, seed: int) -> str:
        options = self.options
        words = ["locust", "-f", "locustfiles/grace.py", "--headless", "--scenario", options.scenario]
        words += ["--time-scale", f"{options.time_scale:g}", "--seed", str(seed)]
        for flag, value in (("--target", options.target), ("--safeguards-off", options.safeguards_off)):
            words += [flag, value] if value else []
        return shlex.join(words + (["--control"] if options.control else []))

    def users_ready(self) -> None:
        if self.run is not None:
            self.run.users_ready()
            self.workers = self.environment.runner.worker_count if self.distributed else 0

    def request(self, request_type: str, name: str, response_time: float, context: Any, exception: Any) -> None:
        if self.log is not None:
            outcome = context.get("outcome") or ("failed" if exception else "ok")
            user, status = context.get("user", "legitimate"), context.get("status", 0)
            self.log.add(user, f"{request_type} {name}", outcome, status, response_time)

    def rows_of_worker(self, rows: list[list[Any]]) -> None:
        if self.run is not None:
            clock = self.run.clock
            for at_s, user, name, outcome, status, count, spread in rows:
                latency_ms = tuple((ms, n) for ms, n in spread)
                row = RequestRow(clock.from_wall(at_s), user, name, outcome, status, count, latency_ms)
                self.run.add_rows([row])

    def _drive(self, run: Run) -> None:
        progress = Progress(run)
        while not run.done:
            gevent.sleep(TICK_S)
            if self.run is not run:
                return
            self._feed(run)
            if self.workers and self.environment.runner.worker_count < self.workers:
                run.abort("a worker was lost: its requests are not known")
            run.tick()
            progress.show()
        progress.close()
        gevent.spawn(self._leave, run)

    def _feed(self, run: Run) -> None:
        if self.log is not None:
            run.add_rows(self.log.take())

    def stop(self, only: Run | None = None) -> None:
        """Called by Locust when the users have stopped, for whatever reason. Heals, judges, reports.

        It takes the run, its twin and its log away first: on the web page the next run may start meanwhile.
        """
        run, twin, log = self.run, self.twin, self.log
        if run is None or (only is not None and run is not only):
            return
        self.run = self.twin = self.log = None
        if not run.done:
            run.abort("the load was stopped before the run was over")
        if log is not None:
            run.add_rows(log.take(all_of_it=True))
        self.verdict = run.settle()
        if twin is not None:
            twin.stop()
        say(summary_of(run))

    def _stop_twin(self) -> None:
        if self.twin is not None:
            self.twin.stop()
            self.twin = None

    def _leave(self, run: Run | None = None) -> None:
        """The run is over: headless the process ends with its verdict, with the web page only the load stops."""
        runner = self.environment.runner
        if runner is None:
            return
        runner.stop()
        self.stop(run)
        self._set_exit_code()
        if self.options.headless:
            runner.quit()

    def halt(self) -> None:
        """The process is about to end: heal first, then stop the load, then say the verdict."""
        if self.run is not None:
            self.run.abort("interrupted")
            if self.environment.runner is not None:
                self.environment.runner.stop()
            self.stop()
        self._stop_twin()
        self._set_exit_code()

    def _set_exit_code(self) -> None:
        if self.verdict is not None:
            self.environment.process_exit_code = self.verdict.exit_code
        elif self.options.headless:
            self.environment.process_exit_code = Verdict.INCONCLUSIVE.exit_code


def summary_of(run: Run) -> str:
    from harness.console import table

    return table(run.findings, run.verdict or Verdict.INCONCLUSIVE, run.folder, str(run.facts["repeat"]))


def install() -> None:
    """Registers everything with Locust. Called once, by the locustfile."""
    events.init_command_line_parser.add_listener(add_arguments)
    events.init.add_listener(_init_or_end)


def _init_or_end(environment: Environment, **_: Any) -> None:
    """A crash of the harness is never taken for a verdict: Locust itself would end with 1, which means FAIL."""
    try:
        _init(environment)
    except Exception as error:
        sys.stderr.write(f"the harness failed: {type(error).__name__}: {error}\n")
        raise SystemExit(Verdict.INCONCLUSIVE.exit_code) from error


def _init(environment: Environment, **_: Any) -> None:
    options = environment.parsed_options
    if isinstance(environment.runner, WorkerRunner):
        _init_worker(environment)
        return
    options.only_summary = True  # our own progress tells more than a table every two seconds
    session = Session(environment)
    session.check()
    environment.events.test_start.add_listener(lambda **_: session.start())
    environment.events.spawning_complete.add_listener(lambda **_: session.users_ready())
    environment.events.test_stop.add_listener(lambda **_: session.stop())
    environment.events.quitting.add_listener(lambda **_: session.halt())
    if session.distributed:
        environment.runner.register_message(ROWS, lambda msg, **_: session.rows_of_worker(msg.data))
    else:
        _listen(environment, session.request)


def _listen(environment: Environment, take: Any) -> None:
    def on_request(request_type: str, name: str, response_time: float, context: Any, exception: Any, **_: Any) -> None:
        take(request_type, name, response_time, context or {}, exception)

    environment.events.request.add_listener(on_request)


def _init_worker(environment: Environment) -> None:
    """A worker only loads: it starts no target, fault, guardian or journal, and sends its counts twice a second."""
    import time

    log = RequestLog(time.time)

    def take(request_type: str, name: str, response_time: float, context: Any, exception: Any) -> None:
        outcome = context.get("outcome") or ("failed" if exception else "ok")
        user, status = context.get("user", "legitimate"), context.get("status", 0)
        log.add(user, f"{request_type} {name}", outcome, status, response_time)

    def send() -> None:
        while True:
            gevent.sleep(0.5)
            rows = [[r.at_s, r.user, r.name, r.outcome, r.status, r.count, r.latency_ms] for r in log.take()]
            if rows and environment.runner is not None:
                environment.runner.send_message(ROWS, rows)

    _listen(environment, take)
    gevent.spawn(send)
