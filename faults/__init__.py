"""Fault injectors, one a file; the file's stem is its name in a scenario."""

from harness.own_parts import extended

__path__ = extended(__path__, "faults")
