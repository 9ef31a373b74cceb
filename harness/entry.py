"""Entry points of the harness's commands: a crash, also one at import, never ends with the exit code of a FAIL."""

from __future__ import annotations

import importlib
import sys

CRASHED = 3  # the exit code of INCONCLUSIVE; Python itself would end with 1, which is FAIL
ENDINGS = (None, 0, 2, CRASHED, 4)  # exit codes that code of ours or argparse ends with on purpose


def crash_code(error: BaseException) -> int:
    """Says in one line that the harness failed. An ending on purpose, or by Ctrl-C, is raised again."""
    on_purpose = isinstance(error, SystemExit) and error.code in ENDINGS
    if on_purpose or isinstance(error, KeyboardInterrupt | GeneratorExit):
        raise error
    words = " ".join(str(error).split())
    sys.stderr.write(f"the harness failed: {type(error).__name__}: {words}\n")
    sys.stderr.flush()
    return CRASHED


def guarded(module: str, function: str = "main") -> int:
    """Imports *module* and returns what its *function* returns; CRASHED when either of them crashes."""
    try:
        return int(getattr(importlib.import_module(module), function)())
    except BaseException as error:
        return crash_code(error)


def main() -> int:
    """The command grace-chaos."""
    return guarded("harness.cli")
