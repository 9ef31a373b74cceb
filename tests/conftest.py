"""Which tests are collected: those that import Locust patch the process they run in, and run in one of their own."""

from __future__ import annotations

import os

PATCHED = "GRACE_TESTS_PATCHED"  # set by tests/test_patched.py

collect_ignore_glob = [] if PATCHED in os.environ else ["patched/*"]
