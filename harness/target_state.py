"""Reader of a target's state: knowledge, files, snapshot keys and answers, kept as state/NAME.json in the run folder.

A file is a JSON list with one row a line, so that each row can be cited. The first row says when it was read and how
much of what was found; a part that could not be read has a row `problem` and is never compared.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.contracts import BehaviourQuestion, LedgerPage, Target
from harness.loopback import Client, encoded
from harness.observers.file_hashes import FILE_BYTES_MAX, FILES_MAX, SEALS, sealed_keys
from harness.read_back import NotRead, pages_of
from harness.states import AFTER, BEFORE, FILES, SNAPSHOT, canonical, state_file

KNOWLEDGE = "knowledge"
FIELDS = ("category", "content", "source", "confidence", "tags")  # of a piece of knowledge: what must not change
LIMIT_S = 40.0  # for the whole state
KNOWLEDGE_S = 20.0
ENTRIES_MAX = 200_000
KNOWLEDGE_BYTES_MAX = 256 << 20
ANSWER_BYTES_MAX = 64 << 10
COUNTS_BYTES_MAX = 256 << 10
ASK_LIMIT_S = 2.0
TRIES = 3  # a question that a busy target does not answer is asked again
PAUSE_S = 0.5
UNANSWERED = (429, 502, 503, 504)  # the target says nothing of its state yet
Row = dict[str, Any]

__all__ = ["AFTER", "BEFORE", "give_up", "questions_of", "take_state"]


class NotTaken(Exception):
    """A part of the state that could not be read; the text says why."""


@dataclass
class _Taker:
    """One reading of the state."""

    target: Target
    now_s: Callable[[], float]
    pause: Callable[[float], None]
    stopped: Callable[[], bool]
    end_s: float
    asked: Callable[[Mapping[str, Any]], None]  # is called with each request that was sent: see probe_rows.py
    rows: list[Row] = field(default_factory=list)

    def check(self) -> None:
        if self.stopped():
            raise NotTaken("it was interrupted")
        if self.now_s() >= self.end_s:
            raise NotTaken(f"its time was up: {LIMIT_S:g} s")

    def read(self, part: str, work: Callable[[], Iterable[Row]]) -> bool:
        """Add the rows of *work*, all or none; what goes wrong with it becomes a row of its own."""
        try:
            self.check()
            self.rows += list(work())
        except Exception as error:  # whatever it is, the other parts are read all the same
            known = isinstance(error, NotTaken | NotRead | OSError)
            because = str(error) if known and str(error) else f"{type(error).__name__}: {error}"
            self.rows.append({"what": "problem", "part": part, "because": because})
            return False
        return True

    def client(self, timeout_s: float = ASK_LIMIT_S) -> Client:
        return Client(self.target.base_url, timeout_s=timeout_s, permitted=self.target.permitted)


def take_state(
    target: Target,
    folder: Path,
    name: str,
    now_s: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    stopped: Callable[[], bool] = lambda: False,
    asked: Callable[[Mapping[str, Any]], None] = lambda request: None,
) -> None:
    """Read the target's state and write it as state/NAME.json below *folder*; *now_s* is the clock of its times.

    *asked* gets each question with its answer, as an observer yields its own requests.
    """
    began_s = now_s()
    taker = _Taker(target, now_s, pause, stopped, began_s + LIMIT_S, asked)
    _knowledge(taker)
    for place in FILES:
        if place in target.paths:
            taker.read(place, partial(_files, place, target.paths[place]))
    if SNAPSHOT in target.paths:
        taker.read(SNAPSHOT, partial(_keys, target.paths[SNAPSHOT]))
    _answers(taker)
    _write(folder, name, began_s, now_s(), taker.rows)


def give_up(folder: Path, name: str, at_s: float, because: str) -> None:
    """Write a state that says only why it was not taken."""
    _write(folder, name, at_s, at_s, [{"what": "problem", "part": "all", "because": because}])


def _write(folder: Path, name: str, began_s: float, ended_s: float, rows: list[Row]) -> None:
    """At one stroke: a reading that is cut off leaves no file."""
    path = folder / state_file(name)
    path.parent.mkdir(exist_ok=True)
    found: dict[str, int] = {}
    for row in rows:
        found[row["what"]] = found.get(row["what"], 0) + 1
    head = {"what": "taken", "began_s": round(began_s, 4), "ended_s": round(ended_s, 4), "found": found}
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        file.write("[\n")
        file.write(",\n".join(_line(row) for row in (head, *rows)))
        file.write("\n]\n")
    part.rename(path)


def _line(row: Mapping[str, Any]) -> str:
    """One line of JSON; a half of a character, which a target may send, becomes "?"."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace").decode()


