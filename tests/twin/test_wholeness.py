"""Models, settings and snapshots: what is damaged is seen, never used, and mended byte for byte."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.twin.test_safeguards_monitors import LIMITS
from twin import settings, snapshots
from twin.config import Config
from twin.first_start import lay_out
from twin.kernels.governance import decide
from twin.models import CLASSIFIER, MODELS, TRUST, store, training
from twin.models.trust import Knowledge
from twin.rules import RULES, rules_of
from twin.safeguards.config_drift_guard import ConfigDriftGuard
from twin.safeguards.model_integrity_check import ModelIntegrityCheck
from twin.safeguards.snapshot_hygiene_manager import SnapshotHygieneManager
from twin.wholeness import AGAIN_AFTER_S, Wholeness


@pytest.fixture
def config(tmp_path: Path) -> Config:
    one = Config(dir=tmp_path, thresholds=LIMITS)
    lay_out(one)
    return one


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGE = pytest.mark.parametrize("damage", [half, flipped, Path.unlink])


# Models


def test_the_models_know_something(config: Config) -> None:
    models = {name: store.ModelInUse(config, name).get(0.0) for name in MODELS}
    assert models[CLASSIFIER].predict("Who may read the secret key?")[0] == "security"
    assert models[CLASSIFIER].predict("zzz")[1] == pytest.approx(0.2), "of what it has never heard it is not sure"
    right = sum(models[CLASSIFIER].predict(text)[0] == name for name, texts in training.TEXTS.items() for text in texts)
    assert right == sum(map(len, training.TEXTS.values()))
    score = models[TRUST].score
    best, none = Knowledge(1.0, "handbook", 10, 0.0, 1.0), Knowledge(0.0, "nobody", 0, 1e9, 0.0)
    assert (score(best), score(none)) == (0.9958, 0.075)
    for change, share in (((0.0, "handbook", 10, 0.0, 1.0), 0.30), ((1.0, "handbook", 0, 0.0, 1.0), 0.20)):
        assert score(best) - score(Knowledge(*change)) == pytest.approx(share)


@DAMAGE
@pytest.mark.parametrize("name", MODELS)
def test_a_damaged_model_is_not_used_until_it_is_restored(
    config: Config, name: str, damage: Callable[[Path], None]
) -> None:
    model, path = store.ModelInUse(config, name), config.models_dir / name
    before = path.read_bytes()
    assert model.get(0.0) is not None and model.problem == ""
    damage(path)
    assert model.get(store.LOOK_EVERY_S / 2) is not None, "not looked at so soon"
    assert model.get(1.0) is None and model.problem and model.sha256 == ""
    assert store.restore(config, name)["sha256"] == store.checksums(config)[name]
    assert path.read_bytes() == before and model.get(2.0) is not None
    assert answers(model.get(2.0), name) == ""


def answers(model: object, name: str) -> str:
    return training.answers_wrongly(name, model)


def test_the_same_models_are_fitted_every_time(config: Config, tmp_path: Path) -> None:
    other = Config(dir=tmp_path / "other")
    lay_out(other)
    assert store.checksums(config) == store.checksums(other)
    (config.models_dir / TRUST).write_bytes(b"another")
    lay_out(config)
    assert (config.models_dir / TRUST).read_bytes() == b"another", "a later start covers nothing up"


def test_a_pickle_of_anything_else_is_never_built() -> None:
    for evil in (os.system, Path("x"), {"a": 1}, [1]):
        data = pickle.dumps(evil)
        with pytest.raises(store.ModelError, match=r"cannot be loaded|no model"):
            store.load(data, store.sha256_of(data))
    with pytest.raises(store.ModelError, match="sha256"):
        store.load(pickle.dumps(os.system), "0" * 64)


@DAMAGE
def test_a_damaged_backup_restores_nothing(config: Config, damage: Callable[[Path], None]) -> None:
    half(config.models_dir / TRUST)
    left = (config.models_dir / TRUST).read_bytes()
    damage(store.backup_dir(config) / TRUST)
    with pytest.raises(store.ModelError):
        store.restore(config, TRUST)
    assert (config.models_dir / TRUST).read_bytes() == left
    with pytest.raises(store.ModelError, match="no model is called"):
        store.restore(config, "../../etc")


@DAMAGE
def test_the_integrity_check_sees_a_damaged_model(config: Config, damage: Callable[[Path], None]) -> None:
    check = ModelIntegrityCheck(config)
    assert check.problems(0.0) == {CLASSIFIER: "", TRUST: ""}
    damage(config.models_dir / TRUST)
    seen = check.problems(1.0)
    assert seen[CLASSIFIER] == "" and seen[TRUST]
    store.restore(config, TRUST)
    assert check.problems(2.0)[TRUST] == ""


def test_the_integrity_check_sees_damage_that_changes_no_date(config: Config) -> None:
    check, path = ModelIntegrityCheck(config), config.models_dir / CLASSIFIER
    assert check.problems(0.0)[CLASSIFIER] == ""
    about = path.stat()
    flipped(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert check.problems(3.0)[CLASSIFIER]


def test_the_integrity_check_asks_a_model_whose_checksum_is_right(config: Config) -> None:
    """Somebody has put another model there, and its checksum in the manifest."""
    other = pickle.dumps(training.fitted()[CLASSIFIER].__class__(shares={"x": 0.0}, words={"x": {}}, unseen={"x": 0.0}))
    (config.models_dir / CLASSIFIER).write_bytes(other)
    manifest = store.backup_dir(config) / "manifest.json"
    rows = json.loads(manifest.read_text())
    rows[CLASSIFIER]["sha256"] = store.sha256_of(other)
    manifest.write_text(json.dumps(rows))
    assert "and not 'operations'" in ModelIntegrityCheck(config).problems(0.0)[CLASSIFIER]
    manifest.write_text("{")
    assert "manifest" in ModelIntegrityCheck(config).problems(0.0)[CLASSIFIER]


# Snapshots


def corrupt(config: Config, key: str) -> None:
    document = json.loads(config.state_snapshot.read_text())
    config.state_snapshot.write_text(json.dumps({**document, key: "?"}))


@pytest.mark.parametrize("key", snapshots.KEYS)
def test_a_corrupt_key_is_seen_and_not_begun_with(config: Config, key: str) -> None:
    guard = SnapshotHygieneManager(config)
    assert guard.problems(0.0) == {"state_snapshot": "", "state_backup": ""}
    kept = snapshots.begin_with(config, key)
    corrupt(config, key)
    assert guard.problems(1.0)["state_snapshot"] == f"{key} has another checksum"
    assert snapshots.begin_with(config, key) == kept, "that of the backup"
    snapshots.backup_of(config).unlink()
    assert guard.problems(2.0)["state_backup"] and snapshots.begin_with(config, key) is None
    assert rules_of(config) == RULES


@DAMAGE
def test_a_damaged_snapshot_never_becomes_the_backup(config: Config, damage: Callable[[Path], None]) -> None:
    guard, values = SnapshotHygieneManager(config), {"memory_index": snapshots.EMPTY_INDEX, "governance_rules": RULES}
    good = snapshots.backup_of(config).read_bytes()
    damage(config.state_snapshot)
    assert guard.problems(0.0)["state_snapshot"]
    snapshots.take(config, values)
    assert snapshots.backup_of(config).read_bytes() == good
    assert guard.problems(1.0) == {"state_snapshot": "", "state_backup": ""}
    damage(snapshots.backup_of(config))
    assert guard.problems(2.0)["state_backup"]
    snapshots.take(config, values)
    assert guard.problems(3.0) == {"state_snapshot": "", "state_backup": ""}


def test_governance_decides_by_the_rules_of_the_snapshot(config: Config) -> None:
    snapshots.take(config, {"memory_index": snapshots.EMPTY_INDEX, "governance_rules": {**RULES, "review_from": 0.0}})
    assert decide("a", "read", "status")["decision"] == "allow"
    assert decide("a", "read", "status", rules=rules_of(config))["decision"] == "review"
    snapshots.take(config, {"memory_index": snapshots.EMPTY_INDEX, "governance_rules": {"no": "rules"}})
    assert rules_of(config) == RULES, "what has not the shape of rules is none, sealed or not"


def test_every_flipped_bit_of_a_snapshot_is_seen(config: Config) -> None:
    data = config.state_snapshot.read_bytes()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        config.state_snapshot.write_bytes(bytes(damaged))
        assert snapshots.trouble(config.state_snapshot), f"bit {place % 8} of byte {place}"
    for hostile in (b"[" * 100_000, b"\xff\xfe", b"", b"[]", b'{"checksums": []}'):
        config.state_snapshot.write_bytes(hostile)
        assert snapshots.trouble(config.state_snapshot) and snapshots.begin_with(config, "memory_index") is not None


# Settings


@pytest.mark.parametrize("hostile", [b"a: !!bool x", b"[" * 3000, b"\x00", b"? {a: b}\n: c", b"&a [*a]", b"2024-13-45"])
def test_settings_that_no_reader_takes_are_refused_in_words(hostile: bytes) -> None:
    with pytest.raises(settings.SettingsError):
        settings.parse(hostile)


def test_a_flipped_bit_in_the_settings_is_refused_or_read_and_never_more() -> None:
    for place in range(len(settings.FIRST)):
        for bit in range(8):
            damaged = bytearray(settings.FIRST)
            damaged[place] ^= 1 << bit
            with contextlib.suppress(settings.SettingsError):
                assert isinstance(settings.parse(bytes(damaged)), settings.Settings)


def test_settings_that_drift_are_followed_seen_and_taken_back(config: Config) -> None:
    guard, live = ConfigDriftGuard(config), settings.LiveSettings(config)
    before = config.settings_file.read_bytes()
    assert guard.problems(0.0) == {"config": ""} and live.get(0.0).governance_approval_required
    config.settings_file.write_bytes(before.replace(b"approval_required: true", b"approval_required: false"))
    assert not live.get(1.0).governance_approval_required
    assert decide("a", "deploy", "service", settings=live.get(1.0))["decision"] == "allow"
    assert decide("a", "deploy", "service")["decision"] == "review"
    assert guard.problems(1.0)["config"] == "governance_approval_required is False, approved is True"
    settings.restore(config)
    assert config.settings_file.read_bytes() == before and guard.problems(2.0) == {"config": ""}
    assert live.get(2.0).governance_approval_required


@DAMAGE
def test_settings_that_make_no_sense_are_not_followed(config: Config, damage: Callable[[Path], None]) -> None:
    guard, live, before = ConfigDriftGuard(config), settings.LiveSettings(config), config.settings_file.read_bytes()
    kept = live.get(0.0)
    damage(config.settings_file)
    assert guard.problems(0.0)["config"] and live.get(1.0) == kept
    settings.restore(config)
    assert config.settings_file.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"0.85", b"1.5", "a number from 0 to 1"),
        (b"0.85", b"yes", "a number"),
        (b"true", b"1", "true or false"),
        (b"deny_from", b"deny_form", "governance_deny_form"),
        (b"governance:", b"- governance:", "no YAML|sections"),
        (b"\xff", b"\xff", "no YAML"),
    ],
)
def test_each_wrong_setting_is_named(old: bytes, new: bytes, words: str) -> None:
    with pytest.raises(settings.SettingsError, match=words):
        settings.parse(settings.FIRST.replace(old, new) if old != new else new)


def test_only_an_approval_makes_a_change_right(config: Config) -> None:
    config.settings_file.write_bytes(config.settings_file.read_bytes() + b"# checked\n")
    guard = ConfigDriftGuard(config)
    assert guard.problems(0.0)["config"] == "the same settings in other words"
    settings.approve(config)
    assert guard.problems(1.0)["config"] == ""
    half(settings.approved_dir(config) / config.settings_file.name)
    with pytest.raises(settings.SettingsError, match="not what was approved"):
        settings.restore(config)


# When an incident begins and ends


def walked(*problems: str) -> list[tuple[int, bool]]:
    """(number of the look, engaged) of each change, at two looks a second."""
    guard = Wholeness()
    return [(n, one.engaged) for n, text in enumerate(problems) for one in guard.tick(n / 2, {"file": text})]


def test_two_looks_agree_before_anything_is_said() -> None:
    assert walked("", "torn", "", "torn", "") == []
    assert walked("", "torn", "torn", "torn", "", "torn", "", "", "") == [(2, True), (7, False)]


def test_a_playbook_that_does_not_help_is_asked_for_again() -> None:
    looks = int(2 * AGAIN_AFTER_S) + 6
    changes = walked(*["torn"] * looks)
    assert [engaged for _, engaged in changes] == [True, False, True]
    assert changes[1][0] - changes[0][0] == 2 * AGAIN_AFTER_S


def test_what_was_open_before_a_restart_is_closed_when_it_is_whole() -> None:
    guard = Wholeness()
    guard.resume(0.0, ["file"])
    assert [one.engaged for n in range(4) for one in guard.tick(n / 2, {"file": ""})] == [False]
