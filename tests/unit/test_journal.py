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


def test_what_a_target_may_send_is_read_as_it_was_written(tmp_path: Path) -> None:
    """None of these ends a row, and a half of a character does not lose the event that bears it."""
    journal = Journal(tmp_path, Clock())
    odd = "a\u2028b\u2029c\x85d\r\ne\x00f\U0001f600"
    for subject, text in (("plain", odd), ("half \ud800", "half \udfff"), ("last", "")):
        journal.append(Kind.SAFEGUARD_ENGAGED, subject, "test", {"reason": text, odd: [text]})
    journal.close()
    events, problem = read_journal(journal.path)
    assert problem == "" and [event.subject for event in events] == ["plain", "half ?", "last"]
    assert events == tuple(journal.events) and events[0].detail == {"reason": odd, odd: [odd]}
    assert events[1].detail["reason"] == "half ?"


def test_what_must_be_durable_is_on_the_disk_when_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("harness.journal.os.fsync", lambda _: synced.append(path.read_bytes().count(b"\n")))
    journal, path = Journal(tmp_path, Clock()), tmp_path / "timeline.jsonl"
    journal.append(Kind.SYMPTOM_SEEN, "a", "test")
    assert synced == []
    journal.append(Kind.FAULT_INJECTED, "b", "test", durable=True)
    assert synced == [2], "both rows, before it returns"
