"""Puts a run into Locust: options, start, requests, stop, exit code. The only file of the harness that knows Locust."""

from __future__ import annotations

import atexit
import random
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from harness import own_parts
from harness.catalog import CatalogError
from harness.console import Progress, last_word, say, summary_of
from harness.contracts import TargetError
from harness.deeds import NO_ROUTE
from harness.embedded import EmbeddedTwin, TwinFailed, TwinRefused
from harness.entry import crash_code
from harness.gates import Attackers, Kinds, RunGates
from harness.guardian_link import GuardianLost
from harness.interrupts import interrupt_main
from harness.ledger import id_prefix
from harness.load_count import UserSignals, count_load
from harness.metrics import UNITS
from harness.model import Kind, Verdict
from harness.options import OptionError, add_arguments, allowed, make_out, one_scenario, sign_key, stop_file, wanted
from harness.plan import Options, describe
from harness.preflight import checked
from harness.reporting import VERSION
from harness.run import Run
from harness.scenario import Scenario, ScenarioError
from harness.signing import KeyRefused, PrivateKey
from harness.sinks import Sinks
from harness.suite_check import unwell
from harness.suite_door import to_suite
from harness.sweep import stuck, sweep
from harness.target import ManifestTarget, load_target
from harness.wave import lint_together, plan_together
from harness.web import TAB, blueprint
from harness.web_state import Board
from harness.worker import ROWS, Reports, in_run_time, listen, read, work
from harness.worker_clock import CLOCK, WorkerClocks

TICK_S = 0.2
SPAWN_RATE = 20.0
ENDING_S = 20.0  # how long the end of the process waits for a verdict that is on its way
EMBEDDED = "grace://embedded"  # what the form shows as the host: each run starts a Grace of its own


