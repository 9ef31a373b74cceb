"""The tools of the load benchmark: how each is told to POST so many intents, and what it says afterwards."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load_server import ANSWER, BODY_HEAD, BODY_TAIL, ID_DIGITS, body

KIND = "application/json"
LUA = Path(__file__).with_name("load_wrk.lua")
USERS = Path(__file__).with_name("load_users.py")
OURS_FILE = Path(__file__).with_name("load_ours.py")


class Unreadable(Exception):
    """A tool has said something else than its parser knows; the text is what it said."""


@dataclass(frozen=True)
class Said:
    """What a tool told of its run. *good*: answers of 200; *other*: all the rest, unanswered requests too.

    *content_bytes*: of all bodies, None when it does not tell; *received_bytes*: with the heads, likewise. *steady_s*:
    CPU from the first request to the last answer, where the tool can tell it apart from its start.
    """

    good: int
    other: int
    seconds: float
    content_bytes: int | None = None
    received_bytes: int | None = None
    steady_s: float | None = None
    lag_ms_p99: float | None = None
    p99_ms: float | None = None


def only(pattern: str, text: str) -> tuple[str, ...]:
    """The groups of the first match. Raises Unreadable."""
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise Unreadable(f"nothing like {pattern!r} in: {text.strip()[-400:]}")
    return found.groups()


def last_json(text: str) -> dict[str, Any]:
    """The last line that is a JSON object. Raises Unreadable."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                row: dict[str, Any] = json.loads(line)
                return row
            except ValueError:
                break
    raise Unreadable(f"no line of JSON in: {text.strip()[-400:]}")


def parse_wrk(text: str) -> Said:
    row = last_json(text)
    requests, other = int(row["requests"]), int(row["status"]) + int(row["socket"])
    if "answered" in row:  # a count of its own, by the script's response()
        other = max(other, requests - int(row["answered"]))
    return Said(
        good=requests - int(row["status"]) if "answered" not in row else int(row["answered"]),
        other=other,
        seconds=row["duration_us"] / 1e6,
        content_bytes=int(row["length"]) if "length" in row else None,
        received_bytes=int(row["bytes"]),
        p99_ms=row["p99_us"] / 1e3,
    )


def parse_hey(text: str) -> Said:
    seconds = float(only(r"^\s*Total:\s+([\d.]+) secs", text)[0])
    statuses = {int(code): int(many) for code, many in re.findall(r"^\s+\[(\d{3})\]\s+(\d+) responses", text, re.M)}
    if not statuses and "Status code distribution" not in text:
        raise Unreadable(text.strip()[-400:])
    _, _, errors = text.partition("Error distribution:")
    lost = sum(int(many) for many in re.findall(r"^\s+\[(\d+)\]\s", errors, re.M))
    slowest = re.search(r"^\s*99% in ([\d.]+) secs", text, re.M)
    sizes = re.search(r"^\s*Total data:\s+(\d+) bytes", text, re.M)
    good = statuses.get(200, 0)
    return Said(
        good=good,
        other=sum(statuses.values()) - good + lost,
        seconds=seconds,
        content_bytes=int(sizes[1]) if sizes else 0,
        p99_ms=1000 * float(slowest[1]) if slowest else None,
    )


SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def parse_h2load(text: str) -> Said:
    took, unit = only(r"^finished in ([\d.]+)(us|ms|s),", text)
    total, succeeded = only(r"^requests: (\d+) total, .* (\d+) succeeded", text)
    (fine,) = only(r"^status codes: (\d+) 2xx", text)
    (data,) = only(r"\((\d+)\) data$", text)
    good = min(int(succeeded), int(fine))
    return Said(good, int(total) - good, float(took) * SECONDS[unit], content_bytes=int(data))


def parse_ab(text: str) -> Said:
    complete = int(only(r"^Complete requests:\s+(\d+)", text)[0])
    failed = int(only(r"^Failed requests:\s+(\d+)", text)[0])
    strange = re.search(r"^Non-2xx responses:\s+(\d+)", text, re.M)
    other = failed + (int(strange[1]) if strange else 0)
    return Said(
        good=complete - other,
        other=other,
        seconds=float(only(r"^Time taken for tests:\s+([\d.]+) seconds", text)[0]),
        content_bytes=int(only(r"^HTML transferred:\s+(\d+) bytes", text)[0]),
    )


def parse_locust(text: str) -> Said:
    """The line that load_users.py prints: Locust's own totals, and what was read at the first and the last request."""
    row = last_json(text)
    return Said(
        good=int(row["requests"] - row["failures"]),
        other=int(row["failures"]),
        seconds=row["seconds"],
        content_bytes=int(row["bytes"]),
        steady_s=row["cpu_s"],
        lag_ms_p99=row["lag_ms_p99"],
        p99_ms=row.get("p99_ms"),
    )


def parse_engine(text: str) -> Said:
    """The JSON of python -m locustfiles.engine."""
    row = last_json(text)
    good = int(row["statuses"].get("200", 0))
    good = min(good, int(row["outcomes"].get("ok", 0)))
    return Said(
        good=good,
        other=int(row["requests"]) - good,
        seconds=row["seconds"],
        content_bytes=int(row["body_bytes"]),
        steady_s=row["cpu_s"],
        p99_ms=row["latency_us"].get("p99", 0) / 1e3,
    )


@dataclass(frozen=True)
class Tool:
    """*exact*: it stops after so many requests; else after so many seconds, and what was in flight is not counted.

    *unique*: each of its bodies has an id of its own. *pilot*: requests of the run that only finds out its speed.
    """

    name: str
    command: Callable[[str, Path, int, float], Sequence[str]]  # (url, folder, requests, seconds)
    parse: Callable[[str], Said]
    exact: bool = True
    unique: bool = False
    open_loop: bool = False
    pilot: int = 60_000


