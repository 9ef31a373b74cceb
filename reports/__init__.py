"""Reporters, one a file: pure functions of a Record and its findings."""

from harness.own_parts import extended

__path__ = extended(__path__, "reports")
