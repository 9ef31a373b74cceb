"""Two readings of a target's state, as the run folder keeps them, and what differs between them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEFORE, AFTER = "before", "after"
FILES = ("models", "config")  # names of the manifest's paths whose files are compared byte for byte
SNAPSHOT = "state_snapshot"  # compared key by key
STATE_BYTES_MAX = 128 << 20
FEW = 3  # of what differs, that are named and cited
KINDS = {"taken", "knowledge", "file", "key", "answer", "count", "problem"}


def state_file(name: str) -> str:
    return f"state/{name}.json"


def canonical(value: Any) -> str:
    """A value as JSON with sorted keys and no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class StateRow:
    """One row of a state file."""

    fields: Mapping[str, Any]
    place: str  # "state/before.json:7"

    @property
    def sha256(self) -> str:
        return str(self.fields.get("sha256", ""))

    def text(self, name: str) -> str:
        return str(self.fields.get(name, ""))


@dataclass(frozen=True)
class State:
    """One reading: its first row, and the others by what they are."""

    head: StateRow
    rows: Mapping[str, tuple[StateRow, ...]]

    def of(self, what: str) -> tuple[StateRow, ...]:
        return self.rows.get(what, ())

    @property
    def ended_s(self) -> float:
        return float(self.head.fields["ended_s"])

    def problem(self, *parts: str) -> StateRow | None:
        """The row that says why one of *parts*, or all of the state, was not read."""
        return next((row for row in self.of("problem") if row.text("part") in (*parts, "all")), None)


def read_state(folder: Path, name: str, torn: list[str]) -> State | None:
    """state/NAME.json; None when it is not there. What cannot be read is told in *torn*, and then it is None too."""
    file = state_file(name)
    try:
        if (folder / file).stat().st_size > STATE_BYTES_MAX:
            torn.append(f"{file}: has more than {STATE_BYTES_MAX} bytes")
            return None
        text = (folder / file).read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        torn.append(f"{file}: cannot be read: {error}")
        return None
    lines = text.split("\n")
    if lines[0] != "[" or lines[-2:] != ["]", ""]:
        torn.append(f"{file}:{len(lines)}: is no list of rows, each on a line")
        return None
    rows: dict[str, list[StateRow]] = {}
    for number, line in enumerate(lines[1:-2], 2):
        try:
            fields = json.loads(line.removesuffix(","))
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict) or fields.get("what") not in KINDS:
            torn.append(f"{file}:{number}: is no row of a state")
            return None
        rows.setdefault(fields["what"], []).append(StateRow(fields, f"{file}:{number}"))
    head = rows.get("taken", [])
    if len(head) != 1 or not isinstance(head[0].fields.get("ended_s"), int | float):
        torn.append(f"{file}: does not say when it was read")
        return None
    return State(head[0], {what: tuple(found) for what, found in rows.items()})


@dataclass(frozen=True)
class Difference:
    """What is wrong between two states: a stable *code*, words, and the rows that show it."""

    code: str
    because: str
    evidence: tuple[str, ...]


def differences(before: State, after: State, given_back: Collection[str] = ()) -> list[Difference]:
    """All that *after* has lost or changed of *before*.

    *given_back*: paths of files that the harness itself put back; their bytes say nothing of the target.
    """
    return [
        *_knowledge(before, after),
        *_files(before, after, given_back),
        *_snapshot(before, after, given_back),
        *_counts(after),
        *_answers(before, after),
    ]


def _readable(before: State, after: State, *parts: str) -> bool:
    return before.problem(*parts) is None and after.problem(*parts) is None


def _knowledge(before: State, after: State) -> Iterable[Difference]:
    if not _readable(before, after, "knowledge"):
        return
    there = {row.text("id"): row for row in reversed(after.of("knowledge"))}
    lost = [row for row in before.of("knowledge") if row.text("id") not in there]
    yield from _several("knowledge_lost", "pieces of knowledge are gone", lost, _ids, (after.head.place,))
    both = [(row, there[row.text("id")]) for row in before.of("knowledge") if row.text("id") in there]
    other = [pair for pair in both if pair[0].sha256 != pair[1].sha256]
    yield from _pairs("knowledge_changed", "pieces of knowledge have other content", other, _ids)
    times = Counter(row.text("id") for row in after.of("knowledge"))
    first = Counter(row.text("id") for row in before.of("knowledge"))
    doubled = {name for name, count in times.items() if count > max(1, first[name])}
    twice = [row for row in after.of("knowledge") if row.text("id") in doubled]
    yield from _several("knowledge_doubled", "rows of knowledge share an id", twice, _ids)


def _ids(row: StateRow) -> str:
    return row.text("id")


def _files(before: State, after: State, given_back: Collection[str]) -> Iterable[Difference]:
    for place, code in zip(FILES, ("model_changed", "config_changed"), strict=True):
        if not _readable(before, after, place):
            continue
        now = {row.text("path"): row for row in after.of("file") if row.text("place") == place}
        for row in before.of("file"):
            path = row.text("path")
            if row.text("place") != place or path in given_back:
                continue
            found = now.get(path)
            if found is None or found.sha256 != row.sha256:
                is_now = found.sha256[:12] if found is not None and found.sha256 else "gone"
                because = f"{path.rpartition('/')[2]} was {row.sha256[:12] or 'gone'} and is {is_now}"
                yield Difference(code, because, (row.place, found.place if found else after.head.place))


