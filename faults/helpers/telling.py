"""What a helper tells its fault: a row a quarter of a second with the pressure on the machine, or why it gives up."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, NoReturn

from harness.pressure import read_pressure

ROW_EVERY_S = 0.25


def tell(**measured: Any) -> None:
    """One row {at, ..., pressure}; at in CLOCK_MONOTONIC."""
    print(json.dumps({"at": time.monotonic(), **measured, "pressure": read_pressure()}), flush=True)


def give_up(why: str) -> NoReturn:
    """Ends this process; the fault reads *why* and is lost."""
    print(json.dumps({"at": time.monotonic(), "error": why}), flush=True)
    sys.exit(why)
