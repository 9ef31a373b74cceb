"""The observers of what a target lives by: its files on the disk, and what its models answer."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.model import Kind, Reading
from harness.observers.file_hashes import COUNT_EVERY_S, FileHashes, sealed_keys, settings
from harness.observers.model_answers import ModelAnswers
from tests.fake_target import Answer, FakeServer, FakeView, as_json, edges, samples, serving, target

# file_hashes


class Disk:
    """A target with models, a snapshot and a configuration, and who looks at them."""

    def __init__(self, root: Path) -> None:
        self.models, self.snapshot, self.config = root / "models", root / "state.json", root / "grace.yaml"
        self.models.mkdir()
        for path in (self.models / "a.pkl", self.models / "b.pkl", self.snapshot, self.config):
            path.write_bytes(path.name.encode() * 9)
        paths = {"models": str(self.models), "state_snapshot": str(self.snapshot), "config": str(self.config)}
        self.view = FakeView(target(root, paths=paths))
        self.observer = FileHashes(self.view.target)
        assert self.look() == [], "what is there at first is no edge"

    def look(self) -> list[Reading]:
        self.view.at_s += 0.1
        return changes(self.observer.observe(self.view))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def changes(readings: Iterable[Reading]) -> list[Reading]:
    return [one for one in readings if one.name != "files_seen"]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_change_is_told_once_with_the_hash_before_and_after(disk: Disk) -> None:
    path = disk.models / "a.pkl"
    before = path.read_bytes()
    path.write_bytes(before[:5])
    (edge,) = disk.look()
    assert (edge.kind, edge.subject, edge.at_s) == (Kind.FILE_CHANGED, "a.pkl", disk.view.at_s)
    assert edge.detail == {"path": str(path), "from": sha(before), "sha256": sha(before[:5]), "bytes": 5}
    assert disk.look() == []
    path.write_bytes(before)
    (edge,) = disk.look()
    assert (edge.detail["from"], edge.detail["sha256"]) == (sha(before[:5]), sha(before))


def test_a_touch_or_the_same_bytes_anew_are_no_change(disk: Disk) -> None:
    os.utime(disk.config)
    assert disk.look() == []
    fresh = disk.config.with_name("fresh")
    fresh.write_bytes(disk.config.read_bytes())
    fresh.replace(disk.config)
    assert disk.look() == []


def test_files_that_go_come_or_are_links_are_told(disk: Disk) -> None:
    (disk.models / "a.pkl").unlink()
    (disk.models / ".half.new").write_text("being written")
    (disk.models / "c.pkl").write_text("c")
    told = {one.subject: (one.detail["sha256"], one.detail["bytes"]) for one in disk.look()}
    assert told == {"a.pkl": ("", 0), "c.pkl": (sha(b"c"), 1)}
    disk.config.unlink()
    disk.config.symlink_to(disk.snapshot)
    (edge,) = disk.look()
    assert (edge.subject, edge.detail["sha256"]) == ("config", ""), "a link is no file of its own"
    assert disk.look() == []
    (disk.models / "a.pkl").write_text("back")
    assert [one.subject for one in disk.look()] == ["a.pkl"]


def seal(value: Any) -> str:
    return sha(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def test_the_keys_of_a_sealed_document_are_judged_one_by_one(disk: Disk) -> None:
    values = {"index": {"b": 1, "a": [2]}, "rules": ["x", "y", "z"], "taken_at": 1.5}
    seals = {key: seal(value) for key, value in values.items()}
    disk.snapshot.write_text(json.dumps({**values, "checksums": seals}))
    (edge,) = disk.look()
    assert edge.subject == "state_snapshot" and edge.detail["keys_from"] == {}
    whole = {"index": (True, 2), "rules": (True, 3), "taken_at": (True, 1)}
    assert {key: (one["valid"], one["entries"]) for key, one in edge.detail["keys"].items()} == whole
    disk.snapshot.write_text(json.dumps({**values, "index": "?", "checksums": {**seals, "gone": "0"}}))
    (edge,) = disk.look()
    assert {key: one["valid"] for key, one in edge.detail["keys_from"].items()} == dict.fromkeys(values, True)
    valid = {key: one["valid"] for key, one in edge.detail["keys"].items()}
    assert valid == {"gone": False, "index": False, "rules": True, "taken_at": True}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"checksums": 1}', b"\xff\xfe", b"a: b", b"[" * 100_000])
def test_what_is_not_sealed_has_no_keys(data: bytes) -> None:
    assert sealed_keys(data) == {}


def test_a_target_without_such_paths_is_told(tmp_path: Path) -> None:
    assert FileHashes.missing(target(tmp_path)) == "paths.models"
    assert FileHashes.missing(target(tmp_path, paths={"config": str(tmp_path / "x")})) == ""
    view = FakeView(target(tmp_path, paths={"config": str(tmp_path / "x")}))
    observer = FileHashes(view.target)
    assert [(one.name, one.value) for one in observer.observe(view)] == [("files_seen", 0.0)]
    (tmp_path / "x").write_text("x")
    assert [one.detail["from"] for one in changes(observer.observe(view))] == [""]
    view.at_s += COUNT_EVERY_S
    assert [(one.name, one.value) for one in observer.observe(view)] == [("files_seen", 1.0)]


# model_answers


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


def asking(server: FakeServer, folder: Path) -> tuple[ModelAnswers, FakeView]:
    models = {"a.pkl": {"method": "POST", "path": "/classify", "body": {"text": "x"}}}
    view = FakeView(target(folder, base_url=server.base_url, models=models))
    (observer,) = ModelAnswers.instances(view.target)
    return observer, view


def test_a_model_that_answers_as_at_first(server: FakeServer, tmp_path: Path) -> None:
    observer, view = asking(server, tmp_path)
    server.answers["/classify"] = as_json({"category": "data"})
    for _ in range(3):
        readings = list(observer.observe(view))
        assert samples(readings, "model_answers_same") == samples(readings, "model_answered") == {"a.pkl": 1.0}
        assert len(readings) == 2
    method, path, _, body = server.seen[0]
    assert (method, path, json.loads(body)) == ("POST", "/classify", {"text": "x"})
    observer.close()


@pytest.mark.parametrize(
    "bad", [as_json({"category": "unclassified"}), Answer(status=500, body=b'{"category": "data"}'), Answer(status=404)]
)
def test_another_answer_is_told_and_so_is_the_first_one_again(server: FakeServer, tmp_path: Path, bad: Answer) -> None:
    observer, view = asking(server, tmp_path)
    good = Answer(body=b'{"category": "data"}')
    told = []
    for answer in (good, bad, bad, good, good):
        server.answers["/classify"] = answer
        told.append(list(observer.observe(view)))
    assert [samples(one, "model_answers_same")["a.pkl"] for one in told] == [1.0, 0.0, 0.0, 1.0, 1.0]
    answered = float(bad.status == 200)
    assert [samples(one, "model_answered")["a.pkl"] for one in told] == [1.0, answered, answered, 1.0, 1.0]
    seen = [edge.detail["what"] for one in told for edge in edges(one, Kind.SYMPTOM_SEEN)]
    assert seen == ["model_answer_changed", "model_answer_back"]
    observer.close()


def test_no_answer_is_another_answer_and_never_the_first_one(server: FakeServer, tmp_path: Path) -> None:
    observer, view = asking(server, tmp_path)
    server.answers["/classify"] = Answer(status=503)
    assert samples(list(observer.observe(view)), "model_answers_same") == {"a.pkl": 0.0}
    server.answers["/classify"] = as_json(1)
    readings = list(observer.observe(view))
    assert samples(readings, "model_answers_same") == {"a.pkl": 1.0}
    assert [edge.detail["what"] for edge in edges(readings, Kind.SYMPTOM_SEEN)] == ["model_answer_back"]
    observer.client.port = 1  # nobody there
    observer.client.close()
    assert samples(list(observer.observe(view)), "model_answers_same") == {"a.pkl": 0.0}
    observer.close()


def test_a_target_that_offers_no_question_is_told(tmp_path: Path) -> None:
    assert ModelAnswers.missing(target(tmp_path)) == "models"


def test_what_settings_say_is_read_with_their_file(tmp_path: Path) -> None:
    assert settings(b"a: {b: true, c: [1], d: {e: x}}\nf: 2\n") == {"a.b": True, "a.d.e": "x", "f": 2}
    assert settings(b"a: [") == settings(b"3") == settings(b"a: " + b"x" * (64 << 10)) == {}
