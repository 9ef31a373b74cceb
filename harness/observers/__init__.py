"""Observers, one source of signals a file; none of them sees the plan or the faults."""

from harness.own_parts import extended

__path__ = extended(__path__, "observers")
