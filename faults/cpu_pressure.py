"""CPU pressure: the same injector as cpu_spike, under the name that long scenarios use for it."""

from faults.cpu_spike import CpuSpike

FAULT = CpuSpike
