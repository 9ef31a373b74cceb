"""A small service that is no Grace: an API process and two workers under supervisord, without signals or ledgers."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.processes import ROOT, pids_with, wait_for

WORKERS = {
    "library": ("GET /api/knowledge",),
    "planner": ("POST /api/htm/intents", "POST /api/meta_loop/retrospective"),
}
CONF = """\
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
"""
PROGRAM = """
[program:{name}]
command={python} -m tests.service.{module} {arguments}
directory={root}
autostart=true
autorestart={autorestart}
startsecs=0
startretries=100
stdout_logfile={folder}/{name}.log
redirect_stderr=true
"""


def manifest(folder: Path, port: int) -> dict[str, Any]:
    """What an operator would write for it by hand."""
    names = ("api", *WORKERS)
    routes: list[dict[str, Any]] = [
        {"name": "GET /health", "path": "/health", "kernels": ["api"], "witness_of": "api"},
        {"name": "GET /api/knowledge", "path": "/api/knowledge?q=x", "kernels": ["api", "library"]},
        {"name": "POST /api/chat", "path": "/api/chat", "kernels": ["api"]},
        {"name": "POST /api/governance/check", "path": "/api/governance/check", "kernels": ["api"]},
        {"name": "POST /api/htm/intents", "path": "/api/htm/intents", "kernels": ["api", "planner"]},
        {
            "name": "POST /api/meta_loop/retrospective",
            "path": "/api/meta_loop/retrospective",
            "kernels": ["api", "planner"],
            "body": {"retro_id": "probe", "subject": "probe", "events": ["a"]},
            "witness_of": "planner",
        },
    ]
    routes[1]["witness_of"] = "library"
    return {
        "schema": "grace-target/1",
        "name": "small-service",
        "base_url": f"http://127.0.0.1:{port}",
        "processes": {name: {"pid_file": f"{folder}/{name}.pid"} for name in names},
        "routes": [{**one, "method": one["name"].split(" ")[0]} for one in routes],
    }


@contextlib.contextmanager
def running(folder: Path, restarts: bool = True) -> Iterator[Path]:
    """The service below *folder*, ready; yields its manifest. *restarts*: its supervisor replaces what has died."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    conf = CONF.format(folder=folder)
    for name in ("api", *WORKERS):
        module, more = ("api", str(port)) if name == "api" else ("worker", name)
        conf += PROGRAM.format(
            name=name,
            module=module,
            arguments=f"{folder} {more}",
            python=sys.executable,
            root=ROOT,
            folder=folder,
            autorestart="true" if restarts else "false",
        )
    (folder / "supervisord.conf").write_text(conf)
    (folder / "target.yaml").write_text(yaml.safe_dump(manifest(folder, port), sort_keys=False))
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(folder / "supervisord.conf")]
    supervisor = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(
            lambda: all((folder / f"{one}.pid").exists() for one in ("api", *WORKERS)), 20.0, "the service's start"
        )
        yield folder / "target.yaml"
    finally:
        supervisor.terminate()
        supervisor.wait(timeout=30)
        wait_for(lambda: not pids_with(str(folder)), 5.0, "an end without orphans")
