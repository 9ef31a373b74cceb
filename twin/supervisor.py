"""The control plane: starts kernels, workers and services, hears heartbeats, restarts them, keeps the events.

Its own knowledge never comes by the bus: a stopped broker must not blind the watchdog.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from twin.bus.client import BusClient
from twin.bus.keys import make_keys
from twin.config import Config
from twin.events import EventStore
from twin.htm import WORKERS
from twin.http.outsiders import make_token
from twin.kernels import KERNELS
from twin.links import write_addresses
from twin.manifest import write_manifest
from twin.playbooks.kernel_restart import KernelRestart, begins, end_process, kill
from twin.rpc import KernelError, serve
from twin.safeguards.kernel_watchdog import KernelLife, KernelWatchdog, Verdict
from twin.upstream import SERVICES

LISTENS_TO = ("event.", "security.", "playbook.", "scheduler.", "system.control")
WATCH_EVERY_S = 0.1
READY_LIMIT_S = 20.0
STOP_LIMIT_S = 1.5
SERVICE_AGAIN_AFTER_S = 1.0


class Supervisor:
    """One twin. run() returns its exit code."""

    def __init__(self, config: Config, zygote: socket.socket, zygote_pid: int, until_stdin_closes: bool) -> None:
        self.config = config
        self.zygote = zygote
        self.zygote_pid = zygote_pid
        self.until_stdin_closes = until_stdin_closes
        self.lives = {name: KernelLife(name) for name in KERNELS}
        self.workers = {name: KernelLife(name) for name in WORKERS}  # whether they work is the scheduler's to see
        self.services = {name: KernelLife(name) for name in SERVICES}
        self.watchdog = KernelWatchdog(config.thresholds, config.defects)
        self.stop = asyncio.Event()
        self.exit_code = 0
        self._spawned: dict[str, asyncio.Future[int]] = {}
        self._heartbeats: dict[str, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop.set)
        if self.until_stdin_closes:
            loop.add_reader(0, self._stdin)
        self.zygote.setblocking(False)
        loop.add_reader(self.zygote.fileno(), self._from_zygote)
        self.events = EventStore(self.config.state_dir / "control_plane.db")
        keys = make_keys(self.config.run_dir / "keys.json")
        token = make_token(self.config.run_dir)
        self.bus = {
            actor: BusClient(actor, keys["actors"][actor], keys["server"]["public_key"], self.config.bus_endpoint)
            for actor in ("orchestrator", "control_plane")
        }
        write_addresses(self.config)
        await serve(self.config.run_dir / "control_plane.sock", self.handle)
        await self.spawn("message_bus")
        await asyncio.gather(*(self.spawn(name) for name in (*KERNELS, *WORKERS, *SERVICES) if name != "message_bus"))
        await self.bus["orchestrator"].start()
        await self.bus["control_plane"].start(LISTENS_TO, self._from_bus)
        watch = asyncio.create_task(self._watch())
        if await self._ready():
            manifest = write_manifest(self.config, keys, token)
            print(f"ready http://127.0.0.1:{self.config.http_port} {manifest}", flush=True)
            await self.stop.wait()
        watch.cancel()
        await self._stop_kernels()
        return self.exit_code

    async def _ready(self) -> bool:
        deadline = time.monotonic() + READY_LIMIT_S
        while any(life.state != "running" for life in self._all()):
            if self.stop.is_set():
                return False
            if time.monotonic() > deadline:
                late = [life.name for life in self._all() if life.state != "running"]
                print(f"twin: not running after {READY_LIMIT_S:.0f} s: {', '.join(late)}", file=sys.stderr)
                self.exit_code = 3
                return False
            await asyncio.sleep(0.02)
        return True

    # Processes

    def _all(self) -> list[KernelLife]:
        return [*self.lives.values(), *self.workers.values(), *self.services.values()]

    def _life(self, name: str) -> KernelLife:
        return (self.lives | self.workers | self.services)[name]

    async def spawn(self, name: str) -> int:
        """A new process for kernel or worker *name*; its pid."""
        life = self._life(name)
        self._forget_heartbeat(name)
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        life.state, life.gone, life.last_beat_s = "starting", False, None
        life.started_s, life.started_at, life.pid = time.monotonic(), time.time(), 0
        future = self._spawned[name] = asyncio.get_running_loop().create_future()
        socket.send_fds(self.zygote, [name.encode()], [write_end])
        os.close(write_end)
        life.pid = await future
        pid_file = self.config.run_dir / f"{name}.pid"
        fresh = pid_file.with_suffix(".new")
        fresh.write_text(f"{life.pid}\n")
        fresh.replace(pid_file)
        self._heartbeats[name] = read_end
        asyncio.get_running_loop().add_reader(read_end, self._beat, name, read_end)
        return life.pid

    def _beat(self, name: str, descriptor: int) -> None:
        life = self._life(name)
        with contextlib.suppress(BlockingIOError):
            if os.read(descriptor, 4096):
                life.last_beat_s = time.monotonic()
                if life.state == "starting":
                    life.state = "running"
                return
            self._forget_heartbeat(name)
            life.gone = True

    def _forget_heartbeat(self, name: str) -> None:
        descriptor = self._heartbeats.pop(name, None)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

    def _from_zygote(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self.zygote.recv(4096)
                if not data:
                    print("twin: the zygote has died", file=sys.stderr)
                    os._exit(3)
                told = json.loads(data)
                if "spawned" in told:
                    self._spawned.pop(told["spawned"]).set_result(told["pid"])
                for life in self._all():
                    if life.pid == told.get("exited"):
                        life.gone = True

    def _stdin(self) -> None:
        if not os.read(0, 4096):
            asyncio.get_running_loop().remove_reader(0)
            self.stop.set()

    async def _stop_kernels(self) -> None:
        """SIGTERM, and SIGCONT for one that is stopped; SIGKILL for what is left."""
        for life in self._all():
            life.state = "stopped"
            for number in (signal.SIGTERM, signal.SIGCONT):
                kill(life.pid, number)
        deadline = time.monotonic() + STOP_LIMIT_S
        while time.monotonic() < deadline and any(_lives(life.pid) for life in self._all()):
            await asyncio.sleep(0.02)
        for life in self._all():
            kill(life.pid, signal.SIGKILL)

    # Watchdog

    async def _watch(self) -> None:
        restart = KernelRestart(self)
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            for life in self.services.values():
                if life.gone and life.state in ("starting", "running"):
                    life.state = "restarting"
                    self._in_background(self._serve_again(life.name))
            for life in self.lives.values():
                if life.gone and life.state == "running" and not self.config.enabled("kernel_watchdog"):
                    life.state = "failed"
            if not self.config.enabled("kernel_watchdog"):
                continue
            for verdict in self.watchdog.tick(time.monotonic(), list(self.lives.values())):
                self._engage(verdict, restart)

    def _engage(self, verdict: Verdict, restart: KernelRestart) -> None:
        life = self.lives[verdict.kernel]
        life.state = "restarting" if verdict.action == "restart" else "quarantined"
        incident = {
            "incident_id": uuid.uuid4().hex,
            "trigger_id": KernelWatchdog.name,
            "subject": verdict.kernel,
            "playbook": KernelWatchdog.playbook,
            "severity": "critical",
            "reason": verdict.reason,
            "details": verdict.details,
            "timestamp": time.time(),
        }
        self.record("event.incident", incident)
        work = restart.run(life, incident) if verdict.action == "restart" else restart.give_up(life, incident)
        self._in_background(work)

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_again(self, name: str) -> None:
        """A service that has ended comes back as its owner would bring it back: no safeguard has a part in it."""
        await asyncio.sleep(SERVICE_AGAIN_AFTER_S)
        if not self.stop.is_set():
            await self.spawn(name)

    # Events

    def record(self, topic: str, payload: dict[str, Any]) -> None:
        """An event of the control plane itself: kept here at once; the bus is told as well, when it can be."""
        payload.setdefault("timestamp", time.time())
        self.events.append(topic, "control_plane", payload)
        self._in_background(self._tell(topic, payload))

    async def _tell(self, topic: str, payload: dict[str, Any]) -> None:
        with contextlib.suppress(Exception):
            await self.bus["control_plane"].publish(topic, payload)

    async def _from_bus(self, message: dict[str, Any]) -> None:
        if message["source"] not in ("control_plane", "orchestrator"):
            self.events.append(
                message["topic"],
                message["source"],
                message["payload"],
                message["payload"].get("timestamp") or message["timestamp"],
            )

    # Requests

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "kernels":
            return {"now": time.time(), "kernels": [self._told(life) for life in self.lives.values()]}
        if op == "events":
            events = self.events.since(int(payload.get("since", 0)))
            last = events[-1]["seq"] if events else int(payload.get("since", 0))
            return {"now": time.time(), "next": last, "events": events}
        if op == "safeguards":
            return {"now": time.time(), "safeguards": self.events.safeguards(self.config)}
        if op == "incidents":
            return {"incidents": list(self.events.open.values())}
        if op == "shedding":
            told = {"subjects": self.events.shedding(), "bypassed": self.events.bypassed()}
            return {**told, "refusing": self.events.refusing()}
        if op == "control":
            return await self._control(payload)
        if op == "restart_worker":
            return await self._restart_worker(str(payload["worker"]))
        raise KernelError(404, "unknown_operation", op=op)

    async def _control(self, payload: dict[str, Any]) -> dict[str, Any]:
        """What self_healing may order: an actor's cut-off and its end, signed as orchestrator."""
        action = {"blacklist": "actor_blacklisted", "release": "actor_released"}[payload["action"]]
        order = {"action": action, "actor": payload["actor"], "timestamp": time.time()}
        self.events.append("system.control", "orchestrator", order)
        try:
            return await self.bus["orchestrator"].publish_acked("system.control", order, 2.0)
        except TimeoutError:
            raise KernelError(504, "kernel_timeout", kernel="message_bus") from None

    async def _restart_worker(self, name: str) -> dict[str, Any]:
        """What self_healing may order: the end of a worker's process, however stuck it is, and a new one."""
        life = self.workers.get(name)
        if life is None or life.state not in ("running", "failed"):
            state = life.state if life else "unknown"
            raise KernelError(409, "no_such_worker_now", worker=name, state=state)
        old_pid, life.state = life.pid, "restarting"
        await end_process(old_pid)
        new_pid = await self.spawn(name)
        life.restarts_total += 1
        if not await begins(life, self.config.thresholds.kernel_start_limit_s):
            life.state = "failed"
            raise KernelError(504, "no_sign_of_life", worker=name, pid=new_pid)
        return {"worker": name, "old_pid": old_pid, "new_pid": new_pid}

    def _told(self, life: KernelLife) -> dict[str, Any]:
        beat_s = life.last_beat_s
        age_s = None if beat_s is None else round(time.monotonic() - beat_s, 3)
        state = life.state
        if state == "running" and _proc_state(life.pid) == "T":
            state = "paused"
        return {
            "name": life.name,
            "state": state,
            "pid": life.pid,
            "started_at": life.started_at,
            "heartbeat_age_s": age_s,
            "restarts": life.restarts_total,
        }


def _proc_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _lives(pid: int) -> bool:
    return _proc_state(pid) not in ("", "Z", "X")
