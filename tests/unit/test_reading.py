"""A helper's rows are read from their end: only whole lines, wherever the tail happens to be cut."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from faults.helpers import link, reading
from faults.helpers.reading import helper_facts, rows, sample_mean
from harness.contracts import Helper, ProcessId
from harness.model import Effect, Hold, Undo


@pytest.mark.parametrize("tail_bytes", range(70, 140))
def test_a_row_that_is_cut_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail_bytes: int) -> None:
    monkeypatch.setattr(reading, "TAIL_BYTES", tail_bytes)
    path = tmp_path / "f.jsonl"
    written = [{"at": at, "pressure": {"io_some": at / 2}} for at in range(100, 140)]
    path.write_text("".join(json.dumps(row) + "\n" for row in written) + '{"at": 140, "pres')
    read = rows(path)
    assert read and read == written[-len(read) :]


def test_a_short_file_is_read_from_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('a word of a library\n{"at": 1}\n{"at": 2}\n')
    assert rows(path) == [{"at": 1}, {"at": 2}]
    path.write_text("")
    assert rows(path) == []


class Hands:
    """A helper that lives, whatever it tells."""

    def alive(self, helper: Helper) -> bool:
        return True


def told(path: Path, *ages_s: float, **row: object) -> Effect:
    """The effect of a helper whose rows are so old."""
    path.write_text("".join(json.dumps({"at": time.monotonic() - age_s, **row}) + "\n" for age_s in ages_s))
    return Effect(facts=helper_facts(Helper(process=ProcessId(pid=7, start_ticks=1, boot_id="b"), output=path)))


@pytest.mark.parametrize(
    ("age_s", "achieved", "hold"),
    [(0.2, 90.0, Hold.HOLDS), (2.0, 0.0, Hold.HOLDS), (5.0, None, Hold.LOST), (60.0, None, Hold.LOST)],
)
def test_a_helper_that_lives_and_tells_nothing_measures_nothing(
    tmp_path: Path, age_s: float, achieved: float | None, hold: Hold
) -> None:
    effect = told(tmp_path / "f.jsonl", age_s + 0.5, age_s + 0.25, age_s, busy=90.0)
    sample = sample_mean(effect, Hands(), "busy", 1.0)  # type: ignore[arg-type]
    assert (sample.achieved, sample.hold) == (achieved, hold)
    assert ("pid 7) lives but has not told anything for" in sample.because) == (age_s > 1)


def test_a_helper_before_its_first_row_is_getting_ready(tmp_path: Path) -> None:
    sample = sample_mean(told(tmp_path / "f.jsonl"), Hands(), "busy", 1.0)  # type: ignore[arg-type]
    assert (sample.achieved, sample.hold) == (None, Hold.HOLDS)


@pytest.mark.parametrize(("age_s", "achieved", "hold"), [(2.5, 0.0, Hold.HOLDS), (5.0, None, Hold.LOST)])
def test_a_silent_proxy_is_not_a_quiet_link(tmp_path: Path, age_s: float, achieved: float | None, hold: Hold) -> None:
    address = tmp_path / "a.addr"
    address.write_text("tcp:127.0.0.1:9\n")
    undo = Undo(primitives=({"op": link.RESTORE_ADDRESS, "path": str(address), "ours": "tcp:127.0.0.1:9\n"},))
    sample = link.sample(undo, told(tmp_path / "f.jsonl", age_s, added_ms=50.0), Hands(), "added_ms")  # type: ignore[arg-type]
    assert (sample.achieved, sample.hold) == (achieved, hold) and "has not told anything" in sample.because
    quiet = told(tmp_path / "f.jsonl", 0.1, seen=4)
    sample = link.sample(undo, quiet, Hands(), "added_ms")  # type: ignore[arg-type]
    assert (sample.achieved, sample.hold) == (None, Hold.HOLDS) and "no request on this link" in sample.because
