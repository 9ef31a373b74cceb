"""grace-chaos: the menu and list, plan, lint, audit, run, waves, verify, report, heal, twin, killmatrix."""

from __future__ import annotations

import sys

if __name__ == "__main__":  # before anything else is imported, so that an import that fails is caught too
    from harness.entry import main as guarded_main

    sys.exit(guarded_main())

import argparse
import os
import random
import select
import signal
import subprocess
import time
import traceback
from pathlib import Path

from harness import menu, own_parts, suite_door, wave_console
from harness import scenario as scenarios
from harness.audit import as_markdown, as_text, audit
from harness.catalog import CatalogError
from harness.classic import CLASSIC
from harness.console import table
from harness.contracts import TargetError
from harness.embedded import EmbeddedTwin, TwinRefused, limited
from harness.metrics import UNITS
from harness.model import Verdict
from harness.plan import Options, build_plan, describe
from harness.preflight import checked
from harness.process import read_process, send
from harness.proofread import BY_WHOM, paper, proofread
from harness.run import conclude
from harness.scenario import ALL, ScenarioError
from harness.signing import KeyRefused, load_public
from harness.suite_entries import entries
from harness.sweep import sweep
from harness.target import load_target
from harness.verify import verify_folder

ROOT = Path(__file__).resolve().parents[1]
TWIN_DIR = Path(".twin")
WITHOUT_PARTS = ("heal", "twin")  # what takes things back must work whatever somebody's own parts look like
ABOUT = "Load, attacks and faults for Grace, all at once; and by evidence, which of its safeguards fired and how fast."
OWN = "GRACE_PARTS=DIR[:DIR] names folders with faults, checks, observers and reporters of your own: docs/ADDING.md"
READY_LIMIT_S = 30.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="grace-chaos", description=ABOUT, epilog=OWN)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", help="without one: the menu")
    verbs.add_parser("list", help="the scenarios that come with this version")
    lint = verbs.add_parser("lint", help="says what is wrong in scenario files")
    lint.add_argument("files", nargs="+", type=Path, metavar="FILE")
    lint.add_argument("--target", type=Path, help="whose words are meant; without it those of the embedded Grace")
    audits = verbs.add_parser("audit", help="lists which promise is judged by which check from which sources")
    audits.add_argument("words", nargs="*", metavar="SCENARIO", help="ids, categories, files; without one all shipped")
    audits.add_argument("--target", type=Path, help="whose manifest is meant; without it that of the embedded Grace")
    audits.add_argument("--format", choices=("text", "md"), default="text")
    plan = verbs.add_parser("plan", help="what a scenario would do to a target; injects nothing")
    plan.add_argument("scenario")
    plan.add_argument("--target", type=Path, help="without it an embedded Grace is started, asked and stopped")
    plan.add_argument("--time-scale", type=float, default=1.0)
    plan.add_argument("--seed", type=int, default=1)
    suite_door.add_run(verbs)
    wave_console.add_waves(verbs)
    for name, text in (
        ("verify", "judges a run folder again, or all of a suite's report"),
        ("report", "writes its reports again, or a suite's page"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("folder", type=Path)
        if name == "verify":
            verb.add_argument("--key", type=Path, metavar="FILE", help="public key that the run must be signed with")
    healing = verbs.add_parser("heal", help="takes back whatever the run folders below a path left undone")
    healing.add_argument("folder", nargs="?", type=Path, default=Path("logs/chaos_enhanced"))
    twin = verbs.add_parser("twin", help="an embedded Grace that stays until it is told to go")
    twin.add_argument("action", choices=("up", "status", "down"))
    twin.add_argument("--dir", type=Path, default=TWIN_DIR)
    twin.add_argument("--safeguards-off", default="", metavar="NAME,...")
    twin.add_argument("--plant", default="", metavar="NAME,...", help="defects on purpose: what finds none is blind")
    matrix = verbs.add_parser("killmatrix", help="kills harness and guardian at every step of every fault's life")
    matrix.add_argument("--all", action="store_true", help="every cell, not a seeded choice of them")
    matrix.add_argument("--soak", type=int, default=0, metavar="N", help="N kills at random moments instead")
    matrix.add_argument("--seed", type=int, default=0, help="0 draws one, which is printed")
    matrix.add_argument("--only", default="", metavar="FAULT,...", help="of these faults alone")
    matrix.add_argument("--out", type=Path, help="write the table there too")
    mine, for_locust = suite_door.parted(sys.argv[1:])
    options, rest = parser.parse_known_args(mine)
    if (rest or for_locust) and options.verb not in ("run", "waves"):
        parser.error(f"unknown: {' '.join([*rest, *for_locust])}")
    return _heard(_done(options, rest + for_locust))


def _heard(code: int) -> int:
    """*code*; quiet where nobody reads what is printed any more, as behind `| head -1`."""
    if not _is_read():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
    return code


def _is_read() -> bool:
    """False when whoever read what is printed has gone."""
    try:
        sys.stdout.flush()
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return not any(what & select.POLLERR for _, what in poll.poll(0))
    except BrokenPipeError:
        return False
    except (OSError, ValueError):  # it is no file at all
        return True


def _done(options: argparse.Namespace, rest: list[str]) -> int:
    """The exit code of a verb; what goes wrong in it is said in words."""
    try:
        if options.verb not in WITHOUT_PARTS:
            own_parts.check()
        return VERBS[options.verb](options, rest) if options.verb else menu.main()
    except (CatalogError, KeyRefused, ScenarioError, TargetError, TwinRefused) as error:
        print(error, file=sys.stderr)
        return 2
    except RuntimeError as error:  # a Grace that did not come up
        print(error, file=sys.stderr)
        return Verdict.INCONCLUSIVE.exit_code
    except Exception as error:  # the exit code of a crash must not be that of a FAIL
        if isinstance(error, BrokenPipeError) and not _is_read():
            return Verdict.INCONCLUSIVE.exit_code  # nobody was told a verdict
        traceback.print_exc()
        print(f"grace-chaos crashed: {type(error).__name__}: {error}", file=sys.stderr)
        return Verdict.INCONCLUSIVE.exit_code


def _list(options: argparse.Namespace, rest: list[str]) -> int:
    for one in entries([ALL, *CLASSIC]):
        lacks = f"  cannot run: {one.lacks_briefly}" if one.lacks else ""
        print(f"{one.scenario_id:<34} {one.category:<16} severity {one.severity}  {one.name}{lacks}")
    return 0


def _lint(options: argparse.Namespace, rest: list[str]) -> int:
    wrong, judged = 0, False
    with paper(options.target) as target:
        for word in options.files:
            found, problems = proofread(word, target)
            for problem in problems:
                print(problem, file=sys.stderr)
            if not problems:
                print("\n".join(f"{word}: {one.scenario_id}: nothing is wrong" for one in found))
            wrong, judged = wrong + len(problems), judged or bool(problems and found)
    if judged and options.target is None:
        print(BY_WHOM, file=sys.stderr)
    return 2 if wrong else 0


def _audit(options: argparse.Namespace, rest: list[str]) -> int:
    """Exit code 2 when a promise has no check."""
    with paper(options.target) as target:
        found = [audit(one, target) for word in options.words or (ALL, *CLASSIC) for one in scenarios.find(word)]
    print(as_markdown(found, bool(options.target)) if options.format == "md" else as_text(found), end="")
    lacking = list(dict.fromkeys(line for one in found for line in one.lacking))
    print("\n".join(f"no check: {line}" for line in lacking), file=sys.stderr, end="\n" if lacking else "")
    return 2 if lacking else 0


def _plan(options: argparse.Namespace, rest: list[str]) -> int:
    found = scenarios.find(options.scenario)
    twin = None if options.target else EmbeddedTwin()
    try:
        target = load_target(options.target) if twin is None else twin.wait()
        for one in found:
            asked = Options(seed=options.seed, time_scale=options.time_scale)
            plan, _ = build_plan(one, target, asked, UNITS)
            print(describe(plan))
            for claim in plan.claims:
                print(f"  {claim.group:<12} {claim.claim}")
    finally:
        if twin is not None:
            twin.stop()
    lacks = checked(target) if twin is None else ()
    for lack in lacks:
        print(lack, file=sys.stderr)
    return Verdict.NOT_APPLICABLE.exit_code if lacks else 0


def _verify(options: argparse.Namespace, rest: list[str]) -> int:
    key = load_public(options.key) if options.key else None
    if options.folder.is_file():
        in_waves = wave_console.is_report(options.folder)
        return wave_console.verify(options.folder, key) if in_waves else suite_door.verify(options.folder, key)
    try:
        found = verify_folder(options.folder, key)
    except (OSError, ValueError) as error:
        raise _no_run(options.folder, error) from None
    judged, record = found.judged, found.judged.record
    repeat = str(record.events[0].detail.get("repeat", "")) if record.events else ""
    print(table(judged.findings, judged.verdict, options.folder, repeat, record.head))
    for line in found.lines:
        print(line)
    return found.verdict.exit_code


def _report(options: argparse.Namespace, rest: list[str]) -> int:
    if options.folder.is_file():
        return suite_door.report(options.folder)
    try:
        answer, _ = conclude(options.folder)
    except (OSError, ValueError) as error:
        raise _no_run(options.folder, error) from None
    print(f"{answer.value}: {options.folder / 'report.html'}")
    return answer.exit_code


def _no_run(folder: Path, error: Exception) -> TargetError:
    reports = sorted(folder.glob("chaos_report_*.json"))
    hint = f"; of a suite, name its report: {reports[-1]}" if reports else ""
    return TargetError(f"{folder}: not a run folder: {error}{hint}")


def _heal(options: argparse.Namespace, rest: list[str]) -> int:
    """From the undo logs alone. A target that is gone counts as healed; what is stuck makes the exit code 3."""
    swept = sweep(options.folder)
    for one in swept:
        print(one)
    if not swept:
        print(f"nothing to heal below {options.folder}")
    return 0 if all(one.verified for one in swept) else Verdict.INCONCLUSIVE.exit_code


def _twin(options: argparse.Namespace, rest: list[str]) -> int:
    folder = options.dir.resolve()
    manifest = folder / "target.yaml"
    supervisor = _supervisor(folder)
    if options.action == "up":
        return _twin_up(folder, manifest, options.safeguards_off, options.plant)
    if supervisor is None:
        print(f"no twin runs in {folder}")
        return 0 if options.action == "down" else Verdict.INCONCLUSIVE.exit_code
    if options.action == "status":
        print(f"running, pid {supervisor.pid}: {load_target(manifest).base_url}  {manifest}")
        return 0
    send(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + READY_LIMIT_S
    while read_process(supervisor.pid) == supervisor:
        if time.monotonic() > deadline:
            print(f"pid {supervisor.pid} does not end", file=sys.stderr)
            return Verdict.INCONCLUSIVE.exit_code
        time.sleep(0.05)
    print("stopped")
    return 0


def _supervisor(folder: Path):  # type: ignore[no-untyped-def]
    """The supervisor that the folder's pid file names, if that process really is one of this folder."""
    try:
        pid = int((folder / "run" / "supervisor.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (OSError, ValueError):
        return None
    return read_process(pid) if str(folder) in words else None


def _twin_up(folder: Path, manifest: Path, safeguards_off: str, plant: str) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(f"--dir: no twin can live in {folder}: {error.strerror}") from None
    command = [sys.executable, "-m", "twin", "--dir", str(folder)]
    command += ["--safeguards-off", safeguards_off] if safeguards_off else []
    command += ["--plant", plant] if plant else []
    command, _, without_limit = limited(command)
    if without_limit:
        print(without_limit, file=sys.stderr)
    said = folder / "stderr.log"
    with said.open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True, cwd=os.sep
        )
    deadline = time.monotonic() + READY_LIMIT_S
    while "ready http" not in (text := said.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            print(text.strip() or "the twin did not become ready", file=sys.stderr)
            return 2 if process.returncode == 2 else Verdict.INCONCLUSIVE.exit_code  # a crash of it is no FAIL
        time.sleep(0.02)
    print(f"{load_target(manifest).base_url}\ntarget: {manifest}")
    return 0


def _killmatrix(options: argparse.Namespace, rest: list[str]) -> int:
    from harness.killmatrix import cells
    from harness.killmatrix.table import table as matrix_table

    seed = options.seed or random.SystemRandom().randrange(1, 2**31)
    faults = cells.usable(options.only)
    if options.soak:
        chosen = cells.soak(seed, options.soak, faults)
    else:
        chosen = cells.all_cells(faults) if options.all else cells.diagonal(seed, faults)
    print(f"{len(chosen)} kills, seed {seed}", flush=True)
    outcomes = []
    for number, cell in enumerate(chosen, 1):
        outcome = cells.run(cell)
        outcomes.append(outcome)
        told = f"healed in {1000 * outcome.heal_s:.0f} ms" if outcome.heal_s is not None else "; ".join(outcome.left)
        print(f"[{number}/{len(chosen)}] {cell}: {'' if outcome.clean else 'LEFT BEHIND: '}{told}", flush=True)
    text = matrix_table(outcomes)
    print(f"\n{text}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    return 0 if all(outcome.clean for outcome in outcomes) else 1


VERBS = {
    "list": _list,
    "lint": _lint,
    "plan": _plan,
    "audit": _audit,
    "run": suite_door.run,
    "waves": wave_console.waves,
    "verify": _verify,
    "report": _report,
    "heal": _heal,
    "twin": _twin,
    "killmatrix": _killmatrix,
}