def refuse(text: str) -> None:
    """A usage error: said in full, before anything has started."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
    raise SystemExit(2)


class Session:
    """What this process does with the runs that Locust starts in it; one at a time, any number of them."""

    def __init__(self, environment: Environment, kinds: Kinds) -> None:
        self.environment = environment
        self.kinds = kinds
        self.options: Any = environment.parsed_options
        self.distributed = isinstance(environment.runner, MasterRunner)
        self.run: Run | None = None
        self.sinks: Sinks | None = None
        self.reports = Reports()
        self.clocks: WorkerClocks | None = None
        self.gates: RunGates | None = None
        self.twin: EmbeddedTwin | None = None
        self.greenlet: gevent.Greenlet | None = None
        self.verdict: Verdict | None = None
        self.workers = 0
        self.board = Board()
        self.judging: Run | None = None
        self.own_hosts = {"", EMBEDDED}  # what the form may say when no --target is given
        self.idle_host: str | None = environment.host
        self.prepared = False  # a start was accepted and Locust has not begun it yet
        self.cancelled = False  # a start that was halted before its run began
        self.lacks: tuple[str, ...] = ()  # what the target does not have of its manifest
        self.user_signals = UserSignals()
        self.key: PrivateKey | None = None  # that run folders are signed with
        self.last_word = ""  # the verdict once more, below the tables that Locust prints after everything else

    # Before anything starts

    def check(self) -> None:
        """Compiles the scenario and reads the target; whatever is wrong ends the process here, in words.

        What an earlier run has left in --out is taken back first: it could be taken for this one's.
        """
        for one in sweep(Path(self.options.out)):
            say(f"left by an earlier run, taken back now: {one}")
        if self.environment.host and not self.options.target:
            refuse("--host needs --target FILE: the harness must know the processes, routes and signals it judges by")
        try:
            own_parts.check()
            self.key = sign_key(self.options)
            scenario = one_scenario(self.options)
            if self.options.target:
                target = load_target(Path(self.options.target), self.environment.host or None, allowed(self.options))
                self._plan(scenario, target, self.options)
                self._reach(target)
            else:
                lint_together(scenario, UNITS)
                self._try_twin(scenario)
            if self.options.headless:
                make_out(Path(self.options.out))  # the last of all: a start that is refused leaves nothing
        except (CatalogError, KeyRefused, OptionError, ScenarioError, TargetError, TwinRefused) as error:
            self._stop_twin()
            refuse(str(error))
        if self.options.num_users is None:
            self.options.num_users = scenario.users
        if self.options.spawn_rate is None:
            self.options.spawn_rate = SPAWN_RATE

    def _try_twin(self, scenario: Scenario) -> None:
        """Headless, the twin is started at once: words that only it can judge are then refused before anything runs."""
        if self.options.headless:
            try:
                self.twin = EmbeddedTwin(self.options.safeguards_off, self.options.plant)
                self._plan(scenario, self.twin.wait(), self.options)
            except RuntimeError:
                self.twin = None  # it is started again, and said to be broken, when the run begins

    def _reach(self, target: ManifestTarget) -> None:
        if why := unwell(target, only_first=True):
            raise TargetError(f"{target.base_url} does not answer: {why}")
        self.lacks = checked(target)

    @staticmethod
    def _plan(scenario: Scenario, target: ManifestTarget, asked: Any) -> Any:
        seed = asked.seed or random.SystemRandom().randrange(1, 2**31)
        options = Options(seed=seed, time_scale=asked.time_scale, control=bool(asked.control), users=asked.num_users)
        return plan_together(scenario, target, options, UNITS)

    def prepare(self, form: Mapping[str, str]) -> str:
        """Before Locust takes the form of its page: why this start is refused; "" when it is not, and a twin is up."""
        if self.run is not None or self.board.starting:
            return "a run goes on: wait for its verdict, or halt it"
        self.board.refused, self.prepared, self.cancelled = "", False, False
        self.board.starting = "the embedded Grace starts" if not self.options.target else "the target is asked"
        try:
            self._prepare(wanted(self.options, form), form.get("host", ""))
        except (Exception, SystemExit) as error:  # whatever it is, it is told where the button was pressed
            self.board.refused = self._words(error)
            say(f"not started: {self.board.refused}")
            self._stop_twin()
        finally:
            self.board.starting = ""
        return self.board.refused

    @staticmethod
    def _words(error: BaseException) -> str:
        if isinstance(error, GuardianLost):
            return f"nothing is injected without a guardian: {error}"
        known = isinstance(error, (OptionError, ScenarioError, TargetError, TwinFailed, TwinRefused))
        return str(error) if known else f"{type(error).__name__}: {error}"

    def _prepare(self, asked: Any, host: str) -> None:
        scenario = one_scenario(asked)
        if asked.target:
            target = load_target(Path(asked.target), host or None, allowed(asked))
            self._reach(target)
        elif host not in self.own_hosts:
            raise OptionError("a host needs --target FILE on the command line; without it an embedded Grace is started")
        else:
            self._stop_twin()  # of a start that Locust itself refused
            self.twin = EmbeddedTwin(asked.safeguards_off, asked.plant)
            target = self.twin.wait()
        self._plan(scenario, target, asked)
        self._go_on()
        self.prepared = True

    def _go_on(self) -> None:
        if self.cancelled:
            raise OptionError("halted before it began")

    # A run

    def start(self) -> None:
        """Called by Locust before the users are spawned."""
        try:
            self._start()
        except (Exception, SystemExit) as error:  # Locust would swallow it, and load a target that nobody watches
            self.board.refused = self._words(error)
            say(f"not started: {self.board.refused}")
            self.verdict = Verdict.INCONCLUSIVE
            self.last_word = f"{self.verdict.value} (exit {self.verdict.exit_code}): not started: {self.board.refused}"
            self._stop_twin()
            gevent.spawn(self._leave)

    def _start(self) -> None:
        self.prepared = False
        self._go_on()
        scenario = one_scenario(self.options)
        self.board.refused = ""
        if self.options.target:
            target = load_target(Path(self.options.target), self.environment.host or None, allowed(self.options))
        else:
            self.twin = self.twin or EmbeddedTwin(self.options.safeguards_off, self.options.plant)
            target = self.twin.wait()
            self.own_hosts.add(target.base_url)
        self.environment.host = target.base_url
        plan, faults = self._plan(scenario, target, self.options)
        plan = replace(plan, not_applicable=(*plan.not_applicable, *self.lacks))
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        folder = Path(self.options.out) / plan.scenario_id / stamp
        facts = {
            "scenario_id": plan.scenario_id,
            "seed": plan.seed,
            "time_scale": plan.time_scale,
            "control": plan.control,
            "target": target.name,
            "base_url": target.base_url,
            "safeguards_off": self.options.safeguards_off,
            "planted": self.options.plant,
            "harness_version": VERSION,
            "permits": [str(permit) for permit in target.permits],
            "own_parts": own_parts.own_parts(),
            "repeat": own_parts.before(self._repeat(plan.seed)),
        }
        # also what an earlier run of this process has left
        facts |= {"stuck": left} if (left := stuck(Path(self.options.out))) else {}
        # these go to the workers as well: the users' words follow from the first, their ids begin with the second,
        # and they ask none but these routes where the target may lack one
        prefix = f"{id_prefix(folder.name)}-"
        self.options.run_seed, self.options.run_prefix = plan.seed, prefix
        self.options.run_routes = list(plan.routes)
        self.options.permitted = list(target.permitted)  # where they may talk to
        say(describe(plan))
        for one in left:
            say(f"  STILL IN FORCE, of an earlier run: {one}")
        say(f"  target {target.name} at {target.base_url}" + "".join(f"; {permit}" for permit in target.permits))
        if self.twin is not None and self.twin.without_group:
            say(f"  {self.twin.without_group}; a fault of scope target is one of the machine")
        if self.twin is not None and self.twin.without_disk:
            say(f"  {self.twin.without_disk}; it can not be filled")
        say(f"  run folder {folder}" + ("" if target.immutable_log else f"; {NO_ROUTE}"))
        here = Attackers(self.environment, self.kinds)
        self.gates = RunGates(here, self.environment.runner, self.distributed, plan.seed, prefix)
        self.reports = Reports()
        self.run = Run(plan, faults, target, folder, facts, scenario.path, self.gates, self.key)
        self.clocks = WorkerClocks(self.run.clock.now_s, folder.name)
        self.sinks = Sinks(self.run.clock.now_s)
        self.sinks.attach(self.environment)
        self.verdict, self.user_signals = None, UserSignals()
        self.run.begin()
        self.greenlet = gevent.spawn(self._drive, self.run)

    def _repeat(self, seed: int) -> str:
        options = self.options
        words = ["locust", "-f", "locustfiles/grace.py", "--headless", "--scenario", options.scenario]
        words += ["--time-scale", f"{options.time_scale:g}", "--seed", str(seed)]
        users = str(options.num_users) if options.num_users != one_scenario(options).users else ""
        flags = {"-u": users, "--target": options.target, "--allow-host": options.allow_host}
        flags |= {"--host": self.environment.host or ""} if options.target else {}
        for flag, value in {**flags, "--safeguards-off": options.safeguards_off, "--plant": options.plant}.items():
            words += [flag, value] if value else []
        return shlex.join(words + (["--control"] if options.control else []))

    def users_ready(self) -> None:
        if self.run is not None:
            self.run.users_ready()
            self.workers = self.environment.runner.worker_count if self.distributed else 0

    def request(self, request_type: str, name: str, response_time: float, context: Any, exception: Any) -> None:
        if self.sinks is not None:
            self.sinks.request(request_type, name, response_time, context, exception)

    def told_by_worker(self, worker: str, told: Mapping[str, Any]) -> None:
        self.reports.heard(worker, told)
        if self.run is None or self.clocks is None:
            return
        if question := self.clocks.due(worker):
            self.environment.runner.send_message(CLOCK, question, worker)
        for one in self.clocks.readable(worker, told):
            to_run = self.clocks.to_run(worker)
            samples, rows = read(one, to_run)
            for name, at_s, value in samples:
                self.run.signals.write(at_s, name, worker, value)
            self.run.add_rows(rows)
            self.run.add_ledger(in_run_time(row, to_run) for row in one["ledger"])
            if self.gates is not None:
                self.gates.heard(worker, one["prefix"], one["attacks"])

    def clock_told(self, worker: str, answer: Mapping[str, Any]) -> None:
        begun = self.run is not None and self.run.begun  # the run's own beginning is the first row of its timeline
        if begun and self.run is not None and self.clocks is not None and self.clocks.heard(worker, answer):
            known = self.clocks.found[worker]
            offset_s = known.base_s - self.run.clock.wall_base_s
            detail = {"offset_s": round(offset_s, 6), "error_s": round(known.error_s, 6)}
            self.run.journal.append(Kind.CLOCK_MEASURED, worker, "run", detail)

    def _drive(self, run: Run) -> None:
        progress = Progress(run)
        try:
            while not run.done:
                gevent.sleep(TICK_S)
                if self.run is not run:
                    return
                self._step(run)
                progress.show()
        except (Exception, SystemExit) as error:  # without ticks the faults would stay until their deadlines
            self._give_up(run, f"the harness failed: {type(error).__name__}: {error}")
        progress.close()
        run.conductor.halt()  # whoever ended it: first it is healed, then the load stops
        gevent.spawn(self._leave, run)

    @staticmethod
    def _give_up(run: Run, why: str) -> None:
        """Heals, and ends the run also where nothing can be written any more: else the load would go on for ever."""
        try:
            run.abort(why)
        except (Exception, SystemExit) as error:
            say(f"{why}; nor can that be journalled: {type(error).__name__}: {error}")

    def _step(self, run: Run) -> None:
        self._feed(run)
        if self.sinks is not None and not self.distributed:  # a worker tells that of its own
            self.user_signals.tell(run, self.sinks.activity)
        asks = stop_file(run.folder, Path(self.options.out))
        if asks is not None:
            run.abort(f"halted by the stop file {asks}")
        if self.twin is not None and (why := self.twin.trouble):
            run.abort(why)
        if self.workers and self.environment.runner.worker_count < self.workers:
            run.abort("a worker was lost: its requests are not known")
        run.tick()

    def halt_run(self) -> dict[str, bool] | None:
        """Heals every fault now; then the load stops. {fault: healed and verified}; None when no run goes on."""
        run = self.run
        if run is None and self.judging is not None:
            self.judging.abort("halted")  # all is healed; what it still reads of the target ends
            return {}
        if run is None:
            self.cancelled = bool(self.board.starting or self.prepared)
            return {} if self.cancelled else None
        in_force = run.conductor.active
        self._give_up(run, "halted")
        run.conductor.halt()
        healed = {event.subject: event.detail for event in run.journal.events if event.kind is Kind.FAULT_HEALED}
        for name in set(in_force) - set(healed):  # its greenlet died or hangs: the guardian is asked without it
            healed[name] = {"verified": all(bool(one.get("verified")) for one in run.guardian.heal(name))}
        return {name: bool(healed[name].get("verified")) for name in in_force}

    @property
    def shown(self) -> Run | None:
        return self.run or self.judging

    def _feed(self, run: Run) -> None:
        if self.sinks is not None and self.gates is not None:
            pour(self.sinks, self.gates.here, run)

    def stop(self, only: Run | None = None) -> None:
        """Called by Locust when the users have stopped, for whatever reason. Heals, judges, reports.

        It takes the run, its twin and its log away first: on the web page the next run may start meanwhile.
        """
        run, twin, sinks, gates = self.run, self.twin, self.sinks, self.gates
        if run is None or (only is not None and run is not only):
            return
        self.run = self.twin = self.sinks = self.gates = None
        if not run.done:
            self._give_up(run, "the load was stopped before the run was over")
        self.judging = run
        try:
            if sinks is not None and gates is not None:
                gates.here.shut_all()
                pour(sinks, gates.here, run, all_of_it=True)
                own = {} if self.distributed else {"": sinks.activity.told()}
                count_load(self.environment, run, gates, {**own, **self.reports.activity})
            unknown = [self.reports.missing(), self.clocks.problems() if self.clocks else ""]
            if any(unknown):
                run.spoil("; ".join(filter(None, unknown)))
            self.verdict = run.settle()
            self.board.over(run)
        except (Exception, SystemExit) as error:
            why = self.board.refused = f"the run {run.folder} could not be judged: {type(error).__name__}: {error}"
            self.verdict = Verdict.INCONCLUSIVE
            self.last_word = f"{self.verdict.value} (exit {self.verdict.exit_code}): {why}"
            if isinstance(error, SystemExit):  # it would end the process, with a code that is no verdict
                raise RuntimeError(why) from error
            raise
        finally:
            if twin is not None:
                twin.stop()
                if self.environment.host == run.target.base_url:
                    self.environment.host = self.idle_host
            self.judging = None
        say(summary_of(run))
        self.last_word = last_word(run)

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
        try:
            self.stop(run)
        finally:  # also when it could not be judged
            self._set_exit_code()
            if self.options.headless:
                runner.quit()

    def halt(self) -> None:
        """The process is about to end: heal first, then stop the load, then say the verdict."""
        try:
            self._halt()
        finally:  # also when it could not be judged
            self._stop_twin()
            self._set_exit_code()

    def _halt(self) -> None:
        if self.run is not None:
            self._give_up(self.run, "interrupted")
            if self.environment.runner is not None:
                self.environment.runner.stop()
            self.stop()
        if self.judging is not None:  # it may still read what the target holds: that would outlast our patience
            self.judging.abort("interrupted")
        with gevent.Timeout(ENDING_S, False):
            while self.judging is not None:  # another greenlet judges the run and takes its twin away
                gevent.sleep(TICK_S)

    def _set_exit_code(self) -> None:
        if self.verdict is not None:
            self.environment.process_exit_code = self.verdict.exit_code
        elif self.options.headless:
            self.environment.process_exit_code = Verdict.INCONCLUSIVE.exit_code


def pour(sinks: Sinks, attackers: Attackers, run: Run, all_of_it: bool = False) -> None:
    """What the users of this process have met since the last time goes into the run's files."""
    for row in attackers.take_rows():
        sinks.ledger(row)
    run.add_rows(sinks.take(all_of_it))
    run.add_ledger(sinks.take_ledger())


