"""A locustfile for a worker on a machine whose clock is ahead: the same load as locustfiles/grace.py, another clock."""

from __future__ import annotations

import functools
import time

from harness import locust_load, worker

SHIFT_S = 5.0
locust_load.work = functools.partial(worker.work, clock=lambda: time.time() + SHIFT_S)

from locustfiles.grace import *  # noqa: E402, F403  # what it registers with Locust looks the worker up as it is now
