"""The pid file by which a process of the service is known; it names the process only when that can be asked."""

from __future__ import annotations

import os
from pathlib import Path


def write_pid(folder: Path, name: str) -> None:
    part = folder / f"{name}.pid.new"
    part.write_text(f"{os.getpid()}\n")
    part.replace(folder / f"{name}.pid")