# Knowledge


def _knowledge(taker: _Taker) -> None:
    """The ledger of knowledge, between two askings of the questions that count its rows."""
    page = taker.target.ledgers.get(KNOWLEDGE)
    if page is None:
        return
    least: dict[tuple[str, str], int] = {}
    for one in taker.target.behaviour:
        for name in (name for name, ledger in one.counts.items() if ledger == KNOWLEDGE):
            taker.read(one.name, partial(_count, taker, one, name, least))
    before = len(taker.rows)
    if not taker.read(KNOWLEDGE, partial(_pieces, taker, page)):
        return
    held = len(taker.rows) - before
    for one in taker.target.behaviour:
        for name in (name for name in one.counts if (one.name, name) in least):
            taker.read(one.name, partial(_count_again, taker, one, name, least[(one.name, name)], held))


def _count(taker: _Taker, one: BehaviourQuestion, name: str, least: dict[tuple[str, str], int]) -> Iterable[Row]:
    least[(one.name, name)] = _told(taker, one, name)
    return ()


def _count_again(taker: _Taker, one: BehaviourQuestion, name: str, least: int, held: int) -> Iterable[Row]:
    told = {"least": least, "most": _told(taker, one, name), "rows": held}
    return [{"what": "count", "name": one.name, "field": name, "ledger": KNOWLEDGE, **told}]


def _pieces(taker: _Taker, page: LedgerPage) -> Iterable[Row]:
    end_s = min(taker.end_s, taker.now_s() + KNOWLEDGE_S)
    client, number, size = taker.client(timeout_s=5.0), 0, 0
    try:
        for rows in pages_of(client, KNOWLEDGE, page, end_s, taker.now_s, taker.pause):
            for row in rows:
                number += 1
                text = canonical([row.get(name) for name in FIELDS])
                size += len(text)
                if not isinstance(row.get("id"), str | int):
                    raise NotTaken(f"row {number} of the ledger has no id")
                yield {"what": "knowledge", "id": str(row["id"]), "sha256": _sha256(text)}
            if number > ENTRIES_MAX or size > KNOWLEDGE_BYTES_MAX:
                limits = f"{ENTRIES_MAX} entries and {KNOWLEDGE_BYTES_MAX >> 20} MiB are the limit"
                raise NotTaken(f"it holds more than {number - 1} entries; {limits}")
            taker.check()
    finally:
        client.close()


# Files


def _files(place: str, base: Path) -> Iterable[Row]:
    """The plain files of a folder, or the file itself; bytes "" of one that is gone."""
    if base.is_dir():
        paths = sorted(path for path in base.iterdir() if not path.name.startswith("."))
        if len(paths) > FILES_MAX:
            raise NotTaken(f"{base} has {len(paths)} files; {FILES_MAX} are the limit")
        paths = [path for path in paths if not path.is_dir()]
    else:
        paths = [base]
    return [_file(place, path, _plain_bytes(path)) for path in paths]


def _file(place: str, path: Path, data: bytes | None) -> Row:
    sha256 = "" if data is None else hashlib.sha256(data).hexdigest()
    return {"what": "file", "place": place, "path": str(path), "sha256": sha256, "bytes": len(data or b"")}


