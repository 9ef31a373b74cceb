"""Runs a twin whose workers can be made to loop for ever: each whose pid stands in the file DIR/loops."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twin import __main__
from twin.htm import execute as work

carry_out = work.execute.__code__
FILE = Path(sys.argv[sys.argv.index("--dir") + 1]) / "loops"


def looping(intent: Any) -> str:
    import os
    import time

    from tests.twin.slow_work import FILE

    def asked() -> bool:
        return FILE.exists() and str(os.getpid()) in FILE.read_text().split()

    while asked():
        pass
    time.sleep(0.01)
    return "done"


if __name__ == "__main__":
    work.execute.__code__ = looping.__code__
    sys.exit(__main__.main())
