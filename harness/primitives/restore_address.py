"""Gives an address file of service discovery back: what it said before a proxy was put in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.primitives import Looks, replace_file

OP = "restore_address"


def restore_address(path: Path, original: str | None, ours: str, looks: Looks) -> dict[str, Any]:
    """The primitive for *path*, which says *original* (None: there is no such file) and will say *ours*."""
    return {"op": OP, "path": str(path), "original": original, "ours": ours, "looks": asdict(looks)}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    """The file was replaced at one stroke, so that it is never half-way: *complete* makes no difference."""
    path, original = Path(primitive["path"]), primitive["original"]
    now = read(path)
    if now == original:
        return "as it was", True
    if now is None:
        return "gone, and not by this fault: left alone", True
    if now != primitive["ours"]:
        return f"the target has written {now.strip()!r} there meanwhile: left alone", True
    if original is None:
        path.unlink(missing_ok=True)
    else:
        replace_file(path, original.encode(), Looks(**primitive["looks"]))
    return "given back", read(path) == original


def read(path: Path) -> str | None:
    """What *path* says; None when there is no such file."""
    try:
        return path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
