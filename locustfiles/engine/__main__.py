"""`python -m locustfiles.engine URL`: loads one URL, as wrk does, and tells totals, percentiles and what it cost."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent

from harness.hosts import HostRefused
from locustfiles.engine import arrivals
from locustfiles.engine.loop import Engine
from locustfiles.engine.sources import Template, encode

PERCENTS = (50, 75, 90, 99, 99.9, 100)


def parser() -> argparse.ArgumentParser:
    one = argparse.ArgumentParser(prog="python -m locustfiles.engine", description=__doc__)
    add = one.add_argument
    add("url", help="http://HOST[:PORT]/PATH on this machine; {id} in it or in the body becomes a new number each time")
    add("--requests", type=int, metavar="N", help="how many in all")
    add("--seconds", type=float, metavar="S", help="for how long; without both: 10 s")
    add("--connections", type=int, default=100, metavar="N")
    add("--rate", type=float, metavar="R", help="open loop: requests due in a second, whether or not answers come")
    add("--arrivals", choices=arrivals.KINDS, default="constant", help="of an open loop")
    add("--seed", default="0", help="of Poisson arrivals")
    add("--method", help="GET, or POST with a body")
    add("--header", action="append", default=[], metavar="NAME: VALUE")
    add("--body", type=Path, metavar="FILE")
    add("--length", type=int, metavar="BYTES", help="a body of another length is a failure")
    add("--address", action="append", default=[], metavar="IP", help="own address; several are bound round robin")
    add("--timeout", type=float, default=30.0, metavar="S", help="for an answer")
    add("--json", action="store_true", help="one line of JSON")
    return one


def source_of(asked: argparse.Namespace) -> tuple[tuple[str, int], Template]:
    url = urlsplit(asked.url)
    if url.scheme != "http" or not url.hostname:
        raise ValueError(f"{asked.url!r} is no http:// address")
    body = asked.body.read_bytes() if asked.body else b""
    method = asked.method or ("POST" if asked.body else "GET")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = {}
    for line in asked.header:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"--header {line!r} is not NAME: VALUE")
        headers[name] = value.strip()
    request = encode(method, path, url.netloc, body, headers)
    template = Template(f"{method} {url.path or '/'}", request, total=asked.requests, length=asked.length)
    return (url.hostname, url.port or 80), template


def _stop_after(engine: Engine, seconds: float) -> None:
    gevent.sleep(seconds)  # by the clock: gevent.spawn_later counts from when the loop last ran
    engine.stop()


def measure(engine: Engine, seconds: float | None) -> dict[str, Any]:
    before, began = time.process_time(), time.perf_counter()
    timer = gevent.spawn(_stop_after, engine, seconds) if seconds else None
    interrupt = gevent.signal_handler(signal.SIGINT, engine.stop)
    engine.run()
    interrupt.cancel()
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - before
    if timer is not None:
        timer.kill(block=False)
    counts = engine.counts
    total = sum(counts.totals.values())
    return {
        "requests": total,
        "outcomes": {
            outcome: sum(n for key, n in counts.totals.items() if key[1] == outcome)
            for outcome in sorted({key[1] for key in counts.totals})
        },
        "statuses": {
            str(status): sum(n for key, n in counts.totals.items() if key[2] == status)
            for status in sorted({key[2] for key in counts.totals})
        },
        "errors": {why: count for (_, why), count in sorted(counts.errors.items())},
        "body_bytes": counts.bytes,
        "seconds": round(took_s, 3),
        "requests_per_s": round(total / took_s, 1),
        "cpu_s": round(cpu_s, 3),
        "cpu_s_per_10000": round(cpu_s / total * 10_000, 4) if total else None,
        "latency_us": {"mean": round(counts.histogram().mean_us), **counts.histogram().percentiles(PERCENTS)},
        "send_lag_us": engine.send_lag.percentiles(PERCENTS) if engine.send_lag.total else {},
        **engine.facts,
    }


def told(result: dict[str, Any]) -> str:
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            value = "  ".join(f"{key} {one}" for key, one in value.items()) or "-"
        lines.append(f"{name:>16}  {value}")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> int:
    """0 when all was ok, 1 when something else was answered, 2 when it could not be asked so."""
    asked = parser().parse_args(words)
    try:
        address, source = source_of(asked)
        due = arrivals.named(asked.arrivals, asked.rate, asked.seed) if asked.rate else None
        engine = Engine(
            address,
            source,
            connections=asked.connections,
            source_addresses=asked.address,
            arrivals=due,
            answer_timeout_s=asked.timeout,
        )
    except (ValueError, HostRefused, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    seconds = asked.seconds or (None if asked.requests else 10.0)
    result = measure(engine, seconds)
    sys.stdout.write(f"{json.dumps(result) if asked.json else told(result)}\n")
    return 0 if result["outcomes"].get("ok", 0) == result["requests"] else 1


if __name__ == "__main__":
    sys.exit(main())
