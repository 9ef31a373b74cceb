"""The two ledgers that are compared at the end: what the clients sent and were told, and what the target holds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Protocol

from harness.catalog import nearest

LEDGER = "ledger.jsonl"
LEGITIMATE = "legitimate"  # the user whose requests are nobody's attack
PROBE = "probe"  # the harness itself, which asks a route to see that it answers
KINDS = ("intent", "decision", "retrospective", "knowledge")
OUTCOMES = ("accepted", "rejected", "refused", "unanswered")
REJECTIONS = (400, 409, 413, 422)  # the right answers to an invalid request
COMPLETED = "completed"
OVER = (COMPLETED, "failed", "timeout")  # nothing more will become of work in one of these
# kind → the target's ledger that holds it, and the field there that names it
HELD_IN = {
    "intent": ("intents", "intent_id"),
    "retrospective": ("retrospectives", "id"),
    "knowledge": ("knowledge", "id"),
}
KEPT = ("knowledge",)  # ledgers of what is only kept: their rows have no status, and nothing more becomes of them
# kind → where an answer names whom it is for
NAMED_IN = {"intent": "intent_id", "retrospective": "id", "knowledge": "id"}
# path of a POST that changes state → kind
ROUTE_KINDS = {
    "/api/htm/intents": "intent",
    "/api/governance/check": "decision",
    "/api/meta_loop/retrospective": "retrospective",
    "/api/knowledge": "knowledge",
}
ROUTES = {kind: f"POST {path}" for path, kind in ROUTE_KINDS.items()}
AUDIT, REFERENCE = "audit", "reference"
NAMES_MAX = 100  # in a mapping of one row
FEW = 3  # of what is wrong, that are named and cited
NO_LEDGER = "the run kept no ledger of what was sent"


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One state-changing request with its last answer.

    *outcome*: accepted or rejected (4xx) are final; refused = 429 or 503 to the end, so the target has not taken it;
    unanswered = an answer is lost, so the target may hold it or not.
    """

    at_s: float
    user: str
    kind: str
    id: str  # our own; only what has a duplicate_id for its flaw shares it
    valid: bool
    flaw: str
    attempts: int
    outcome: str
    status: int  # of the last answer; 0: there was none
    reference: str = ""  # what the target called its decision or rejection
    question: str = ""  # of a decision: "actor|action|resource"
    answer: str = ""  # to it
    sent: Mapping[str, Any] = field(default_factory=dict)  # field of a valid body → digest of its value
    digest: str = ""  # SHA-256 of the body as sent
    proof: str = ""  # the result that only an execution of this request gives
    actor: str = ""  # these three as an audit entry must name them; "" = not known
    action: str = ""
    resource: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)  # the answer to a question, without its references
    refusals: Mapping[str, Any] = field(default_factory=dict)  # error word → how many answers told to come again
    lost: int = 0  # attempts whose result is not known
    error: str = ""  # the last answer's error word
    begun_s: float | None = None  # when the last attempt was sent
    deferred_for: str = ""  # what the target named with commas as its reason to defer it
    misnamed: int = 0  # 2xx answers that named another request, or none
    work: str = ""  # its kind as a playbook names it, such as "intent.deferrable" (harness/playbook_effects.py)
    line: int = field(default=0, compare=False)  # of ledger.jsonl

    @property
    def attack(self) -> bool:
        return self.user not in (LEGITIMATE, PROBE)

    @property
    def for_another(self) -> int:
        """How many 2xx answers named another request: an answer that was lost has no status."""
        return self.misnamed or int(self.outcome == "unanswered" and 200 <= self.status < 300)

    @property
    def place(self) -> str:
        return f"{LEDGER}:{self.line}"

    @staticmethod
    def from_json(text: str, line: int = 0) -> LedgerRow:
        """Raises ValueError, in words, for what is no row."""
        found = _mapping(text)
        for name in found:
            if name not in _TYPES:
                raise ValueError(f"no field is called {name!r}.{nearest(name, _TYPES)}")
        for name, wanted in _TYPES.items():
            if name not in found:
                if name in _NEEDED:
                    raise ValueError(f"{name} is missing")
                continue
            value = found[name]
            if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
                raise ValueError(f"{name}: {value!r} does not fit")
        row = LedgerRow(**found, line=line)
        for name, known in (("kind", KINDS), ("outcome", OUTCOMES)):
            if getattr(row, name) not in known:
                raise ValueError(f"no {name} is called {getattr(row, name)!r}.{nearest(getattr(row, name), known)}")
        if row.begun_s is not None and not math.isfinite(row.begun_s):
            raise ValueError(f"begun_s: {row.begun_s!r} does not fit")
        if min(row.lost, row.misnamed) < 0 or not all(
            type(count) is int and count > 0 for count in row.refusals.values()
        ):
            raise ValueError("refusals, lost, misnamed: whole numbers are expected")
        if not all(isinstance(digest, str) for digest in row.sent.values()):
            raise ValueError("sent: a digest of each field is expected")
        if max(len(row.sent), len(row.told), len(row.refusals)) > NAMES_MAX:
            raise ValueError(f"sent, told, refusals: at most {NAMES_MAX} names are expected")
        if not math.isfinite(row.at_s) or row.attempts < 0 or not row.id or row.valid is bool(row.flaw):
            raise ValueError("a time, an id, or a flaw of just what is invalid is missing")
        return row


