"""Tests that import Locust: see tests/test_patched.py."""
