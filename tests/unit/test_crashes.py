"""No crash of the harness ends with the exit code of a FAIL, and no broken part talks the judge out of judging."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import catalog, entry
from harness.judge import judge_claim
from harness.model import INVARIANT, Claim, Finding, Verdict
from harness.record import Record
from harness.reporting import judged
from tests.drafts import healthy
from tests.fake_target import write_manifest
from tests.own_folder import environment
from tests.sealed import sealed

ROOT = Path(__file__).resolve().parents[2]
CLAIM = Claim(claim="a claim", check="broken", group="verification")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return healthy().record(tmp_path_factory.mktemp("run"))


def raising(error: BaseException) -> Callable[[Record], Any]:
    def check(record: Record) -> Any:
        raise error

    return check


def endless(record: Record) -> Any:
    return endless(record)


def found(**words: Any) -> Finding:
    told: dict[str, Any] = {"check": "broken", "verdict": Verdict.PASS, "claim": "a claim", "because": "so"}
    return Finding(**{**told, "evidence": ("timeline:1",), "code": "broken.shown", **words})


@dataclass(frozen=True)
class Broken:
    act: Callable[[Record], Any]

    def check(self, record: Record) -> Any:
        return self.act(record)


CRASHES: dict[str, Callable[[Record], Any]] = {
    "error": raising(ValueError("broken")),
    "exit 0": raising(SystemExit(0)),
    "exit 1": raising(SystemExit(1)),
    "generator": raising(GeneratorExit()),
    "base": raising(BaseException("broken")),
    "recursion": endless,
    "ctrl-c by itself": raising(KeyboardInterrupt()),
}
NOTHING: dict[str, Any] = {
    "none": None,
    "a verdict": Verdict.PASS,
    "true": True,
    "another check": found(check="restarted"),
    "another claim": found(claim="another claim"),
    "no verdict": found(verdict="PASS"),
    "no evidence": found(evidence=["timeline:1"]),
    "evidence of numbers": found(evidence=(1,)),
    "a number for a reason": found(because=7),
    "no reason": found(because=None),
    "an empty code": found(code=""),
    "a number for a code": found(code=7),
    "the code of another check": found(code="restarted.shown"),
    "a code without a cause": found(code="broken."),
    "missing no texts": found(missing=(1,)),
    "further codes no texts": found(also=(1,)),
    "further codes no tuple": found(also="broken.more"),
    "further codes of another check": found(also=("restarted.shown",)),
}


def judged_by(monkeypatch: pytest.MonkeyPatch, record: Record, act: Callable[[Record], Any]) -> Finding:
    monkeypatch.setattr(catalog, "build_check", lambda *_: Broken(act))
    return judge_claim(record, CLAIM)


@pytest.mark.parametrize("name", CRASHES)
def test_a_check_that_crashes_is_inconclusive(monkeypatch: pytest.MonkeyPatch, record: Record, name: str) -> None:
    one = judged_by(monkeypatch, record, CRASHES[name])
    assert (one.verdict, one.code, one.claim) == (Verdict.INCONCLUSIVE, "broken.crashed", "a claim")
    assert one.evidence and "the check crashed: " in one.because


@pytest.mark.parametrize("name", NOTHING)
def test_a_check_that_returns_no_finding_is_named(monkeypatch: pytest.MonkeyPatch, record: Record, name: str) -> None:
    one = judged_by(monkeypatch, record, lambda _: NOTHING[name])
    assert (one.verdict, one.code, one.claim) == (Verdict.INCONCLUSIVE, "broken.returned_nothing", "a claim")


def test_a_check_that_returns_its_finding_is_believed(monkeypatch: pytest.MonkeyPatch, record: Record) -> None:
    assert judged_by(monkeypatch, record, lambda _: found()).verdict is Verdict.PASS


def test_a_claim_that_needs_an_unknown_step_is_inconclusive(monkeypatch: pytest.MonkeyPatch, record: Record) -> None:
    monkeypatch.setattr(catalog, "build_check", lambda *_: Broken(lambda _: found()))
    claim = Claim(claim="a claim", check="broken", needs=("no_such_step",))
    assert judge_claim(record, claim).code == "broken.crashed"


def test_ctrl_c_within_a_check_is_heard(monkeypatch: pytest.MonkeyPatch, record: Record) -> None:
    def pressed(record: Record) -> Any:
        signal.raise_signal(signal.SIGINT)
        return found()

    with pytest.raises(KeyboardInterrupt):
        judged_by(monkeypatch, record, pressed)


def test_a_broken_source_of_an_invariant_is_inconclusive(monkeypatch: pytest.MonkeyPatch, record: Record) -> None:
    def broken() -> Any:
        raise ValueError("broken")

    monkeypatch.setattr(catalog, "invariants", broken)
    one = judge_claim(record, Claim(claim="a claim", check="broken", group=INVARIANT))
    assert (one.verdict, one.code, one.group) == (Verdict.INCONCLUSIVE, "broken.crashed", INVARIANT) and one.evidence


# reporters


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(1), RecursionError()])
def test_a_reporter_that_crashes_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    class Bad:
        filename = "bad.md"

        def render(self, record: Record, findings: Any) -> str:
            raise error

    folder = sealed(tmp_path)
    others = catalog.reporters()
    monkeypatch.setattr(catalog, "reporters", lambda: {**others, "bad": Bad})
    result = judged(folder)
    (one,) = [finding for finding in result.findings if finding.code == "reports.crashed"]
    assert one.verdict is Verdict.INCONCLUSIVE and "the reporter bad crashed" in one.because and one.evidence
    assert result.verdict is not Verdict.PASS and "bad.md" not in result.files
    assert all(one.because in result.files[name] for name in ("junit.xml", "findings.json"))


def test_a_reporter_that_gives_no_text_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Bad:
        filename = "bad.md"

        def render(self, record: Record, findings: Any) -> None:
            return None

    folder = sealed(tmp_path)
    monkeypatch.setattr(catalog, "reporters", lambda: {"bad": Bad})
    assert [one.code for one in judged(folder).findings if one.check == "reports"] == ["reports.crashed"]


# entry points


@pytest.mark.parametrize("ending", [2, 3, 4])
def test_an_ending_on_purpose_is_kept(ending: int | None) -> None:
    with pytest.raises(SystemExit) as raised:
        entry.crash_code(SystemExit(ending))
    assert raised.value.code == ending


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(0),
        SystemExit(None),
        SystemExit(False),
        SystemExit(1),
        SystemExit("words"),
        ImportError("x"),
        RecursionError(),
        MemoryError(),
    ],
)
def test_any_other_end_is_a_crash(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.crash_code(error) == 3
    assert capsys.readouterr().err.startswith(f"the harness failed: {type(error).__name__}: ")


def test_help_ends_well(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["grace-chaos", "--help"])
    with pytest.raises(SystemExit) as raised:
        entry.guarded("harness.cli")
    assert raised.value.code == 0 and "usage: grace-chaos" in capsys.readouterr().out


PART = '''"""It ends the process where it should say how it is taken back."""
import sys
from dataclasses import dataclass
from faults.kernel_pause import FAULT as PAUSE
@dataclass(frozen=True, kw_only=True)
class Ends(PAUSE):
    def prepare(self, target):
        sys.exit(0)
FAULT = Ends
'''


def test_a_part_that_ends_the_process_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "ends_it.py").write_text(PART, encoding="utf-8")
    text = "scenario_id: X\nfaults:\n  - {type: ends_it, target: librarian, params: {pause_seconds: 5}}\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    processes = {"librarian": {"pid_file": str(tmp_path / "none.pid")}}
    manifest = write_manifest(tmp_path, processes=processes)
    words = ["-m", "harness.cli", "plan", str(tmp_path / "mine.yaml"), "--target", str(manifest)]
    done = subprocess.run(
        [sys.executable, *words], env=environment(tmp_path), capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "the harness failed: SystemExit: 0" in done.stderr


def broken_tree(tmp_path: Path, module: str) -> Path:
    """Copies of the code, by links, with one module that cannot be imported."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for path in ROOT.iterdir():
        if path.name in (
            "benchmarks",
            "faults",
            "reports",
            "twin",
            "scenarios",
            "locustfiles",
            "run_enhanced_chaos.py",
        ):
            (tree / path.name).symlink_to(path)
    (tree / "harness").mkdir()
    for path in (ROOT / "harness").iterdir():
        if path.name not in (module, "__pycache__"):
            (tree / "harness" / path.name).symlink_to(path)
    (tree / "harness" / module).write_text("import no_such_library\n", encoding="utf-8")
    return tree


def ended(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = {**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    return subprocess.run([sys.executable, *words], cwd=tree, env=paths, capture_output=True, text=True, timeout=60)


WAYS_IN = {
    "grace-chaos": ("-c", "import sys; from harness.entry import main; sys.exit(main())"),
    "python -m": ("-m", "harness.cli", "list"),
    "menu": ("run_enhanced_chaos.py",),
    "table of defects": ("-m", "benchmarks.defects", "--help"),
    "locust": ("-m", "locust", "-f", "locustfiles/grace.py", "--headless"),
    "locust with workers": ("-m", "locust", "-f", "locustfiles/grace.py", "--headless", "--processes", "2"),
}


@pytest.mark.parametrize("name", WAYS_IN)
def test_a_failing_import_never_ends_as_a_fail(tmp_path: Path, name: str) -> None:
    module = "catalog.py" if name == "table of defects" else "suite_console.py"
    done = ended(broken_tree(tmp_path, module), *WAYS_IN[name])
    assert done.returncode == 3, done.stdout + done.stderr
    assert "the harness failed: ModuleNotFoundError: No module named 'no_such_library'" in done.stderr
