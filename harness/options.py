"""What a start is asked for: the options of the command line and of the web form, read, and refused in words."""

from __future__ import annotations

import argparse
import errno
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.scenario import Scenario, shipped, shipped_classic
from harness.signing import PrivateKey, load_private
from harness.wave import find_together

STOP_FILE = "HALT"  # in the run folder or in --out: the run is halted
EXPECTED = {"time_scale": "a number above 0", "seed": "a whole number", "user_count": "a whole number above 0"}


class OptionError(Exception):
    """An option that cannot be; the text names it and what is expected."""


class AnyScenario(list[str]):
    """The choices of the web form. On the command line a file is as good: it then stands among the choices."""

    def __contains__(self, word: object) -> bool:
        if word not in list(self):
            self.insert(0, str(word))
        return True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenario",
        choices=AnyScenario([*shipped(), *shipped_classic()]),
        default="MF01_triple_threat",
        metavar="ID",
        help="what is done to Grace: a shipped id; on the command line also a file",
    )
    parser.add_argument(
        "--time-scale", type=float, default=1.0, help="scales durations, never rates or limits; 0.1 is a tenth"
    )
    parser.add_argument("--seed", type=int, default=0, help="repeats a run; 0 draws one, which is shown")
    parser.add_argument("--out", default="logs/chaos_enhanced", include_in_web_ui=False, help="where runs are kept")
    parser.add_argument("--target", default="", include_in_web_ui=False, help="manifest of the system under test")
    parser.add_argument(
        "--allow-host",
        default="",
        include_in_web_ui=False,
        metavar="NAME,...",
        help="hosts beyond this machine, each with a permit in the manifest",
    )
    parser.add_argument(
        "--sign-key",
        default="",
        include_in_web_ui=False,
        metavar="FILE",
        help="Ed25519 private key in PEM: each run folder is signed",
    )
    parser.add_argument("--safeguards-off", default="", help="NAME,... of the embedded Grace, to see the run fail")
    parser.add_argument(
        "--plant", default="", metavar="NAME,...", help="defects of the embedded Grace, to see them found"
    )
    parser.add_argument("--control", action="store_true", help="no fault at all: no safeguard may engage")


def wanted(options: Any, form: Mapping[str, str]) -> argparse.Namespace:
    """The options as *form* would have them, and *options* untouched. Raises OptionError."""
    asked = argparse.Namespace(**vars(options))
    words = ("scenario", "safeguards_off", "plant")
    for field, kind in (*((word, str) for word in words), ("time_scale", float), ("seed", int)):
        if field in form:
            setattr(asked, field, _read(field, kind, form[field]))
    if "control" in form:
        asked.control = form["control"] == "true"
    if "user_count" in form:
        asked.num_users = _read("user_count", int, form["user_count"])
        if asked.num_users < 1:
            raise OptionError(f"users: {EXPECTED['user_count']} is expected, not {asked.num_users}")
    return asked


def sign_key(options: Any) -> PrivateKey | None:
    """The key of --sign-key; None when there is none. Raises KeyRefused."""
    return load_private(Path(options.sign_key)) if options.sign_key else None


def allowed(options: Any) -> tuple[str, ...]:
    """The hosts that --allow-host names."""
    return tuple(name.strip() for name in options.allow_host.split(",") if name.strip())


def _read(field: str, kind: Any, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise OptionError(f"{field.replace('_', ' ')}: {EXPECTED[field]} is expected, not {text!r}") from None


def one_scenario(options: Any) -> Scenario:
    """The scenario that is asked for. Raises ScenarioError, or OptionError for several and for what cannot be."""
    scenarios = find_together(options.scenario)
    if len(scenarios) > 1:
        raise OptionError("one scenario a run: " + ", ".join(one.scenario_id for one in scenarios))
    if not (options.time_scale > 0 and math.isfinite(options.time_scale)):
        raise OptionError(f"--time-scale: above 0 is expected, not {options.time_scale:g}")
    if options.seed < 0:
        raise OptionError(f"--seed: a whole number of at least 0 is expected, not {options.seed}")
    if options.num_users is not None and options.num_users < 1:
        raise OptionError(f"--users: {EXPECTED['user_count']} is expected, not {options.num_users}")
    left = Path(options.out) / STOP_FILE
    if left.exists():
        raise OptionError(f"{left}: the stop file of an earlier run is still there; remove it to start one")
    return scenarios[0]


def stop_file(folder: Path, out: Path) -> Path | None:
    """The file that asks for a halt of the run in *folder*; None when nobody does."""
    return next((path for path in (folder / STOP_FILE, out / STOP_FILE) if path.exists()), None)


def make_out(out: Path) -> None:
    """Makes the folder that runs are kept in. Raises OptionError when it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise OptionError(f"--out: no run can be kept in {str(out)!r}: {error.strerror}") from None
