"""Files are damaged for real, and given back byte for byte, whoever did what in between."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from faults.file_corruption import FileCorruption
from faults.helpers import damaged_files
from faults.helpers.corruption import KINDS, NoDamage, Wound, damage
from harness.catalog import CatalogError, build_fault
from harness.contracts import Hands, TargetError, TargetLacks
from harness.guardian_link import GuardianLink
from harness.model import Effect, Hold, Undo
from harness.undo import heal

NO_HANDS: Hands = None  # type: ignore[assignment]
MODEL, STATE = bytes(range(256)) * 8, json.dumps({"memory_index": {"n": 1}, "governance": {"approval": True}}).encode()


@dataclass
class Files:
    """A target that has files."""

    root: Path
    paths: dict[str, Path] = field(init=False)

    def __post_init__(self) -> None:
        self.paths = {"root": self.root, "models": self.root / "models", "state": self.root / "state.json"}
        self.paths["models"].mkdir(parents=True)
        for name in ("a.pkl", "b.pkl"):
            (self.paths["models"] / name).write_bytes(MODEL)
            (self.paths["models"] / name).chmod(0o640)
            os.utime(self.paths["models"] / name, ns=(10**18, 10**18 + 7))
        self.paths["state"].write_bytes(STATE)


def look(root: Path) -> dict[str, tuple[str, int, int, int, int]]:
    """Everything that can be told of the files below *root*."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            about = path.stat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path)] = (digest, about.st_mode, about.st_uid, about.st_gid, about.st_mtime_ns)
    return found


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "target")


@pytest.fixture
def guardian(tmp_path: Path) -> Iterator[GuardianLink]:
    (tmp_path / "run").mkdir()
    one = GuardianLink(tmp_path / "run", f"files-{os.getpid()}-{tmp_path.name}")
    yield one
    one.close()


def fault_of(kind: str, **changes: Any) -> FileCorruption:
    keys = {"corrupt_keys": ("memory_index",), "target": "state"} if kind == "key_overwrite" else {}
    values: dict[str, Any] = {"target": "models", "corrupt_files": ("a.pkl", "b.pkl"), "corruption_type": kind}
    if keys:
        values |= {**keys, "corrupt_files": ()}
    return FileCorruption(**{**values, **changes})


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_for_real_and_given_back_twice(kind: str, files: Files, guardian: GuardianLink) -> None:
    before = look(files.root)
    fault = fault_of(kind)
    planned = fault.prepare(files)  # type: ignore[arg-type]
    assert all(result["verified"] for result in heal(planned)) and look(files.root) == before, "prepare touches nothing"
    undo = guardian.arm("f", planned, 60)
    effect = fault.inject(files, undo, NO_HANDS)  # type: ignore[arg-type]
    guardian.active("f")
    changed = {path for path, told in look(files.root).items() if told[0] != before[path][0]}
    assert changed == {one["path"] for one in effect.facts["files"]} and len(changed) == fault.asked.value
    assert fault.sample(files, undo, effect, NO_HANDS).achieved == fault.asked.value  # type: ignore[arg-type]
    for _ in range(2):
        assert all(result["verified"] for result in guardian.heal("f"))
        assert look(files.root) == before, "bytes, mode, owner and time of change"
    sample = fault.sample(files, undo, effect, NO_HANDS)  # type: ignore[arg-type]
    assert sample.hold is Hold.LOST and "given back by this harness" in sample.because, "no witness for the target"


class Damaged:
    """One file, damaged, and how its undo is taken back."""

    def __init__(self, files: Files, guardian: GuardianLink) -> None:
        self.path = files.paths["models"] / "a.pkl"
        self.files, self.before = files, look(files.root)
        self.fault = fault_of("truncate", corrupt_files=("a.pkl",))
        self.undo = guardian.arm("f", self.fault.prepare(files), 60)  # type: ignore[arg-type]
        self.backup = Path(self.undo.primitives[0]["backup"])
        self.effect: Effect = self.fault.inject(files, self.undo, NO_HANDS)  # type: ignore[arg-type]

    def sample(self) -> Any:
        return self.fault.sample(self.files, self.undo, self.effect, NO_HANDS)  # type: ignore[arg-type]

    def heal(self, complete: bool) -> tuple[str, bool]:
        results = [heal(self.undo, complete)[-1] for _ in range(2)]
        return str(results[0]["did"]), bool(results[0]["verified"] and results[1]["verified"])


