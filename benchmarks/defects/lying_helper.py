"""A helper that does nothing and says that it does all: `python -m benchmarks.defects.lying_helper JSON`.

Arguments {row: {...}, limit_s}: *row* is what it tells every quarter of a second.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main() -> None:
    arguments: dict[str, Any] = json.loads(sys.argv[1])
    end_s = time.monotonic() + float(arguments["limit_s"])
    while time.monotonic() < end_s:
        print(json.dumps({"at": time.monotonic(), **arguments["row"]}), flush=True)
        time.sleep(0.25)


if __name__ == "__main__":
    main()
