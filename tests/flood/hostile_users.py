"""A locustfile for the tests: floods the hostile server; says in what it ends by a line when its source has settled."""

from __future__ import annotations

import os
import sys

from locust import stats as locust_stats

from locustfiles.engine.sources import Source, Template, encode
from locustfiles.flood import FloodUser
from tests.flood.hostile import SHAPES
from tests.flood.shapes import ShapeSource

locust_stats.CSV_STATS_FLUSH_INTERVAL_SEC = 0.1
TOTAL = int(os.environ["FLOOD_TOTAL"])
RATE_PER_S = float(os.environ.get("FLOOD_RATE", "0"))
KIND = os.environ.get("FLOOD_KIND", "shapes")
NAMES = [name for name in SHAPES if not name.startswith("silent")] + ["plain"] * 40


class Hostilities(FloodUser):
    connections = 20
    answer_timeout_s = 60.0
    rate_per_s = RATE_PER_S or None
    arrivals = "poisson"

    def source(self) -> Source:
        worker = max(0, getattr(self.environment.runner, "worker_index", 0))
        if KIND == "template":
            request = encode("POST", "/any/{id}", "x", b"yyyy")
            return Template("POST /any", request, total=TOTAL or None, first=worker * 10**9)
        return ShapeSource(NAMES, TOTAL, first=worker * 10**9, seed=worker)

    def settled(self) -> None:
        sys.stderr.write("the flood has settled\n")
        sys.stderr.flush()
