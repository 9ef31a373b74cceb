"""The timeline is a chain: nothing in it can be changed, dropped or cut unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.clock import Clock
from harness.journal import Journal, read_journal
from harness.model import Kind


def written(folder: Path) -> Path:
    journal = Journal(folder, Clock())
    for number in range(4):
        journal.append(Kind.SYMPTOM_SEEN, f"s{number}", "test", {"n": number, "ü": "ö"}, durable=number == 3)
    journal.close()
    return folder / "timeline.jsonl"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    events, problem = read_journal(written(tmp_path))
    assert problem == "" and [event.detail["n"] for event in events] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [*lines[:1], lines[1].replace('"n": 1', '"n": 7'), *lines[2:]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:3], lines[3][:40]],
        lambda lines: [],
    ],
)
def test_damage_is_seen(tmp_path: Path, damage: object) -> None:
    path = written(tmp_path)
    path.write_text("\n".join(damage(path.read_text().splitlines())))  # type: ignore[operator]
    assert read_journal(path)[1] != ""