CONNECTIONS = 100


def wrk(form: str) -> Callable[[str, Path, int, float], Sequence[str]]:
    def command(url: str, folder: Path, requests: int, seconds: float) -> Sequence[str]:
        given = ("--", form, BODY_HEAD, BODY_TAIL, str(ID_DIGITS))
        return ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(LUA), url, *given)

    return command


def body_file(folder: Path) -> str:
    path = folder / "body.json"
    path.write_bytes(body(0))
    return str(path)


def hey(url: str, folder: Path, requests: int, seconds: float, *more: str) -> Sequence[str]:
    many = ("-n", str(requests), "-c", str(CONNECTIONS))
    return ("hey", *many, *more, "-m", "POST", "-T", KIND, "-D", body_file(folder), url)


def h2load(url: str, folder: Path, requests: int, seconds: float) -> Sequence[str]:
    many = ("-n", str(requests), "-c", str(CONNECTIONS), "-t", "1")
    return ("h2load", "--h1", *many, "-d", body_file(folder), "-H", f"content-type: {KIND}", url)


def ab(url: str, folder: Path, requests: int, seconds: float) -> Sequence[str]:
    return ("ab", "-k", "-q", "-n", str(requests), "-c", str(CONNECTIONS), "-p", body_file(folder), "-T", KIND, url)


def locust(file: Path, user: str, users: int, *more: str) -> Callable[[str, Path, int, float], Sequence[str]]:
    def command(url: str, folder: Path, requests: int, seconds: float) -> Sequence[str]:
        host, slash, path = url.partition("/api/")
        how = ("--headless", "--only-summary", "--users", str(users), "--spawn-rate", str(users), "--host", host)
        what = ("--bench-path", slash + path, "--bench-requests", str(requests), *more)
        return (sys.executable, "-m", "locust", "-f", str(file), *how, *what, user)

    return command


def engine(url: str, folder: Path, requests: int, seconds: float) -> Sequence[str]:
    text = folder / "template.json"
    text.write_text(BODY_HEAD + "{id}" + BODY_TAIL, encoding="utf-8")
    what = ("--requests", str(requests), "--connections", str(CONNECTIONS), "--length", str(len(ANSWER)))
    sent = ("--body", str(text), "--header", f"Content-Type: {KIND}")
    return (sys.executable, "-m", "locustfiles.engine", url, *what, *sent, "--json")


def at_rate(per_s: int) -> Tool:
    """Ours as an open loop."""
    command = locust(OURS_FILE, "Flood", 1, "--bench-rate", str(per_s))
    return Tool(f"ours, {per_s:,}/s due", command, parse_locust, unique=True, open_loop=True)


def hey_at_rate(per_s: int) -> Tool:
    """hey with a limit for each of its workers, which wait for their answers."""
    each = ("-q", f"{per_s / CONNECTIONS:g}")

    def command(url: str, folder: Path, requests: int, seconds: float) -> Sequence[str]:
        return hey(url, folder, requests, seconds, *each)

    return Tool(f"hey, {per_s:,}/s at the most", command, parse_hey)


OURS = Tool("ours", locust(OURS_FILE, "Flood", 1), parse_locust, unique=True)
ENGINE = Tool("ours, without Locust", engine, parse_engine, unique=True)
GREEN = Tool(
    "ours, a greenlet a user", locust(OURS_FILE, "Green", CONNECTIONS), parse_locust, unique=True, pilot=10_000
)
FAST = Tool("FastHttpUser", locust(USERS, "FastPeer", CONNECTIONS), parse_locust, unique=True, pilot=3_000)
PLAIN = Tool("HttpUser", locust(USERS, "PlainPeer", CONNECTIONS), parse_locust, unique=True, pilot=1_000)
WRK_UNIQUE = Tool("wrk, unique ids", wrk("unique"), parse_wrk, exact=False, unique=True)
WRK = Tool("wrk", wrk("plain"), parse_wrk, exact=False)
TOOLS = (
    OURS,
    ENGINE,
    GREEN,
    FAST,
    PLAIN,
    WRK_UNIQUE,
    Tool("wrk, unique ids, each answer looked at", wrk("checked"), parse_wrk, exact=False, unique=True),
    WRK,
    Tool("hey", hey, parse_hey, pilot=20_000),
    Tool("h2load --h1", h2load, parse_h2load),
    Tool("ab -k", ab, parse_ab),
)
AT_TWIN = Tool("ours", locust(OURS_FILE, "Intents", 1), parse_locust, unique=True)
PROGRAMS = ("nginx", "wrk", "hey", "h2load", "ab", "taskset")


def wrong(tool: Tool, said: Said, asked: int, served: int) -> tuple[str, ...]:
    """Where a run was not what the table says that it is, in words. *served*: the requests by the server's count."""
    found = []
    if said.other or not said.good:
        found.append(f"{said.other} of {said.good + said.other} requests were not answered by 200")
    if tool.exact and said.good + said.other != asked:
        found.append(f"it was asked for {asked} requests and tells of {said.good + said.other}")
    unseen = served - said.good - said.other
    if not 0 <= unseen <= (0 if tool.exact else CONNECTIONS):
        found.append(f"it tells of {said.good + said.other} requests, the server of {served}")
    if said.content_bytes is not None and said.content_bytes != said.good * len(ANSWER):
        found.append(f"the answers' bodies are {said.content_bytes} bytes, not {said.good} of {len(ANSWER)}")
    return tuple(found)