def install(attackers: Kinds) -> None:
    """Registers everything with Locust. Called once, by the locustfile; *attackers* say what sends to which route."""
    events.init_command_line_parser.add_listener(add_arguments)
    events.init.add_listener(lambda environment, **_: _init_or_end(environment, attackers))


def _init_or_end(environment: Environment, kinds: Kinds) -> None:
    """A crash of the harness is never taken for a verdict: Locust itself would end with 1, which means FAIL."""
    try:
        _init(environment, kinds)
    except BaseException as error:
        raise SystemExit(crash_code(error)) from error


def _init(environment: Environment, kinds: Kinds) -> None:
    options = environment.parsed_options
    if isinstance(environment.runner, WorkerRunner):
        work(environment, kinds)
        return
    to_suite(options, isinstance(environment.runner, MasterRunner))
    interrupt_main(say)
    options.only_summary = True  # our own progress tells more than a table every two seconds
    session = Session(environment, kinds)
    session.check()
    if options.headless:
        atexit.register(lambda: say(session.last_word) if session.last_word else None)
    environment.events.test_start.add_listener(lambda **_: session.start())
    environment.events.spawning_complete.add_listener(lambda **_: session.users_ready())
    environment.events.test_stop.add_listener(lambda **_: session.stop())
    environment.events.quitting.add_listener(lambda **_: session.halt())
    if session.distributed:
        environment.runner.register_message(ROWS, lambda msg, **_: session.told_by_worker(msg.node_id, msg.data))
        environment.runner.register_message(CLOCK, lambda msg, **_: session.clock_told(msg.node_id, msg.data))
    else:
        listen(environment, session.request)
    if environment.web_ui is not None:
        _open_page(environment.web_ui, session, options.web_base_path or "")


def _open_page(web_ui: Any, session: Session, base_path: str) -> None:
    if not session.options.target:
        session.idle_host = session.environment.host = EMBEDDED
    web_ui.template_args.update(TAB)
    web_ui.app.register_blueprint(blueprint(session, base_path, web_ui.auth_required_if_enabled))
