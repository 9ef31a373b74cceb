"""Memory pressure: real memory is taken until the machine, or the target's own cgroup, is used to a given degree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faults.helpers.reading import helper_facts, sample_mean
from faults.helpers.witness import Level
from harness.cgroup import limit_bytes, used_percent
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Magnitude, Sample, Undo
from harness.observers.resources import memory_percent
from harness.primitives.kill_marked import TERM_S_MAX, kill_marked

BELT_S = 30.0  # the helper ends by itself this long after its time, should nobody end it
FILL_BYTES_PER_S = 128 * 2**20  # a machine that has never touched its memory before fills slowly
ATTAIN_S = (60.0, 600.0)


@dataclass(frozen=True, kw_only=True)
class MemoryPressure:
    """Holds the used share of memory at *memory_percent* for *duration_seconds*, by a helper that fills and waits.

    Of the machine: what MemAvailable does not show as available. With `scope: target`, of the memory cgroup that the
    manifest names (paths.memory_cgroup): its usage without inactive file cache, of its limit. A target that names
    none, or one that this user may not enter, gets the machine's pressure, and the facts say why.

    512 MiB of the machine always stay available: a percentage beyond that is not reached, and said so.
    """

    target: str = "machine"
    memory_percent: float
    duration_seconds: float
    scope: str = "machine"

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0
    defaults: ClassVar[Mapping[str, Any]] = {"memory_percent": 90, "duration_seconds": 45, "scope": "target"}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"scope": ("machine", "target")}

    witness: ClassVar[str] = "MemAvailable or the cgroup's usage, read by the harness"

    @property
    def subject(self) -> str:
        return "memory"

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="memory", value=self.memory_percent, unit="%", tolerance=5.0)

    @property
    def attain_limit_s(self) -> float:
        if self.scope == "target":
            return ATTAIN_S[0]
        fill_s = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / FILL_BYTES_PER_S
        return max(ATTAIN_S[0], min(ATTAIN_S[1], fill_s))

    def caveat(self, target: Target) -> str:
        """What stands in the plan where it is not what was asked for; "" where it is."""
        _, why_not = self._group(target)
        return f"makes the whole machine short of memory, not the target alone: {why_not}" if why_not else ""

    def taken_mb(self, target: Target) -> float:
        """All that it could ever hold: the percentage of the machine, or of the target's own group."""
        group, _ = self._group(target)
        total = limit_bytes(Path(group)) if group else None
        if total is None:
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return total * self.memory_percent / 100 / 2**20

    def prepare(self, target: Target) -> Undo:
        # told first: it is gone only when the kernel has its memory back, which may take seconds
        return Undo(primitives=(kill_marked("", term_s=TERM_S_MAX),))

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        group, why_not = self._group(target)
        arguments = {
            "memory_percent": self.memory_percent,
            "limit_s": self.duration_seconds + self.attain_limit_s + BELT_S,
            "group": group,
        }
        helper = hands.start_helper("faults.helpers.memory_holder", arguments)
        facts = {
            "mechanism": "anonymous pages of one helper process",
            "scope": "target" if group else "machine",
            "memory_cgroup": group,
            **({"scope_asked": self.scope, "scope_because": why_not} if why_not else {}),
        }
        return Effect(facts={**facts, **helper_facts(helper)})

    def _group(self, target: Target) -> tuple[str, str]:
        """(the cgroup to enter or "", why not, if it was asked for)."""
        if self.scope != "target":
            return "", ""
        group: Path | None = target.paths.get("memory_cgroup")
        if group is None:
            return "", "the manifest names no paths.memory_cgroup: the target's memory has no limit of its own"
        if limit_bytes(group) is None:
            return "", f"{group} has no memory limit, or is gone"
        if not os.access(group / "cgroup.procs", os.W_OK):
            return "", f"this user may not put a process into {group}"
        return str(group), ""

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        group, _ = self._group(target)
        return Level(lambda _: used_percent(Path(group)) if group else memory_percent())

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return sample_mean(effect, hands, "memory_percent", window_s=1.0)


FAULT = MemoryPressure
