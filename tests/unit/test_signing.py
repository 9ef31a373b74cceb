"""Signatures of run folders, and what verify says of a folder that contradicts itself or was written anew."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from harness import cli
from harness.model import Kind, Verdict
from harness.options import sign_key
from harness.record import Record
from harness.seal import SIGNATURE
from harness.signing import KEY_BYTES_MAX, KeyRefused, load_private, load_public, sign, untrusted
from harness.suite_check import Asked, SuiteRefused, check
from harness.suite_door import verify_rows
from harness.suite_result import Result
from harness.suite_state import SCHEMA as SUITES
from harness.suite_state import Row
from tests.drafts import healthy
from tests.golden.__main__ import HERE, RUN
from tests.sealed import chain_anew, sealed

ROOT = Path(__file__).resolve().parents[2]
FORMAT_1 = HERE / "format1" / RUN.name


def pem(key: object, protection: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection or NoEncryption())  # type: ignore[attr-defined]


def key_files(folder: Path, name: str = "key") -> tuple[Path, Path]:
    """(private key, public key), as OpenSSL would write them."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.touch(mode=0o600)
    private.write_bytes(pem(key))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(run folder that is signed, its private key, its public key)."""
    place = tmp_path_factory.mktemp("signed")
    private, public = key_files(place)
    folder = sealed(place)
    sign(folder, Record.load(folder), load_private(private))
    return folder, private, public


@pytest.fixture
def signed(original: tuple[Path, Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """(a copy of the run folder, the public key)."""
    folder, _, public = original
    return Path(shutil.copytree(folder, tmp_path / folder.name)), public


Verify = Callable[..., tuple[int, str]]


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verify:
    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["grace-chaos", "verify", *map(str, words)])
        code = cli.main()
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def raise_limit(folder: Path) -> None:
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    next(one for one in plan["claims"] if one["check"] == "restarted")["args"]["within_s"] = 6000.0
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")


# verify --key


def test_the_signed_run_is_told(signed: tuple[Path, Path], verify: Verify) -> None:
    folder, public = signed
    assert f"signed: MF01_triple_threat/{folder.name}" in verify(folder, "--key", public)[1].splitlines()
    assert "signed:" not in verify(folder)[1]


def test_a_run_under_another_time_is_not_the_signed_one(signed: tuple[Path, Path], verify: Verify) -> None:
    folder, public = signed
    moved = folder.rename(folder.with_name("20270101T000000.000000Z"))
    code, said = verify(moved, "--key", public)
    assert code == 3 and f"not trusted: the folder is MF01_triple_threat/{moved.name}, and " in said


@pytest.mark.parametrize(("scenario", "more", "code"), [("X", 0, 3), ("MF01_triple_threat", 1, 3)])
def test_a_suite_row_names_a_run_of_its_own(
    signed: tuple[Path, Path], verify: Verify, tmp_path: Path, scenario: str, more: int, code: int
) -> None:
    folder, public = signed
    seed = Record.load(folder).plan.seed + more
    row = {"scenario_id": scenario, "name": "x", "category": "c", "severity": 1, "word": "X", "seed": seed}
    row |= {"expected_s": 1.0, "verdict": "PASS"}
    asked = Asked(scenarios=("X",), out=tmp_path, seed=1).to_json()
    path = tmp_path / "chaos_report_x.json"
    told = {"schema": SUITES, "asked": asked, "scenarios": [{**row, "run_folder": folder.name}]}
    path.write_text(json.dumps(told), encoding="utf-8")
    for words in ((), ("--key", public)):
        found, said = verify(path, *words)
        assert found == code and f"{folder.name} is not a run of {scenario} with seed {seed}" in said


@pytest.mark.parametrize(("told", "code"), [("a" * 64, 0), ("", 0), ("b" * 64, 3)])
def test_a_suite_row_names_the_head_of_its_run(capsys: pytest.CaptureFixture[str], told: str, code: int) -> None:
    row = Row(scenario_id="X", name="x", category="c", severity=1, word="X", seed=1, expected_s=1.0)
    row = replace(row, verdict="PASS", run_folder="X/1", timeline_head=told)
    passed = Result(verdict=Verdict.PASS, because="2 claims were shown", folder=Path("X/1"), head="a" * 64)
    assert verify_rows([row], lambda _: passed) == code
    assert ("ends with aaaaaaaaaaaaaaaa, the report says bbbbbbbbbbbbbbbb" in capsys.readouterr().out) is (code == 3)


def test_the_original_is_told_by_its_key(signed: tuple[Path, Path], verify: Verify) -> None:
    folder, public = signed
    code, said = verify(folder, "--key", public)
    assert code == verify(folder)[0] and "not trusted" not in said
    assert f"timeline head: {Record.load(folder).head}" in said


def test_a_folder_chained_anew_is_told_from_the_original(signed: tuple[Path, Path], verify: Verify) -> None:
    folder, public = signed
    before, _ = verify(folder)
    raise_limit(folder)
    chain_anew(folder)
    assert verify(folder)[0] == before, "without the key nothing is seen"
    code, said = verify(folder, "--key", public)
    assert code == 3 and "it was written anew" in said


def test_a_folder_without_signature_is_not_trusted(signed: tuple[Path, Path], verify: Verify) -> None:
    folder, public = signed
    (folder / SIGNATURE).unlink()
    code, said = verify(folder, "--key", public)
    assert code == 3 and "signature.json is missing" in said


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"statement": 1, "signature": "AA=="}', "[" * 100_000])
def test_an_odd_signature_is_not_trusted(signed: tuple[Path, Path], verify: Verify, content: str) -> None:
    folder, public = signed
    (folder / SIGNATURE).write_text(content, encoding="utf-8")
    code, said = verify(folder, "--key", public)
    assert code == 3 and "signature.json" in said


def test_the_signature_of_another_key_is_not_trusted(signed: tuple[Path, Path], tmp_path: Path, verify: Verify) -> None:
    folder, _ = signed
    code, said = verify(folder, "--key", key_files(tmp_path, "other")[1])
    assert code == 3 and "was not made with this key" in said


def test_an_edited_statement_is_not_trusted(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    told = json.loads((folder / SIGNATURE).read_text(encoding="utf-8"))
    told["statement"]["run"] = "MF02/other"
    (folder / SIGNATURE).write_text(json.dumps(told), encoding="utf-8")
    assert "was changed" in untrusted(folder, Record.load(folder), load_public(public))


def test_edited_findings_are_not_what_was_signed(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    with (folder / "findings.json").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert "findings_sha256" in untrusted(folder, Record.load(folder), load_public(public))


def test_a_failure_of_an_unsigned_folder_is_inconclusive(tmp_path: Path, verify: Verify) -> None:
    folder = sealed(tmp_path, healthy().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog"))
    assert verify(folder)[0] == 1
    assert verify(folder, "--key", key_files(tmp_path)[1])[0] == 3


# keys


def odd_keys(folder: Path) -> dict[str, Path]:
    private, _ = key_files(folder)
    odd = {name: folder / name for name in ("open.pem", "empty.pem", "long.pem", "curve.pem", "locked.pem", "pipe")}
    shutil.copy(private, odd["open.pem"])
    odd["open.pem"].chmod(0o644)
    odd["empty.pem"].write_bytes(b"")
    odd["long.pem"].write_bytes(b"x" * (KEY_BYTES_MAX + 1))
    odd["curve.pem"].write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    odd["locked.pem"].write_bytes(pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")))
    os.mkfifo(odd["pipe"])
    for name in ("empty.pem", "long.pem", "curve.pem", "locked.pem"):
        odd[name].chmod(0o600)
    return {**odd, "missing": folder / "missing.pem", "folder": folder}


WHY = {
    "open.pem": "can be read by everybody",
    "empty.pem": "not a private key",
    "long.pem": "a key has at most",
    "curve.pem": "not an Ed25519 key",
    "locked.pem": "encrypted",
    "pipe": "not a regular file",
    "missing": "cannot be read: No such file",
    "folder": "not a regular file",
}


@pytest.mark.parametrize("name", WHY)
def test_an_unusable_private_key_is_refused(tmp_path: Path, name: str) -> None:
    path = odd_keys(tmp_path)[name]
    with pytest.raises(KeyRefused, match=WHY[name]):
        sign_key(SimpleNamespace(sign_key=str(path)))
    with pytest.raises(SuiteRefused, match=WHY[name]):
        check(Asked(scenarios=("MF01_triple_threat",), out=tmp_path, seed=1, sign_key=str(path)))


@pytest.mark.parametrize("name", ["empty.pem", "long.pem", "curve.pem", "pipe", "missing", "folder"])
def test_an_unusable_public_key_is_a_usage_error(
    signed: tuple[Path, Path], tmp_path: Path, verify: Verify, name: str
) -> None:
    code, said = verify(signed[0], "--key", odd_keys(tmp_path)[name])
    assert code == 2 and said.startswith("--key: ") and "Traceback" not in said


def test_the_key_reaches_each_child_of_a_suite(tmp_path: Path) -> None:
    asked = Asked(scenarios=("all",), out=tmp_path, seed=1, sign_key="key.pem").drawn()
    words = asked.command("MF01_triple_threat", 7)
    assert words[words.index("--sign-key") + 1] == str(Path("key.pem").resolve())
    assert "--sign-key" not in Asked(scenarios=("all",), out=tmp_path, seed=1).command("MF01_triple_threat", 7)
    assert Asked.from_json(asked.to_json()) == asked


def test_the_signature_can_be_read_by_everybody_and_the_key_is_not_in_it(original: tuple[Path, Path, Path]) -> None:
    folder, private, _ = original
    text = (folder / SIGNATURE).read_text(encoding="utf-8")
    assert private.read_text(encoding="utf-8").splitlines()[1] not in text
    assert stat.S_IMODE((folder / SIGNATURE).stat().st_mode) & stat.S_IRUSR
    statement = json.loads(text)["statement"]
    assert set(statement) == {"run", "run_format", "timeline_head", "findings_sha256"}
    assert statement["timeline_head"] == Record.load(folder).head and statement["run_format"] == 2


def test_junit_names_the_head_of_the_timeline(original: tuple[Path, Path, Path]) -> None:
    folder = original[0]
    found = ElementTree.parse(folder / "junit.xml").getroot().iter("property")
    assert {one.get("name"): one.get("value") for one in found}["timeline_head"] == Record.load(folder).head


# verify: what the folder says of itself


def test_an_untouched_folder_is_what_it_says(signed: tuple[Path, Path], verify: Verify) -> None:
    code, said = verify(signed[0])
    assert "differs" not in said and "not compared" not in said
    assert code == Verdict[said.split("verdict: ")[1].split(" ")[0]].exit_code


@pytest.mark.parametrize("name", ["findings.json", "incident.json", "junit.xml", "report.html"])
@pytest.mark.parametrize("how", ["edited", "deleted"])
def test_a_report_that_differs_is_named(signed: tuple[Path, Path], verify: Verify, name: str, how: str) -> None:
    folder, _ = signed
    path = folder / name
    if how == "deleted":
        path.unlink()
    elif name == "findings.json":
        path.write_text(path.read_text(encoding="utf-8").replace('"verdict": "PASS"', '"verdict": "FAIL"', 1))
    else:
        path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    code, said = verify(folder)
    assert code == 3 and [line for line in said.splitlines() if line.startswith(f"differs: {name}")]


@pytest.mark.parametrize(("key", "value"), [("code", "restarted.other"), ("evidence", []), ("verdict", "FAIL")])
def test_a_finding_is_compared_by_code_evidence_and_verdict(
    signed: tuple[Path, Path], verify: Verify, key: str, value: object
) -> None:
    path = signed[0] / "findings.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    rows[0][key] = value
    path.write_text(json.dumps(rows), encoding="utf-8")
    code, said = verify(signed[0])
    assert code == 3 and "differs: findings.json" in said


def test_a_finding_is_not_compared_by_its_words(signed: tuple[Path, Path], verify: Verify) -> None:
    path = signed[0] / "findings.json"
    before, _ = verify(signed[0])
    rows = [{**row, "because": "said otherwise"} for row in json.loads(path.read_text(encoding="utf-8"))]
    path.write_text(json.dumps(rows), encoding="utf-8")
    code, said = verify(signed[0])
    assert code == before and "differs: findings.json" not in said


def test_a_failure_stays_one_when_a_report_differs(tmp_path: Path, verify: Verify) -> None:
    folder = sealed(tmp_path, healthy().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog"))
    (folder / "findings.json").write_text("[]", encoding="utf-8")
    code, said = verify(folder)
    assert code == 1 and "differs: findings.json" in said


def test_reports_of_another_version_are_not_compared(tmp_path: Path, verify: Verify) -> None:
    draft = healthy()
    draft.change(Kind.RUN_STARTED, draft.plan.scenario_id, harness_version="0.0.9")
    folder = sealed(tmp_path, draft)
    (folder / "report.html").write_text("of another version", encoding="utf-8")
    said = verify(folder)[1]
    assert "differs" not in said and "not compared: the reports: version 0.0.9" in said


def test_a_folder_of_format_1_stays_readable(tmp_path: Path, verify: Verify) -> None:
    folder = Path(shutil.copytree(FORMAT_1, tmp_path / FORMAT_1.name))
    code, said = verify(folder)
    assert code == 1 and "differs" not in said and "not compared: the reports" in said
    rows = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    (folder / "findings.json").write_text(json.dumps(rows[1:]), encoding="utf-8")
    assert "differs: findings.json lacks" in verify(folder)[1]
