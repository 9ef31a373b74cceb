"""A helper's rows are read from their end: only whole lines, wherever the tail happens to be cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faults.helpers import reading
from faults.helpers.reading import rows


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
