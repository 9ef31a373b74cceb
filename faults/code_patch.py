"""Code patch: the same injector as worker_stall, under the name that scenarios use which say where and what."""

from faults.worker_stall import WorkerStall

FAULT = WorkerStall
