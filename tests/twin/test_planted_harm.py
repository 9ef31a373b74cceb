"""Defects that harm bystanders, or take the effect from a playbook: each strikes where it is planted, only there."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.twin.test_core_broker import NAMES
from twin.bus.broker import Broker, Ledger
from twin.config import Config, Thresholds
from twin.defects import Defects
from twin.http import broken
from twin.http.app import App
from twin.http.broken import BrokenGateway
from twin.http.intents import Intents
from twin.http.recorded import KINDS, Attempt
from twin.kernel import report
from twin.kernels.api_server import ApiServer
from twin.kernels.health_monitor import HealthMonitor
from twin.rpc import KernelError
from twin.safeguards.kernel_watchdog import KernelLife, KernelWatchdog
from twin.safeguards.resource_pressure_monitor import ResourcePressureMonitor
from twin.safeguards.worker_watchdog import WorkerLife, WorkerWatchdog

IDLE, NORMAL, HIGH = 0, 5, 8
RETRO, KNOWLEDGE = "/api/meta_loop/retrospective", ("GET", "/api/knowledge")


class Rpc:
    """Kernels that always answer."""

    async def call(self, kernel: str, op: str, *_: Any) -> dict[str, Any]:
        return {"kernel": kernel, "op": op}


class Queue:
    """A queue that takes each intent."""

    async def put(self, row: Any) -> str:
        return "created"


def test_an_intent_is_answered_under_another_id() -> None:
    for planted, others in (((), 0), (("answers_name_another_id",), 1)):
        intents = Intents(Rpc(), None, print, Defects(planted))  # type: ignore[arg-type]
        intents.batches = Queue()  # type: ignore[assignment]
        said = [asyncio.run(intents.submit((f"i{n}", 5, "{}"))) for n in range(10)]
        assert sum(one["intent_id"] != f"i{n}" for n, one in enumerate(said)) == others


class Trail:
    """An audit trail on which there is always room."""

    async def done(self, attempt: Attempt, resource: str, work: Callable[[], Awaitable[Any]]) -> Any:
        return await work()


def gateway(*planted: str) -> App:
    nothing: Any = SimpleNamespace(done=Trail().done)
    parts = dict.fromkeys(inspect.signature(App).parameters, nothing)
    return App(**{**parts, "rpc": Rpc(), "limiter": None, "broken": BrokenGateway(Defects(planted))})


def server(app: App) -> Any:
    """The kernel around a gateway, with nothing else of it."""
    made = object.__new__(ApiServer)
    made.app, made.broken = app, app.broken
    return made


def order(app: App, op: str, on: bool) -> None:
    about = {"shed": "subject", "refuse": "subject", "bypass": "callee"}
    asyncio.run(server(app).handle(op, {about[op]: "memory_fusion", "on": on}))


def deferred(app: App, *priorities: int) -> list[bool]:
    return [app._deferred(priority) is not None for priority in priorities]


def retrospective(app: App) -> str:
    attempt = Attempt(KINDS[RETRO], "127.0.0.9", "")
    try:
        return str(asyncio.run(app._change(RETRO, attempt))["op"])
    except KernelError as error:
        return error.error


def ask(app: App, method: str, path: str) -> tuple[int, dict[str, Any]]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [], "client": None}
    try:
        return asyncio.run(app._answer(scope, receive))
    except KernelError as error:
        return error.status, {"error": error.error}


def test_a_sound_gateway_defers_what_may_wait_until_the_end() -> None:
    app = gateway()
    assert deferred(app, IDLE, NORMAL) == [False, False] and retrospective(app) == "retrospective"
    order(app, "shed", on=True)
    assert deferred(app, IDLE, IDLE, NORMAL, HIGH) == [True, True, False, False]
    assert retrospective(app) == "load_shedding"
    order(app, "shed", on=False)
    assert deferred(app, IDLE) == [False] and retrospective(app) == "retrospective"


def test_shed_half_lets_every_second_intent_pass() -> None:
    app = gateway("shed_half")
    order(app, "shed", on=True)
    assert sum(deferred(app, *[IDLE] * 40)) == 20
    assert retrospective(app) == "load_shedding" and deferred(app, NORMAL) == [False]


def test_shed_too_much_defers_normal_intents() -> None:
    app = gateway("shed_too_much")
    assert deferred(app, NORMAL) == [False]
    order(app, "shed", on=True)
    assert deferred(app, IDLE, NORMAL, HIGH) == [True, True, False]


def test_shed_retros_not_lets_retrospectives_pass() -> None:
    app = gateway("shed_retros_not")
    order(app, "shed", on=True)
    assert retrospective(app) == "retrospective" and deferred(app, IDLE) == [True]


def test_one_in_ten_retrospectives_is_deferred_in_silence() -> None:
    app = gateway("deferred_in_silence")
    assert Counter(retrospective(app) for _ in range(30)) == {"retrospective": 27, "busy": 3}


def test_shedding_stays_after_its_end() -> None:
    app = gateway("shedding_stays")
    order(app, "shed", on=True)
    order(app, "shed", on=False)
    assert deferred(app, IDLE) == [True] and retrospective(app) == "load_shedding" and not app.shedding


@pytest.mark.parametrize(("planted", "stays"), [((), False), (("bypass_stays",), True)])
def test_bypass_stays_after_its_end(planted: tuple[str, ...], stays: bool) -> None:
    app = gateway(*planted)
    app.knowledge = SimpleNamespace(search=lambda payload, now_s: {"stale": True})  # type: ignore[assignment]
    for on, stale in ((True, True), (False, stays)):
        order(app, "bypass", on=on)
        assert (app._stored({"headers": []}, KNOWLEDGE, {}) is not None) is stale


def test_refuse_leaks_lets_one_in_five_pass() -> None:
    app = gateway("refuse_leaks")
    order(app, "refuse", on=True)
    assert sum(app._unrecorded() is None for _ in range(50)) == 10
    sound = gateway()
    order(sound, "refuse", on=True)
    assert all(sound._unrecorded() for _ in range(50))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What was slept, without the waiting."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(broken.asyncio, "sleep", sleep)
    yield slept


def test_bystanders_are_harmed_only_while_an_incident_is_open(quick: list[float]) -> None:
    app = gateway("bystander_slow", "bystander_fails")
    opened = {"topic": "event.incident", "payload": {"incident_id": "1"}}
    closed = {"topic": "event.incident.closed", "payload": {"incident_id": "1"}}
    for message, status, waits in ((None, 200, []), (opened, 500, [6.0]), (closed, 200, [])):
        if message:
            app.broken.hear(message)
        quick.clear()
        assert ask(app, "POST", "/api/voice")[0] == status
        assert ask(app, "POST", "/api/clarity")[0] == 200 and quick == waits
        assert ask(app, "POST", "/api/code")[0] == 200


@pytest.mark.parametrize("planted", [(), ("knowledge_empty_under_fault",)])
def test_a_search_finds_nothing_only_while_an_incident_is_open(planted: tuple[str, ...]) -> None:
    made, found = BrokenGateway(Defects(planted)), {"results": [1], "entries": 3}
    assert made.emptied(*KNOWLEDGE, found) == found
    made.hear({"topic": "event.incident", "payload": {"incident_id": "a"}})
    assert made.emptied(*KNOWLEDGE, found) == {"results": [] if planted else [1], "entries": 3}
    assert made.emptied("GET", "/api/knowledge/all", found) == found
    made.hear({"topic": "event.incident.closed", "payload": {"incident_id": "a"}})
    assert made.emptied(*KNOWLEDGE, found) == found


def test_a_sound_gateway_hears_no_incidents() -> None:
    assert BrokenGateway(Defects(())).topics == ()
    assert BrokenGateway(Defects(("bystander_fails",))).topics == ("event.incident",)


def said(planted: tuple[str, ...], *actions: str) -> set[str]:
    """Whom the broker has cut off after these orders about an actor from outside."""
    ledger = Ledger()
    broker = Broker({f"key:{name}": name for name in NAMES}, ledger, lambda *_: True, Defects(planted))
    for action in actions:
        payload = {"action": action, "actor": "stranger"}
        message = {"id": "m", "source": "orchestrator", "topic": "system.control", "payload": payload}
        broker.take(b"p", "key:orchestrator", json.dumps({"op": "publish", "message": message}).encode())
    return set(ledger.blacklist)


def test_innocent_cut_off_takes_a_kernel_along_for_good() -> None:
    assert said((), "actor_blacklisted") == {"stranger"}
    assert said(("innocent_cut_off",), "actor_blacklisted") == {"stranger", "voice_conversation"}
    assert said(("innocent_cut_off",), "actor_blacklisted", "actor_released") == {"voice_conversation"}


def test_blacklist_kept_cuts_off_a_kernel_at_the_end() -> None:
    assert said((), "actor_blacklisted", "actor_released") == set()
    assert said(("blacklist_kept",), "actor_blacklisted") == {"stranger"}
    assert said(("blacklist_kept",), "actor_blacklisted", "actor_released") == {"sandbox"}


@pytest.mark.parametrize(("planted", "expected"), [((), []), (("alarm_without_cause",), ["memory"])])
def test_alarm_without_cause_is_given_once(planted: tuple[str, ...], expected: list[str], tmp_path: Any) -> None:
    monitor = HealthMonitor(Config(dir=tmp_path, defects=planted))
    monitor.planted, monitor.monitor = set(planted), ResourcePressureMonitor(Thresholds())
    engaged = []
    for look in range(80):
        monitor.last = {"cpu": 45.0 if look > 20 else 10.0, "memory": 30.0, "disk": 5.0}
        monitor._cry_wolf()
        engaged += [one.resource for one in monitor.monitor.tick(look * 0.25, monitor.last) if one.engaged]
    assert engaged == expected and not monitor.monitor.engaged


@pytest.mark.parametrize(("planted", "restarts"), [((), [1]), (("restarted_twice",), [1, 2])])
def test_restarted_twice_ends_a_well_kernel_once(planted: tuple[str, ...], restarts: list[int]) -> None:
    watchdog = KernelWatchdog(Thresholds(), planted)
    one, seen = KernelLife("librarian", state="running", pid=7), [1]
    one.restarts, one.restarts_total = [100.0], 1
    for now_s in range(100, 200):
        one.last_beat_s = now_s - 0.4
        if watchdog.tick(float(now_s), [one, KernelLife("sandbox", state="running", last_beat_s=now_s - 0.4)]):
            one.restarts.append(float(now_s))
            one.restarts_total += 1
            seen.append(one.restarts_total)
    assert seen == restarts and one.restarts[1:] == [113.0][: len(restarts) - 1]


@pytest.mark.parametrize(("planted", "expected"), [((), []), (("worker_killed_well",), ["w1"])])
def test_worker_killed_well_takes_one_that_works(planted: tuple[str, ...], expected: list[str]) -> None:
    watchdog, found = WorkerWatchdog(Thresholds(), planted), []
    for completed in range(0, 200, 5):
        crew = [WorkerLife(name, pid=9, last_beat_s=10.0, completed=completed) for name in ("w1", "w2")]
        found += [one.worker for one in watchdog.tick(10.1, crew)]
    assert found == expected


@pytest.mark.parametrize(
    ("name", "planted", "mute"),
    [
        ("memory_fusion", ("mute_after_restart",), [False, True, True]),
        ("memory_fusion", (), [False] * 3),
        ("sandbox", ("mute_after_restart",), [False] * 3),
    ],
)
def test_mute_after_restart_is_not_heard_again(tmp_path: Any, name: str, planted: tuple[str, ...], mute: Any) -> None:
    config = Config(dir=tmp_path, defects=planted)
    config.state_dir.mkdir(parents=True)
    heard: list[bool] = []

    class Bus:
        async def publish(self, topic: str, payload: dict[str, Any]) -> None:
            heard.append(topic == f"telemetry.kernel.{name}" and payload == {"number": 0})
            raise EOFError

    for silent in mute:
        heard.clear()
        kernel: Any = SimpleNamespace(name=name, config=config, bus=Bus())
        with contextlib.suppress(EOFError):
            asyncio.run(report(kernel))
        assert heard == ([] if silent else [True])