_NOT_TEXTS: dict[str, Any] = {
    "at_s": int | float,
    "valid": bool,
    "attempts": int,
    "status": int,
    "lost": int,
    "misnamed": int,
    "begun_s": int | float,
    "sent": dict,
    "told": dict,
    "refusals": dict,
}
_TYPES = {one.name: _NOT_TEXTS.get(one.name, str) for one in fields(LedgerRow) if one.name != "line"}
_NEEDED = frozenset(one.name for one in fields(LedgerRow) if one.default is MISSING and one.default_factory is MISSING)


@dataclass(frozen=True, kw_only=True)
class HeldRow:
    """A row of what the target finally holds."""

    fields: Mapping[str, Any]
    file: str  # "target/intents.jsonl"
    line: int

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    def text(self, name: str) -> str:
        """A field as text; "" when it is not there."""
        value = self.fields.get(name)
        return "" if value is None else str(value)


class LedgerWriter:
    """Appends rows to ledger.jsonl, flushed by flush()."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[str] = (folder / LEDGER).open("x", encoding="utf-8")

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._file.writelines(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_ledger(folder: Path, torn: list[str]) -> tuple[LedgerRow, ...] | None:
    """The rows of ledger.jsonl; None when there is none. What cannot be read is told in *torn*, and left out."""
    found = []
    content = _content(folder, LEDGER, torn)
    if content is None:
        return None
    for number, text in _lines(content, LEDGER, torn):
        try:
            found.append(LedgerRow.from_json(text, number))
        except ValueError as error:
            torn.append(f"{LEDGER}:{number}: {error}; the row is left out")
    return tuple(found)


def held_file(name: str) -> str:
    return f"target/{name}.jsonl"


def read_held(folder: Path, name: str, torn: list[str]) -> tuple[HeldRow, ...] | None:
    """What the target finally held of *name*; None when nobody has read it."""
    file, found = held_file(name), []
    content = _content(folder, file, torn)
    if content is None:
        return None
    for number, text in _lines(content, file, torn):
        try:
            found.append(HeldRow(fields=_mapping(text), file=file, line=number))
        except ValueError as error:
            torn.append(f"{file}:{number}: {error}; the row is left out")
    return tuple(found)


def awaited(rows: Iterable[LedgerRow]) -> dict[str, set[str]]:
    """What the target's ledgers must come to hold for *rows*: ledger → ids that are completed there, or references.

    What the harness itself asked for is no work of the target's that anybody waits for: only its references count.
    """
    found: dict[str, set[str]] = {AUDIT: set(), **{name: set() for name, _ in HELD_IN.values()}}
    for row in rows:
        if row.outcome == "accepted" and row.kind in HELD_IN and row.user != PROBE:
            found[HELD_IN[row.kind][0]].add(row.id)
        if row.reference:
            found[AUDIT].add(row.reference)
    return found


def maybe_held(rows: Iterable[LedgerRow]) -> dict[str, set[str]]:
    """What the target may hold of *rows* without our knowing it: ledger → ids that must not be left open there."""
    found: dict[str, set[str]] = {name: set() for name, _ in HELD_IN.values()}
    for row in rows:
        if row.outcome == "unanswered" and row.kind in HELD_IN and row.user != PROBE:
            found[HELD_IN[row.kind][0]].add(row.id)
    return found


def _content(folder: Path, file: str, torn: list[str]) -> bytes | None:
    try:
        return (folder / file).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        torn.append(f"{file}: cannot be read: {error.strerror}")
        return None


def _lines(content: bytes, file: str, torn: list[str]) -> Iterator[tuple[int, str]]:
    """(number, text) of each whole line; a process that was killed leaves a last one without its end."""
    *whole, rest = content.split(b"\n")  # no other character ends a line: a text may hold U+2028
    for number, line in enumerate(whole, 1):
        yield number, line.decode(errors="replace")
    if rest:
        torn.append(f"{file}:{len(whole) + 1}: the last line is torn, and left out")


def _mapping(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"a mapping is expected, not {found!r}")
    return found


class Placed(Protocol):
    """A row of a file of the run folder."""

    @property
    def place(self) -> str: ...


class Wrongs:
    """What is wrong with the rows of a ledger, by kind: their number, the first few ids, and where they stand."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.cited: list[str] = []
        self.codes: list[str] = []  # the causes, as they were added

    def add(self, words: str, rows: Sequence[tuple[str, Placed]], code: str = "") -> None:
        """(id, row) of each that is so; none is nothing wrong. *code* names the cause in a finding."""
        if not rows:
            return
        self.codes += [code] if code and code not in self.codes else []
        names = list(dict.fromkeys(name for name, _ in rows))
        more = ", ..." if len(names) > FEW else ""
        self.words.append(f"{len(rows)} {words} ({', '.join(names[:FEW])}{more})")
        self.cited += [row.place for _, row in rows[:FEW]]

    def note(self, code: str, words: str, rows: Sequence[tuple[str, Placed]], also: Sequence[Placed] = ()) -> None:
        """Add as add() does; *also* are rows that show the same from the other side."""
        if rows:
            self.add(words, rows, code)
            self.cited += [row.place for row in also[:FEW]]

    def __bool__(self) -> bool:
        return bool(self.words)

    def __str__(self) -> str:
        return "; ".join(self.words)


def id_prefix(stamp: str) -> str:
    """A short text of its own for each run: the ids that its requests carry begin with it."""
    return "".join(one for one in stamp if one.isdigit())[4:]


def not_read(name: str) -> str:
    return f"what the target finally holds is not known: its ledger {name} could not be read, or it offers none"


def span(rows: Sequence[Placed]) -> tuple[str, ...]:
    """The first and the last of *rows* as evidence."""
    return tuple(dict.fromkeys(row.place for row in (*rows[:1], *rows[-1:])))
