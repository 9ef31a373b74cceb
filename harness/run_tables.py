"""Reader of the run folder's CSV files: requests.csv and signals.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.journal import SIGNALS
from harness.traffic import HEADER, RequestRow

SAMPLES_MIN = 3  # a single sample is no mean


@dataclass(frozen=True)
class Series:
    """Samples of one signal: (at_s, value, line of signals.csv), in order."""

    rows: tuple[tuple[float, float, int], ...] = ()

    def between(self, since_s: float, until_s: float) -> Series:
        return Series(tuple(row for row in self.rows if since_s <= row[0] <= until_s))

    def highest_mean(self, window_s: float) -> tuple[float, int] | None:
        """The highest mean over any full window, and the line where that window ends; None without one."""
        best: tuple[float, int] | None = None
        start = 0
        for end, (at_s, _, line) in enumerate(self.rows):
            while self.rows[start][0] < at_s - window_s:
                start += 1
            if at_s - self.rows[0][0] < window_s * 0.9:
                continue
            values = [row[1] for row in self.rows[start : end + 1]]
            if len(values) < SAMPLES_MIN:
                continue
            mean = sum(values) / len(values)
            if best is None or mean > best[0]:
                best = (mean, line)
        return best


def _rows(path: Path, header: tuple[str, ...], torn: list[str]) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of the rows of a CSV file below its header; what is wrong with the file goes to *torn*.

    A process that was killed leaves a last line without its end: that line may look whole, and is left out.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        torn.append(f"{path.name}: cannot be read: {error.strerror}")
        return
    whole, end, rest = content.rpartition(b"\n")
    text = (whole + end).decode(errors="replace")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        for number, cells in enumerate(reader, 1):
            if number == 1 and tuple(cells) != header:
                torn.append(f"{path.name}:1: the header is not {','.join(header)}; the row is left out")
            elif len(cells) != len(header):
                torn.append(f"{path.name}:{number}: {len(cells)} cells instead of {len(header)}; the row is left out")
            elif number > 1:
                yield number, cells
    except csv.Error as error:
        torn.append(f"{path.name}:{number + 1}: is not CSV from here on: {error}")
    if not content:
        torn.append(f"{path.name}:1: is empty")
    if rest:
        torn.append(f"{path.name}:{number + 1}: the last line is torn, and left out")


def read_requests(folder: Path, torn: list[str]) -> list[RequestRow]:
    """The rows of requests.csv; what cannot be read is told in *torn*, and left out."""
    path = folder / "requests.csv"
    found = []
    for number, cells in _rows(path, HEADER, torn):
        try:
            found.append(RequestRow.from_cells(cells, number))
        except ValueError as error:
            torn.append(f"{path.name}:{number}: {error}; the row is left out")
    return found


def read_signals(folder: Path, torn: list[str]) -> dict[tuple[str, str], Series]:
    """{(name, subject): samples} of signals.csv; what cannot be read is told in *torn*, and left out."""
    path = folder / "signals.csv"
    found: dict[tuple[str, str], list[tuple[float, float, int]]] = {}
    for number, (at_s, name, subject, value) in _rows(path, SIGNALS, torn):
        try:
            row = (float(at_s), float(value), number)
        except ValueError as error:
            torn.append(f"{path.name}:{number}: {error}; the row is left out")
            continue
        if math.isfinite(row[0]) and math.isfinite(row[1]):
            found.setdefault((name, subject), []).append(row)
        else:
            torn.append(f"{path.name}:{number}: {at_s}, {value} are no numbers; the row is left out")
    return {key: Series(tuple(sorted(rows))) for key, rows in found.items()}