@pytest.fixture
def one(files: Files, guardian: GuardianLink) -> Damaged:
    return Damaged(files, guardian)


def rewrite(path: Path) -> None:
    path.write_bytes(b"what the target wants")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("b.pkl"))


@pytest.mark.parametrize("act", [rewrite, Path.unlink, replace_by_folder, replace_by_link])
def test_what_the_target_has_made_of_it_is_left_alone(one: Damaged, act: Callable[[Path], None]) -> None:
    act(one.path)
    after = look(one.files.root)
    assert one.sample().hold is Hold.TARGET
    did, verified = one.heal(complete=True)
    assert verified and "left alone" in did and look(one.files.root) == after


def test_restored_by_the_target_is_told_by_its_hash(one: Damaged) -> None:
    one.path.write_bytes(MODEL)
    sample = one.sample()
    assert sample.hold is Hold.TARGET and "byte for byte what it was" in sample.because
    assert one.heal(complete=True) == ("as it was", True)


def test_a_touch_is_no_repair(one: Damaged) -> None:
    os.utime(one.path)
    assert (one.sample().achieved, one.sample().hold) == (1.0, Hold.HOLDS)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"one more entry")


def save_again(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "saved_at": 7}, indent=4))


def regenerate(path: Path) -> None:
    path.write_text(json.dumps({"memory_index": {}, "governance": {"approval": True}}))


@pytest.mark.parametrize(
    ("kind", "act", "hold"),
    [
        ("bit_flip", append, Hold.HOLDS),
        ("random_bytes", append, Hold.HOLDS),
        ("zero", append, Hold.HOLDS),
        ("overwrite", append, Hold.HOLDS),
        ("key_overwrite", save_again, Hold.HOLDS),
        ("key_overwrite", regenerate, Hold.TARGET),
        ("key_overwrite", rewrite, Hold.TARGET),
        ("bit_flip", rewrite, Hold.TARGET),
        ("truncate", append, Hold.TARGET),
    ],
)
def test_damage_that_is_still_in_a_file_with_other_bytes_holds(
    files: Files, guardian: GuardianLink, kind: str, act: Callable[[Path], None], hold: Hold
) -> None:
    fault = fault_of(kind) if kind == "key_overwrite" else fault_of(kind, corrupt_files=("a.pkl",))
    undo = guardian.arm("f", fault.prepare(files), 60)  # type: ignore[arg-type]
    effect = fault.inject(files, undo, NO_HANDS)  # type: ignore[arg-type]
    act(Path(effect.facts["files"][0]["path"]))
    assert fault.sample(files, undo, effect, NO_HANDS).hold is hold  # type: ignore[arg-type]


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:7] + b"?")


@pytest.mark.parametrize("act", [half, Path.unlink])
def test_cut_off_half_way_is_given_back(one: Damaged, act: Callable[[Path], None]) -> None:
    act(one.path)
    assert one.heal(complete=False) == ("restored", True) and look(one.files.root) == one.before


def test_cut_off_before_it_began(files: Files, guardian: GuardianLink) -> None:
    undo = guardian.arm("f", fault_of("zero", corrupt_files=("a.pkl",)).prepare(files), 60)  # type: ignore[arg-type]
    path = files.paths["models"] / "a.pkl"
    rewrite(path)
    with pytest.raises(TargetError, match="has changed since this fault was prepared"):
        fault_of("zero", corrupt_files=("a.pkl",)).inject(files, undo, NO_HANDS)  # type: ignore[arg-type]
    after = look(files.root)
    result = guardian.heal("f")[-1]
    assert result["verified"] and "never was" in result["did"] and look(files.root) == after


