"""The ways into a suite from a command line: `grace-chaos run`, and `locust --headless --scenario CATEGORY`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.console import say
from harness.model import Verdict
from harness.signing import PublicKey
from harness.suite_check import GRACE, Asked, SuiteRefused
from harness.suite_console import run_to_exit_code
from harness.suite_entries import is_suite, split
from harness.suite_result import Result, is_of
from harness.suite_run import resume_suite, start_suite
from harness.suite_state import Row, read_state, write_pages
from harness.verify import verified

OUT = "logs/chaos_enhanced"
USAGE_ERROR = 2
WAVES = "waves"  # the category whose scenarios are meant to run in waves
FOR_LOCUST = "Further options, and all that follows a --, are Locust's."
DISTRIBUTED = ("--master", "--worker", "--processes")


def add_run(verbs: Any) -> None:
    """The verb `run` of grace-chaos."""
    verb = verbs.add_parser(
        "run",
        help="runs a scenario, or a suite of several, headless",
        epilog=FOR_LOCUST,
        allow_abbrev=False,
    )
    verb.add_argument("scenario", nargs="*", help="ids, categories, all, files, FILE#ID")
    add_asked(verb, OUT, "of the suite; each scenario's follows from it; 0 draws one")
    verb.add_argument("--control", action="store_true", help="no fault at all: no safeguard may engage")
    verb.add_argument(
        "--shared", action="store_true", help="one embedded Grace for the whole suite, not a fresh one each"
    )
    verb.add_argument(
        "--resume",
        nargs="?",
        const=OUT,
        metavar="REPORT",
        help=f"goes on with a suite that was cut off: its JSON report, or a folder with one ({OUT})",
    )


def add_asked(verb: argparse.ArgumentParser, out: str, seed: str) -> None:
    """What every suite is asked for; what is not given is None, or ""."""
    verb.add_argument("--time-scale", type=float, help="of all durations; 1 is full length")
    verb.add_argument("--seed", type=int, help=seed)
    verb.add_argument("--out", help=f"where runs and reports are kept; {out}")
    verb.add_argument("--safeguards-off", metavar="NAME,...", default="", help="of the embedded Grace")
    verb.add_argument("--plant", metavar="NAME,...", default="", help="defects of the embedded Grace, on purpose")
    verb.add_argument("--host", default="", help="a target of your own; needs --target")
    verb.add_argument("--target", metavar="FILE", default="", help="its manifest: docs/target.md")
    allow = "hosts beyond this machine, each with a permit in the manifest"
    verb.add_argument("--allow-host", metavar="NAME,...", default="", help=allow)
    verb.add_argument("--sign-key", metavar="FILE", default="", help="Ed25519 key in PEM: each run folder is signed")
    verb.add_argument("-u", "--users", type=int, help="legitimate ones, instead of the scenario's own")


def asked_of(
    options: argparse.Namespace, scenarios: Sequence[str], out: str, rest: Sequence[str], **more: Any
) -> Asked:
    """A suite as the options of add_asked() ask for it; *rest* is for each Locust."""
    return Asked(
        scenarios=tuple(scenarios),
        out=Path(options.out or out),
        seed=options.seed or 0,
        time_scale=1.0 if options.time_scale is None else options.time_scale,
        safeguards_off=options.safeguards_off,
        plant=options.plant,
        host=options.host,
        target=options.target,
        allow_host=options.allow_host,
        sign_key=options.sign_key,
        users=options.users,
        words=tuple(rest) if _has_locustfile(rest) else (*GRACE, *rest),
        **more,
    )


def parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(our words, those after the first --)."""
    at = words.index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1 :])


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """`grace-chaos run`: one scenario becomes a headless Locust, several a suite."""
    words = [word for one in options.scenario for word in split(one)]
    if options.resume is not None:
        return _resume(options, [*words, *rest])
    if is_suite(words) and (why := no_workers(rest)):
        return refuse(why)
    if not words:
        return refuse("run: a scenario, a category, all or a file is expected; see grace-chaos list")
    asked = asked_of(options, words, OUT, rest, control=options.control, shared=options.shared)
    if not is_suite(words) and not options.shared:
        _become([sys.executable, "-m", "locust", *asked.command(words[0], asked.seed)])
    return run_to_exit_code(partial(start_suite, asked))


def no_workers(rest: Sequence[str]) -> str:
    """Why a suite does not run with these words of Locust; "" when it does."""
    distributed = [one for one in rest if one.startswith(DISTRIBUTED)]
    return f"{distributed[0]}: with workers, one scenario a run" if distributed else ""


