"""A worker process: one thread carries intents out, the main thread watches it and shows that both live."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from twin.config import Config
from twin.htm import execute as work
from twin.rpc import LENGTH
from twin.safeguards.thread_timeout import Interrupted, ThreadTimeout

LOOK_EVERY_S = 0.25
BEAT_EVERY_S = 1.0
AWAY_S = 1.5  # between two looks: longer than an answer takes, so this process was stopped or starved
ANSWER_LIMIT_S = 5.0
BEAT_LIMIT_S = 1.0
AGAIN_AFTER_S = 0.05
AFTER_A_FAILURE_S = 0.2
RESULT_CHARS_MAX = 200


class Refused(Exception):
    """The scheduler does not know this worker (any more): it wants to hear hello first."""


class Link:
    """A thread's own connection to the scheduler, one question at a time."""

    def __init__(self, path: Path, limit_s: float) -> None:
        self.path = path
        self.limit_s = limit_s
        self._socket: socket.socket | None = None

    def ask(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Raises OSError when no answer came: the next question opens a new connection; Refused when it is refused."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.settimeout(self.limit_s)
                self._socket.connect(str(self.path))
            body = json.dumps({"id": 0, "op": f"worker.{op}", "payload": payload}).encode()
            self._socket.sendall(LENGTH.pack(len(body)) + body)
            (length,) = LENGTH.unpack(self._exactly(LENGTH.size))
            answer = json.loads(self._exactly(length))
        except OSError:
            self.close()
            raise
        if "error" in answer:
            raise Refused(f"{op}: {answer['error']} {answer['detail']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _exactly(self, size: int) -> bytes:
        assert self._socket is not None
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionResetError("the scheduler has hung up")
            data += part
        return data

    @property
    def open(self) -> bool:
        return self._socket is not None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Worker:
    """One worker. run() never returns."""

    def __init__(self, name: str, config: Config, heartbeat: int) -> None:
        self.me = {"worker": name, "pid": os.getpid()}
        self.heartbeat = heartbeat
        path = config.run_dir / "scheduler.sock"
        self.link, self.watch_link = Link(path, ANSWER_LIMIT_S), Link(path, BEAT_LIMIT_S)
        self.timeout = ThreadTimeout(config.thresholds.work_limit_s)
        self.interrupts = config.enabled(ThreadTimeout.name)
        self.done: dict[str, Any] | None = None  # what the scheduler has not been told yet
        self.log = logging.getLogger(name)

    def run(self) -> None:
        threading.Thread(target=self._work, name="work", daemon=True).start()
        beat_s, looked_s = 0.0, time.monotonic()
        while True:
            time.sleep(LOOK_EVERY_S)
            now_s = time.monotonic()
            if now_s - looked_s > AWAY_S:
                self.timeout.forgive(now_s - looked_s)
            looked_s = now_s
            if self.interrupts:
                self._look(now_s)
            if now_s - beat_s >= BEAT_EVERY_S:
                beat_s = now_s
                self._tell("beat", {})

    def _look(self, now_s: float) -> None:
        lease, ran_s = self.timeout.overdue(now_s)
        if lease:
            self._tell("timed_out", {"lease": lease, "ran_s": round(ran_s, 3)})
            self.log.warning("interrupted after %.1f s: %s", ran_s, self.timeout.interrupt(lease))

    def _tell(self, op: str, more: dict[str, Any]) -> None:
        with contextlib.suppress(OSError, Refused):
            self.watch_link.ask(op, {**self.me, **more})

    def _work(self) -> None:
        while True:
            try:
                self._one()
            except Interrupted:
                self.done = None
            except OSError:
                time.sleep(AGAIN_AFTER_S)
            except Refused as refusal:
                self.log.warning("%s", refusal)
                self.link.close()
                time.sleep(AGAIN_AFTER_S)
            except Exception:
                self.log.critical("the work thread has failed", exc_info=True)
                os._exit(70)

    def _one(self) -> None:
        """Tells what was done, takes the next piece, and carries it out."""
        if not self.link.open:
            self.link.ask("hello", {**self.me, "lease": self.done["lease"] if self.done else 0})
            self._first_sign()
        piece = self.link.ask("next", {**self.me, "done": self.done})["piece"]
        self.done = None
        if piece is None:
            return
        lease = piece["lease"]
        failed, result = "", ""
        self.timeout.begin(lease, time.monotonic())
        try:
            result = str(work.execute(piece["intent"]))[:RESULT_CHARS_MAX]
        except Exception as error:
            failed = f"{type(error).__name__}: {error}"[:RESULT_CHARS_MAX]
        if not self.timeout.end(lease):
            while True:  # the interruption is on its way: it is to come here, not in the middle of a message
                pass
        self.done = {"lease": lease, "failed": failed, "result": result}
        if failed:
            self.log.warning("%s", failed)
            time.sleep(AFTER_A_FAILURE_S)

    def _first_sign(self) -> None:
        """To the control plane, once: this worker is at work."""
        if self.heartbeat >= 0:
            with contextlib.suppress(OSError):
                os.write(self.heartbeat, b".")


def run_worker(name: str, config: Config, heartbeat: int) -> None:
    """The life of a worker's process, from its fork to its end."""
    logging.basicConfig(
        filename=config.log_dir / f"{name}.log",
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        level=logging.INFO,
        force=True,
    )
    os.set_blocking(heartbeat, False)
    work.upstream_wait_s = config.thresholds.upstream_wait_s
    Worker(name, config, heartbeat).run()