@pytest.mark.parametrize("act", [rewrite, Path.unlink])
def test_without_its_backup_it_is_stuck_and_says_so(one: Damaged, act: Callable[[Path], None]) -> None:
    kept = one.backup.read_bytes()
    act(one.backup)
    did, verified = one.heal(complete=True)
    assert not verified and "cannot be restored" in did and str(one.backup) in did
    one.backup.write_bytes(kept)
    assert one.heal(complete=True) == ("restored", True) and look(one.files.root) == one.before


def test_the_targets_folder_is_gone(one: Damaged) -> None:
    for path in sorted(one.path.parent.iterdir()):
        path.unlink()
    one.path.parent.rmdir()
    assert [one.heal(complete) for complete in (True, False)] == [("gone with its folder", True)] * 2


def test_the_backup_is_whole_before_the_damage(
    files: Files, guardian: GuardianLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left")

    before = look(files.root)
    undo = guardian.arm("f", fault_of("zero").prepare(files), 60)  # type: ignore[arg-type]
    monkeypatch.setattr(damaged_files, "replace_file", full)
    with pytest.raises(OSError, match="no space left"):
        fault_of("zero").inject(files, undo, NO_HANDS)  # type: ignore[arg-type]
    assert look(files.root) == before and all(result["verified"] for result in guardian.heal("f"))


def link_inside(files: Files) -> None:
    (files.paths["models"] / "x").symlink_to(files.paths["models"] / "a.pkl")


def folder_link(files: Files) -> None:
    (files.root / "elsewhere").mkdir()
    (files.root / "elsewhere" / "y").write_text("y")
    (files.paths["models"] / "sub").symlink_to(files.root / "elsewhere")


def second_name(files: Files) -> None:
    (files.paths["models"] / "x").hardlink_to(files.paths["models"] / "a.pkl")


def pipe(files: Files) -> None:
    os.mkfifo(files.paths["models"] / "x")


def empty(files: Files) -> None:
    (files.paths["models"] / "x").touch()


def sparse(files: Files) -> None:
    with (files.paths["models"] / "x").open("wb") as file:
        file.truncate((256 << 20) + 1)


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (None, "../../outside", "is not below the target's root"),
        (None, "/etc/hostname", "is not below the target's root"),
        (None, "nothing", "No such file"),
        (None, ".", "is not a plain file"),
        (link_inside, "x", "is reached over a link"),
        (folder_link, "sub/y", "is reached over a link"),
        (second_name, "x", "has 2 names"),
        (pipe, "x", "is not a plain file"),
        (empty, "x", "it is empty"),
        (sparse, "x", "are the limit"),
    ],
)
def test_other_files_are_refused(files: Files, make: Any, name: str, words: str) -> None:
    if make:
        make(files)
    with pytest.raises(TargetError, match=words):
        fault_of("zero", corrupt_files=(name,)).prepare(files)  # type: ignore[arg-type]


def test_a_path_outside_of_the_root_and_one_that_is_not_told(files: Files, tmp_path: Path) -> None:
    files.paths["other"] = tmp_path / "other"
    (tmp_path / "other").write_text("not yours")
    with pytest.raises(TargetError, match="is not below"):
        FileCorruption(target="other").prepare(files)  # type: ignore[arg-type]
    with pytest.raises(TargetLacks, match=r"no path 'modles'\. Did you mean 'models'"):
        FileCorruption(target="modles").prepare(files)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="named twice"):
        fault_of("zero", corrupt_files=("a.pkl", "a.pkl")).prepare(files)  # type: ignore[arg-type]
    assert FileCorruption(target="state").subject == "state" and fault_of("zero").subject == "a.pkl"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"corruption_type": "shred"}, "none is called 'shred'"),
        ({"corrupt_files": "a.pkl"}, "a list of names is expected"),
        ({"corruption_type": "key_overwrite"}, "key_overwrite needs them"),
        ({"corrupt_keys": ["a"]}, "nothing else takes them"),
        ({"seed": 1.5}, "whole numbers"),
    ],
)
def test_what_cannot_be_is_refused_in_words(values: dict[str, Any], words: str) -> None:
    with pytest.raises(CatalogError, match=rf"file_corruption\..*{words}"):
        build_fault("file_corruption", {"target": "models", **values})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "key_overwrite"])
