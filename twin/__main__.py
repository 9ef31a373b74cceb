"""Starts an embedded Grace in the foreground: python -m twin --dir DIR."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import fcntl
import os
import socket
import sys
from pathlib import Path

from twin.bus.keys import make_keys
from twin.config import Config, ConfigError, load_config
from twin.first_start import lay_out
from twin.http.outsiders import make_token
from twin.links import check_length
from twin.manifest import write_manifest
from twin.supervisor import Supervisor
from twin.zygote import start_zygote

CANNOT = 3  # the exit code where this machine, as it is now, cannot hold a twin


def free_port() -> int:
    """A port that nobody listens on now; kernels keep it over their restarts. Raises OSError."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError as error:
            raise OSError(error.errno, f"no port is free: {error.strerror}") from None
        port: int = probe.getsockname()[1]
        return port


def prepare(config: Config) -> int:
    """Makes the folders and takes the lock; the lock's descriptor. Raises ConfigError when a twin lives there."""
    for folder in (config.run_dir, config.state_dir, config.audit_dir, config.log_dir, config.snapshot_dir):
        folder.mkdir(parents=True, exist_ok=True)
    config.run_dir.chmod(0o700)
    lock = os.open(config.run_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = (config.run_dir / "supervisor.pid").read_text().strip()
        raise ConfigError(f"{config.dir}: a twin already runs here (pid {pid})") from None
    (config.run_dir / "supervisor.pid").write_text(f"{os.getpid()}\n")
    (config.dir / "target.yaml").unlink(missing_ok=True)
    return lock


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m twin", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="its folder: state, logs, keys, target.yaml")
    parser.add_argument("--port", type=int, default=0, help="of the HTTP API; 0 = a free one")
    parser.add_argument("--audit-dir", type=Path, help="of the immutable log; DIR/audit if not given")
    parser.add_argument("--config", type=Path, help="YAML: safeguards, thresholds, defects")
    parser.add_argument("--safeguards-off", default="", metavar="NAME,...")
    parser.add_argument("--plant", default="", metavar="NAME,...", help="defects on purpose, to try a tester on")
    parser.add_argument("--until-stdin-closes", action="store_true", help="stop when standard input ends")
    parser.add_argument("--on-paper", action="store_true", help="lay DIR out, write target.yaml and end: nothing runs")
    options = parser.parse_args()
    switched_off = [name for name in options.safeguards_off.split(",") if name]
    planted = [name for name in options.plant.split(",") if name]
    try:
        config = load_config(options.dir.resolve(), options.config, options.port, switched_off, planted)
        if not options.on_paper:
            check_length(config)
        config = dataclasses.replace(config, http_port=config.http_port or free_port(), bus_port=free_port())
        config = dataclasses.replace(config, audit=options.audit_dir and options.audit_dir.resolve())
        prepare(config)
        lay_out(config)
    except ConfigError as error:
        print(f"twin: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"twin: {where}{error.strerror or error}", file=sys.stderr)
        return CANNOT
    if options.on_paper:
        keys = make_keys(config.run_dir / "keys.json")
        write_manifest(config, keys, make_token(config.run_dir), on_paper=True)
        return 0
    try:
        link, pid = start_zygote(config)
    except OSError as error:
        print(f"twin: no process could be forked: {error.strerror or error}", file=sys.stderr)
        return CANNOT
    return asyncio.run(Supervisor(config, link, pid, options.until_stdin_closes).run())


if __name__ == "__main__":
    sys.exit(main())