def _plain_bytes(path: Path) -> bytes | None:
    """The bytes of *path*; None when it is not there. Raises NotTaken for anything but a plain file of a usual size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise NotTaken(f"{path} cannot be read: {error.strerror}") from None
    with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotTaken(f"{path} is no plain file")
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise NotTaken(f"{path} has more than {FILE_BYTES_MAX} bytes")
    return data


def _keys(path: Path) -> list[Row]:
    """The snapshot as a file, and each of its sealed keys; a snapshot without any has no row of a key."""
    data = _plain_bytes(path)
    rows = [_file(SNAPSHOT, path, data)]
    worth = sealed_keys(data) if data is not None else {}
    document = json.loads(data) if data is not None and worth else {}
    for key, one in worth.items():
        if key not in document or key == SEALS:
            continue
        value = document[key]
        row = {"what": "key", "place": SNAPSHOT, "key": key, "sha256": _sha256(canonical(value)), **one}
        rows.append({**row, "counts": _small_counts(key, value)})
    return rows


def _small_counts(key: str, value: Any) -> dict[str, float] | None:
    found = counts_of(value)
    if found is not None and len(canonical(found)) > COUNTS_BYTES_MAX:
        raise NotTaken(f"the counts of {key} have more than {COUNTS_BYTES_MAX} bytes")
    return found


def counts_of(value: Any, name: str = "") -> dict[str, float] | None:
    """{dotted name: number} of a number or of a mapping that holds numbers alone; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return {name: value}
    if not isinstance(value, dict):
        return None
    found: dict[str, float] = {}
    for key, one in value.items():
        inner = counts_of(one, f"{name}.{key}" if name else str(key))
        if inner is None:
            return None
        found |= inner
    return found


# Answers


def questions_of(target: Target) -> list[BehaviourQuestion]:
    """The manifest's `behaviour`, and its `models` whose answers are always the same."""
    asked = {(one.method, one.path, canonical(one.body)) for one in target.behaviour}
    models = [
        BehaviourQuestion(name=f"model {name}", method=one.method, path=one.path, body=one.body)
        for name, one in target.models.items()
        if not one.fields and (one.method, one.path, canonical(one.body)) not in asked
    ]
    return [*target.behaviour, *models]


def _answers(taker: _Taker) -> None:
    client = taker.client()
    try:
        for one in questions_of(taker.target):
            taker.read(one.name, partial(_answer, taker, client, one))
    finally:
        client.close()


def _answer(taker: _Taker, client: Client, one: BehaviourQuestion) -> Iterable[Row]:
    status, content = _ask(taker, client, one)
    answer = without(content, (*one.ignore, *one.counts))
    if len(canonical(answer)) > ANSWER_BYTES_MAX:
        raise NotTaken(f"its answer has more than {ANSWER_BYTES_MAX} bytes")
    body = b"" if one.body is None else encoded(one.body)
    asked = {"method": one.method, "path": one.path, "body_sha256": hashlib.sha256(body).hexdigest()}
    return [{"what": "answer", "name": one.name, **asked, "status": status, "answer": answer}]


def _ask(taker: _Taker, client: Client, one: BehaviourQuestion) -> tuple[int, Any]:
    """(status, JSON), or the hash of a body that is none. Raises NotTaken when no answer comes in TRIES."""
    why = ""
    for left in reversed(range(TRIES)):
        taker.check()
        begun_s, status, body = taker.now_s(), 0, b""
        headers: Mapping[str, str] = {}
        try:
            status, headers, body = client.send(one.method, one.path, one.body)
        except (OSError, http.client.HTTPException) as error:
            why = f"{one.method} {one.path}: {error or type(error).__name__}"
        finally:
            later = "Retry-After" in {name.title() for name in headers}
            request = {"method": one.method, "path": one.path, "data": b"" if one.body is None else encoded(one.body)}
            taker.asked({**request, "status": status, "retry_after": later, "content": body, "begun_s": begun_s})
        if status:
            if status not in UNANSWERED:
                return status, _content(body)
            why = f"{one.method} {one.path} answers {status}"
        if left:
            taker.pause(PAUSE_S)
    raise NotTaken(why)


def _content(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return {"body_sha256": hashlib.sha256(body).hexdigest()}


def _told(taker: _Taker, one: BehaviourQuestion, name: str) -> int:
    """The count in the field *name* of an answer."""
    client = taker.client()
    try:
        status, value = _ask(taker, client, one)
    finally:
        client.close()
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise NotTaken(f"{one.method} {one.path} answers {status}, and {name} is no count")
    return value


def without(content: Any, names: Iterable[str]) -> Any:
    """*content* without the dotted fields *names*; lists on the way are walked through."""
    for name in names:
        content = _without(content, name.split("."))
    return content


def _without(content: Any, keys: list[str]) -> Any:
    if isinstance(content, list):
        return [_without(one, keys) for one in content]
    if not isinstance(content, dict) or keys[0] not in content:
        return content
    if len(keys) == 1:
        return {key: value for key, value in content.items() if key != keys[0]}
    return {**content, keys[0]: _without(content[keys[0]], keys[1:])}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