@pytest.mark.parametrize("data", [b"x", b"\x00\x01", MODEL])
def test_damage_is_always_damage_and_always_the_same(kind: str, data: bytes) -> None:
    for seed in range(40):
        damaged = damage(data, kind, Wound(seed=seed, corrupt_bytes=1))
        assert damaged != data and damaged == damage(data, kind, Wound(seed=seed, corrupt_bytes=1))
        assert len(damaged) < len(data) if kind == "truncate" else len(damaged) == len(data)


def test_how_much_is_damaged() -> None:
    assert damage(MODEL, "truncate", Wound(keep_percent=25)) == MODEL[: len(MODEL) // 4]
    flipped = damage(MODEL, "bit_flip", Wound(corrupt_bytes=10))
    bits = [(old ^ new).bit_count() for old, new in zip(MODEL, flipped, strict=True) if old != new]
    assert bits == [1] * 10
    run = damage(MODEL, "random_bytes", Wound(corrupt_bytes=100))
    places = [place for place, (old, new) in enumerate(zip(MODEL, run, strict=True)) if old != new]
    assert len(places) > 80 and places[-1] - places[0] < 100
    assert damage(MODEL, "zero", Wound()) == bytes(len(MODEL))
    assert not any(old == new for old, new in zip(MODEL, damage(MODEL, "overwrite", Wound()), strict=True))


def test_keys_are_overwritten_and_the_rest_stays() -> None:
    damaged = json.loads(damage(STATE, "key_overwrite", Wound(corrupt_keys=("memory_index", "governance.approval"))))
    assert isinstance(damaged["memory_index"], str) and isinstance(damaged["governance"]["approval"], str)
    wound = Wound(corrupt_keys=("governance.approval",), corrupt_value=False)
    drifted = damage(b"governance:\n  approval: true\n  x: 1\n", "key_overwrite", wound)
    assert yaml.safe_load(drifted) == {"governance": {"approval": False, "x": 1}}


@pytest.mark.parametrize(
    ("data", "kind", "wound", "words"),
    [
        (b"", "zero", Wound(), "it is empty"),
        (b"\0\0", "zero", Wound(), "zero changes nothing in it"),
        (STATE, "key_overwrite", Wound(corrupt_keys=("governance.aproval",)), "no key 'governance.aproval'. Did you"),
        (STATE, "key_overwrite", Wound(corrupt_keys=("memory_index.n.m",)), "no key 'memory_index.n.m'"),
        (STATE, "key_overwrite", Wound(), "needs corrupt_keys"),
        (MODEL, "key_overwrite", Wound(corrupt_keys=("a",)), "it is no text"),
        (b"a: [", "key_overwrite", Wound(corrupt_keys=("a",)), "neither JSON nor YAML"),
        (b"a: false", "key_overwrite", Wound(corrupt_keys=("a",), corrupt_value=False), "a is False already"),
    ],
)
def test_what_cannot_be_damaged_says_why(data: bytes, kind: str, wound: Wound, words: str) -> None:
    with pytest.raises(NoDamage, match=words):
        damage(data, kind, wound)


def test_sigkill_of_the_harness_gives_the_file_back(one: Damaged, guardian: GuardianLink) -> None:
    guardian.active("f")
    guardian._link.shutdown(socket.SHUT_RDWR)  # what the guardian sees when the harness dies
    guardian.process.wait(timeout=10)
    assert look(one.files.root) == one.before


def test_an_undo_without_files_is_whole() -> None:
    assert heal(Undo()) == []
