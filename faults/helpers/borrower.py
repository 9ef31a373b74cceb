"""Has a thread of each of some processes run a piece of Python: `python -m faults.helpers.borrower JSON`.

Arguments: {text, processes: {name: identity}}. A row a process: {name, thread, syscall, took_ms}, or {error}, and it
ends. A process of its own, so that whoever it has stopped goes on when it dies, whatever it died of.
"""

from __future__ import annotations

import json
import sys
import time

from faults.helpers.borrowing import NoBorrowing, run_in
from faults.helpers.telling import give_up, tell
from harness.contracts import ProcessId


def main() -> None:
    arguments = json.loads(sys.argv[1])
    for name, one in arguments["processes"].items():
        began_s = time.monotonic()
        try:
            borrowed = run_in(ProcessId(**one), arguments["text"])
        except (NoBorrowing, OSError, ValueError) as error:
            give_up(f"{name} (pid {one['pid']}): {error}")
        took_ms = round(1000 * (time.monotonic() - began_s), 2)
        tell(name=name, thread=borrowed.thread, syscall=borrowed.syscall, took_ms=took_ms)


if __name__ == "__main__":
    main()
