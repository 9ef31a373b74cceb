"""The peer of the message contest: the plain loop that anybody would write. `python -m benchmarks.sleep_flooder JSON`.

It sends a forbidden message, throws away what the bus has answered, and sleeps for 1 / rate; the connection, the key
and the message are those of faults/helpers/acl_flooder.py, and so are the arguments.
"""

from __future__ import annotations

import json
import sys
import time

from faults.helpers.acl_flooder import Flooder


def main() -> None:
    arguments = json.loads(sys.argv[1])
    flooder = Flooder(arguments)
    flooder.join()
    topics, nap_s = arguments["topics"], 1 / float(arguments["messages_per_second"])
    until_s, number = time.monotonic() + float(arguments["limit_s"]), 0
    while time.monotonic() < until_s:
        flooder.attempt(topics[number % len(topics)])
        flooder.collect()
        number += 1
        time.sleep(nap_s)


if __name__ == "__main__":
    main()
