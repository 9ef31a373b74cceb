"""Observers, one source of signals a file; none of them sees the plan or the faults."""
