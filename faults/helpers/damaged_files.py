"""Damages files of a target in place, each after its backup is on the disk, and sees what the target makes of it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faults.helpers.corruption import NoDamage, Wound, damage, still_wounded
from faults.helpers.witness import Ever
from harness.catalog import nearest
from harness.contracts import Target, TargetError, TargetLacks
from harness.model import Effect, Hold, Sample, Undo
from harness.observers.file_hashes import sealed_keys
from harness.primitives import Looks, replace_file
from harness.primitives.restore_file import OP as RESTORE_FILE
from harness.primitives.restore_file import digest, given_back, restore_file

FILE_BYTES_MAX = 256 << 20


def files_of(target: Target, place: str, names: Sequence[str]) -> list[Path]:
    """The files *names* below the manifest's path *place*, or that path itself when no name is given.

    Only plain files below the manifest's `root`, reached without any link, and known by no second name.
    Raises TargetLacks, or TargetError in words.
    """
    for needed in ("root", place):
        if needed not in target.paths:
            raise TargetLacks(f"the target has no path {needed!r}.{nearest(needed, target.paths)}")
    base = target.paths[place]
    return (
        [_checked(target.paths["root"], base / name) for name in names]
        if names
        else [_checked(target.paths["root"], base)]
    )


def _checked(root: Path, path: Path) -> Path:
    if ".." in path.parts or not path.is_relative_to(root):
        raise TargetError(f"{path} is not below the target's root {root}")
    real_root = root.resolve()
    inside = real_root / path.relative_to(root)
    if inside.resolve() != inside:
        raise TargetError(f"{path} is reached over a link: only the target's own files are damaged")
    try:
        about = inside.lstat()
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(about.st_mode):
        raise TargetError(f"{path} is not a plain file")
    if about.st_nlink != 1:
        raise TargetError(f"{path} has {about.st_nlink} names: it may be somebody else's file too")
    if about.st_size > FILE_BYTES_MAX:
        raise TargetError(f"{path} has {about.st_size} bytes; {FILE_BYTES_MAX} are the limit")
    return inside


def prepare(paths: Sequence[Path], kind: str, wound: Wound) -> Undo:
    """Touches nothing: works out what the damaged bytes will be, and how to get back."""
    if len(set(paths)) < len(paths):
        raise TargetError("a file is named twice")
    return Undo(primitives=tuple(_primitive(number, path, kind, wound) for number, path in enumerate(paths)))


def _primitive(number: int, path: Path, kind: str, wound: Wound) -> dict[str, Any]:
    about, data = path.stat(), path.read_bytes()
    damaged = _damaged(path, data, kind, wound)
    looks = Looks(mode=about.st_mode & 0o7777, uid=about.st_uid, gid=about.st_gid)
    return restore_file(path, f"{number}.backup", _sha256(data), _sha256(damaged), looks, about.st_mtime_ns)


def _damaged(path: Path, data: bytes, kind: str, wound: Wound) -> bytes:
    try:
        return damage(data, kind, wound)
    except NoDamage as error:
        raise TargetError(f"{path}: {error}") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def inject(undo: Undo, kind: str, wound: Wound) -> Effect:
    """Each file: backup on the disk, then damage in place, then read back. *undo* is the one that was armed."""
    done = []
    for one in (one for one in undo.primitives if one["op"] == RESTORE_FILE):
        path = Path(one["path"])
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "r+b") as file:  # noqa: PTH123  # a descriptor, not a path
            data = file.read()
            if _sha256(data) != one["sha256"]:
                raise TargetError(f"{path} has changed since this fault was prepared")
            replace_file(Path(one["backup"]), data, Looks(mode=0o600, uid=os.geteuid(), gid=os.getegid()))
            damaged = _damaged(path, data, kind, wound)
            file.seek(0)
            file.write(damaged)
            file.truncate()
            file.flush()
            os.fsync(descriptor)
        if digest(path) != one["damaged_sha256"]:
            raise OSError(f"{path} does not hold the damaged bytes after they were written")
        told = {"path": str(path), "sha256": one["sha256"], "damaged_sha256": one["damaged_sha256"]}
        done.append({**told, "bytes": len(data), "damaged_bytes": len(damaged), "seen": _seen(path)})
    return Effect(facts={"mechanism": f"{kind} in place", "files": done})


def _seen(path: Path) -> list[int]:
    """What tells cheaply that a file may have changed; [] when it is gone."""
    try:
        about = path.lstat()
    except OSError:
        return []
    return [about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def witness(undo: Undo) -> Ever:
    """Count the files whose bytes are not what they were before the injection, hashed anew at each look.

    A sealed document may come back with other bytes: one whose keys all fit their checksums is damaged no more.
    """
    files = {one["path"]: one["sha256"] for one in undo.primitives if one["op"] == RESTORE_FILE}
    return Ever(lambda: {path for path, sha256 in files.items() if _still_damaged(Path(path), sha256)})


def _still_damaged(path: Path, before: str) -> bool:
    if digest(path) == before:
        return False
    try:
        keys = sealed_keys(path.read_bytes())
    except OSError:
        return True
    return not keys or not all(one["valid"] for one in keys.values())


def sample(undo: Undo, effect: Effect, kind: str, wound: Wound) -> Sample:
    """How many files were damaged (each read back when it was); ended by the target when none is so any more.

    What this harness has given back itself (its guardian does, past a deadline) the target has not: that is lost.
    """
    files: Sequence[Mapping[str, Any]] = effect.facts["files"]
    backups = {one["path"]: Path(one["backup"]) for one in undo.primitives if one["op"] == RESTORE_FILE}
    left, told = [], []
    for one in files:
        path = Path(one["path"])
        now = one["damaged_sha256"] if _seen(path) == one["seen"] else digest(path)
        if now == one["damaged_sha256"] or _carries_on(path, now, one, kind, wound):
            left.append(path.name)
        elif given_back(backups[one["path"]]).exists():
            because = f"{path.name} was given back by this harness before its time"
            return Sample(achieved=None, hold=Hold.LOST, because=because)
        else:
            told.append(f"{path.name} is {_words(now, one)}")
    if not left:
        return Sample(achieved=None, hold=Hold.TARGET, because="; ".join(told))
    return Sample(achieved=float(len(files)), detail={"still_damaged": left})


def _carries_on(path: Path, now: str | None, one: Mapping[str, Any], kind: str, wound: Wound) -> bool:
    """Whether a file with other bytes than were damaged carries the damage all the same."""
    if not now or now == one["sha256"]:
        return False
    try:
        data = path.read_bytes()
    except OSError:
        return False  # gone meanwhile: the next sample tells
    return still_wounded(data, kind, wound, one["damaged_bytes"], one["damaged_sha256"])


def _words(now: str | None, one: Mapping[str, Any]) -> str:
    if now is None:
        return "gone"
    if now == one["sha256"]:
        return f"byte for byte what it was (sha256 {now[:12]}), and was not restored by this harness"
    if not now:
        return "no plain file any more"
    return f"another (sha256 {now[:12]}), in which the damage is not found"