def _resume(options: argparse.Namespace, words: list[str]) -> int:
    given = [key for key, value in vars(options).items() if key not in ("verb", "resume", "scenario") and value]
    if words or given:
        told = ", ".join([*words, *(f"--{key.replace('_', '-')}" for key in given)])
        return refuse(f"--resume goes on with what was begun, as it was begun; leave out: {told}")
    return run_to_exit_code(partial(resume_suite, Path(options.resume)))


def verify(path: Path, key: PublicKey | None = None) -> int:
    """`grace-chaos verify` of a suite's report: every run folder is judged again; the worst decides."""
    try:
        state = read_state(path)
    except SuiteRefused as error:
        return refuse(str(error))
    return verify_rows(state.rows, lambda row: _again(state.asked.out / row.run_folder, row, key), key is not None)


def _again(folder: Path, row: Row, key: PublicKey | None) -> Result:
    """The verdict of a row's run folder, which must be of the row's scenario and seed."""
    found = verified(folder, key)
    if (folder / "plan.json").is_file() and not is_of(folder, row.scenario_id, row.seed):
        why = f"{row.run_folder} is not a run of {row.scenario_id} with seed {row.seed}"
        return Result(verdict=Verdict.INCONCLUSIVE, because=why, folder=folder)
    return found


def verify_rows(rows: Sequence[Row], judge: Callable[[Row], Result], each: bool = False) -> int:
    """Says of each what its run folder shows, and what the report says where that is another thing; the exit code.

    What is INCONCLUSIVE is not bettered by its folder: its process may have said otherwise. *each*: also its folder
    is looked at, for its signature.
    """
    verdicts = []
    for row in rows:
        verdict, because = Verdict(row.verdict), row.because
        if row.run_folder and (each or verdict is not Verdict.INCONCLUSIVE):
            again = judge(row)
            if row.timeline_head and again.head and again.head != row.timeline_head:
                heads = f"ends with {again.head[:16]}, the report says {row.timeline_head[:16]}"
                why = f"the timeline of {row.run_folder} {heads}: it is of another run, or was written anew"
                again = Result(verdict=Verdict.INCONCLUSIVE, because=why, folder=again.folder)
            if verdict is not Verdict.INCONCLUSIVE or again.verdict is Verdict.INCONCLUSIVE:
                verdict, because = again.verdict, again.because
        elif verdict in (Verdict.PASS, Verdict.FAIL):
            verdict, because = Verdict.INCONCLUSIVE, "it has no run folder"
        told = "" if verdict.value == row.verdict else f"  (the report says {row.verdict})"
        say(f"{verdict.value:<14} {row.scenario_id}: {because}{told}")
        verdicts.append(verdict)
    worst = Verdict.worst(verdicts)
    say(f"verdict: {worst.value} (exit {worst.exit_code})")
    return worst.exit_code


def report(path: Path) -> int:
    """`grace-chaos report` of a suite's report, or of a test run's in waves: its page and JUnit are written again."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        page, verdict = write_pages(path, told), Verdict(told["verdict"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return refuse(f"{path}: not a suite report: {type(error).__name__}: {error}")
    say(f"{verdict.value}: {page}")
    return verdict.exit_code


def to_suite(options: Any, distributed: bool) -> None:
    """Called when Locust begins: a headless Locust that is asked for several scenarios becomes their suite.

    It becomes another process under the same id, so signals and the exit code are the suite's own.
    """
    words = split(options.scenario)
    if not options.headless or not is_suite(words):
        return
    verb = "waves" if words == [WAVES] and not options.control else "run"
    if distributed:
        raise SystemExit(refuse(f"--scenario {options.scenario}: with workers, one scenario a run"))
    out = _out_of(verb, options.out)
    command = [sys.executable, "-m", "harness.cli", verb, *words, "--out", out, "--seed", str(options.seed)]
    command += ["--time-scale", repr(options.time_scale), *(["--control"] if options.control else [])]
    given = {"--host": options.host, "--target": options.target, "--allow-host": options.allow_host}
    given |= {"--safeguards-off": options.safeguards_off, "--plant": options.plant, "--sign-key": options.sign_key}
    given |= {"-u": options.num_users and str(options.num_users)}
    for flag, value in given.items():
        command += [flag, value] if value else []
    _become([*command, "--", *sys.argv[1:]])


def _out_of(verb: str, asked: str) -> str:
    """Waves have a folder of their own, unless another is asked for."""
    return "logs/chaos" if verb == "waves" and asked == OUT else asked


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)


def _has_locustfile(words: Sequence[str]) -> bool:
    return any(one in ("-f", "--locustfile") or one.startswith(("-f", "--locustfile=")) for one in words)


def refuse(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return USAGE_ERROR
