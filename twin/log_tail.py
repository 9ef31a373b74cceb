"""What the kernels' logs say that is new: each line of a failure, as it comes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LINE = re.compile(r"^[\d-]{10} [\d:,]{8,12} (WARNING|ERROR|CRITICAL) \S+ (.+)$")
BYTES_MAX = 256 << 10  # of one log at one look: the rest comes at the next


@dataclass(frozen=True)
class Failure:
    """A line that tells of one, and whose log it is in."""

    source: str
    level: str
    text: str


class LogTail:
    """read() begins where the logs end when this is made; a log that begins anew is read from its start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places = {path: path.stat().st_size for path in folder.glob("*.log")}

    def read(self) -> list[Failure]:
        return [failure for path in sorted(self.folder.glob("*.log")) for failure in self._new(path)]

    def _new(self, path: Path) -> Iterable[Failure]:
        place = self._places.get(path, 0)
        try:
            size = path.stat().st_size
            if size == place:
                return
            with path.open("rb") as file:
                file.seek(place if size > place else 0)
                data = file.read(BYTES_MAX)
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1] if len(data) < BYTES_MAX or b"\n" in data else data
        self._places[path] = (place if size > place else 0) + len(whole)
        for line in whole.decode(errors="replace").splitlines():
            found = LINE.match(line)
            if found:
                yield Failure(path.stem, found.group(1), found.group(2))
