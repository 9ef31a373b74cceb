"""Breaks parts of the harness before it starts; Locust loads it before the file that starts the run.

GRACE_BREAK=NAME,... locust -f benchmarks/defects/locustfile_broken.py,locustfiles/grace.py --headless --scenario ID
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.defects.broken import apply

for name in os.environ["GRACE_BREAK"].split(","):
    apply(name)
