"""Entry points of the harness's commands: a crash, also one at import, never ends with the exit code of a FAIL."""

from __future__ import annotations

import importlib
import sys
import traceback

CRASHED = 3  # the exit code of INCONCLUSIVE; Python itself would end with 1, which is FAIL
ENDINGS = (2, CRASHED, 4)  # exit codes that code of ours or argparse ends with on purpose
HELPS = (
    "argparse"  # the module that alone ends with 0, after --help: 0 means PASS, and whoever else says so ran nothing
)


def crash_code(error: BaseException) -> int:
    """Says in one line that the harness failed. An ending on purpose, or by Ctrl-C, is raised again."""
    on_purpose = isinstance(error, SystemExit) and (
        (type(error.code) is int and error.code in ENDINGS) or (error.code in (None, 0) and _raised_in(error) == HELPS)
    )
    if on_purpose or isinstance(error, KeyboardInterrupt | GeneratorExit):
        raise error
    words = " ".join(str(error).split())
    sys.stderr.write(f"the harness failed: {type(error).__name__}: {words}\n")
    sys.stderr.flush()
    return CRASHED


def _raised_in(error: BaseException) -> str:
    """The name of the module whose code raised *error*; "" when none did."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")) if frames else ""


def guarded(module: str, function: str = "main") -> int:
    """Imports *module* and returns what its *function* returns; CRASHED when either of them crashes."""
    try:
        return int(getattr(importlib.import_module(module), function)())
    except BaseException as error:
        return crash_code(error)


def main() -> int:
    """The command grace-chaos."""
    return guarded("harness.cli")