def _snapshot(before: State, after: State, given_back: Collection[str]) -> Iterable[Difference]:
    if not _readable(before, after, SNAPSHOT) or any(path in given_back for path in snapshot_paths(before)):
        return
    now = {row.text("key"): row for row in after.of("key")}
    lost = [row for row in before.of("key") if row.text("key") not in now]
    yield from _several("snapshot_key_lost", "snapshot keys are gone", lost, _key, (after.head.place,))
    for row in before.of("key"):
        found = now.get(row.text("key"))
        why = _key_changed(row, found) if found is not None else ""
        if found is not None and why:
            because = f"the snapshot key {row.text('key')} {why}"
            yield Difference("snapshot_key_changed", because, (row.place, found.place))


def _key(row: StateRow) -> str:
    return row.text("key")


def snapshot_paths(state: State) -> list[str]:
    return [row.text("path") for row in state.of("file") if row.text("place") == SNAPSHOT]


def _key_changed(before: StateRow, after: StateRow) -> str:
    """Why a key may not be what it is now: only a key that holds counts alone may change, and then only grow."""
    if before.fields.get("valid") and not after.fields.get("valid"):
        return "no longer fits its checksum"
    if before.sha256 == after.sha256:
        return ""
    was, now = before.fields.get("counts"), after.fields.get("counts")
    if not isinstance(was, dict):
        return f"was {before.sha256[:12]} and is {after.sha256[:12]}; it holds more than counts, so it must not change"
    if not isinstance(now, dict):
        return "held counts alone and does no longer"
    fallen = [
        f"{name or 'it'} was {count:g} and is {now.get(name, 0):g}"
        for name, count in was.items()
        if name not in now or now[name] < count
    ]
    return f"has counts that fell: {', '.join(fallen[:FEW])}" if fallen else ""


def _counts(after: State) -> Iterable[Difference]:
    """What the target counts must be the rows that its ledger holds: it was asked before and after these were read."""
    for row in after.of("count"):
        least, most, rows = (int(row.fields[name]) for name in ("least", "most", "rows"))
        if not least <= rows <= most:
            told = f"{least}" if least == most else f"{least} and then {most}"
            name, field, ledger = (row.text(key) for key in ("name", "field", "ledger"))
            because = f"{name}: {field} is {told} where the ledger {ledger} holds {rows}"
            yield Difference("count_wrong", because, (row.place,))


def _answers(before: State, after: State) -> Iterable[Difference]:
    now = {row.text("name"): row for row in after.of("answer")}
    for row in before.of("answer"):
        found = now.get(row.text("name"))
        if found is None or not 200 <= int(row.fields.get("status", 0)) < 300:
            continue  # told by untaken()
        changed = changed_field(
            {"status": row.fields["status"], **_said(row)}, {"status": found.fields["status"], **_said(found)}
        )
        if changed:
            yield Difference("answer_changed", f"{row.text('name')}: {changed}", (row.place, found.place))


def _said(row: StateRow) -> dict[str, Any]:
    answer = row.fields.get("answer")
    return answer if isinstance(answer, dict) else {"answer": answer}


def changed_field(before: Any, after: Any, name: str = "") -> str:
    """The first dotted field that differs, in words; "" when nothing does."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            inner = f"{name}.{key}" if name else str(key)
            if key not in after or key not in before:
                one = "is gone" if key not in after else "is new"
                return f"{inner} {one}"
            if found := changed_field(before[key], after[key], inner):
                return found
        return ""
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        each = (changed_field(one, two, f"{name}[{number}]") for number, (one, two) in pairs)
        return next((one for one in each if one), "")
    same = canonical(before) == canonical(after)
    return "" if same else f"{name} was {_short(before)} and is {_short(after)}"


def _short(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _several(
    code: str, words: str, rows: Sequence[StateRow], name: Callable[[StateRow], str], more: tuple[str, ...] = ()
) -> Iterable[Difference]:
    if rows:
        evidence = (*(row.place for row in rows[:FEW]), *more)
        yield Difference(code, f"{len(rows)} {words} ({_named(rows, name)})", evidence)


def _pairs(
    code: str, words: str, pairs: Sequence[tuple[StateRow, StateRow]], name: Callable[[StateRow], str]
) -> Iterable[Difference]:
    if pairs:
        evidence = tuple(row.place for pair in pairs[:FEW] for row in pair)
        yield Difference(code, f"{len(pairs)} {words} ({_named([one for one, _ in pairs], name)})", evidence)


def _named(rows: Sequence[StateRow], name: Callable[[StateRow], str]) -> str:
    names = list(dict.fromkeys(name(row) for row in rows))
    return ", ".join(names[:FEW]) + (", ..." if len(names) > FEW else "")


def untaken(before: State, after: State) -> list[Difference]:
    """What could not be compared, because one of the readings does not have it."""
    found = [
        Difference(
            "not_taken", f"{row.place.partition(':')[0]} lacks {row.text('part')}: {row.text('because')}", (row.place,)
        )
        for state in (before, after)
        for row in state.of("problem")
    ]
    for row in before.of("answer"):
        status = int(row.fields.get("status", 0))
        if not 200 <= status < 300:
            because = f"{row.text('name')} was answered {status} before the faults"
            found.append(Difference("not_taken", because, (row.place,)))
    asked = {row.text("name") for row in (*after.of("answer"), *after.of("problem"))}
    silent = [row for row in before.of("answer") if row.text("name") not in asked]
    found += _several("not_taken", "questions were not asked again", silent, lambda row: row.text("name"))
    if snapshot_paths(before) and not before.of("key"):
        because = "the snapshot holds no keys with checksums"
        found.append(Difference("not_taken", because, (before.head.place,)))
    gone = [row for row in before.of("file") if not row.sha256 and row.text("place") in FILES]
    found += _several("not_taken", "files were not there before the faults", gone, lambda row: row.text("path"))
    return found
