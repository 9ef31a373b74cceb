"""Disk I/O saturation: the target's disk is kept busy with small random writes and reads of a file of its own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faults.helpers.disk_pacer import Device
from faults.helpers.process_witness import io_calls, process_in
from faults.helpers.reading import helper_facts, sample_mean
from faults.helpers.witness import Rate, Slower
from harness.contracts import Hands, Target, TargetError, Witness
from harness.model import Effect, Magnitude, Sample, Undo
from harness.primitives.remove_file import MARK, remove_file

BELT_S = 30.0  # the helper ends by itself this long after its time, should nobody end it


@dataclass(frozen=True, kw_only=True)
class DiskIoSaturation:
    """Does *io_ops_per_second* operations of 4 KiB past the page cache for *duration_seconds*.

    Half of them write, half read, on the file system of the target's paths.state, else paths.root, else the folder
    that the harness was started in. With *busy_percent* the device is kept busy to that degree instead, as
    /proc/diskstats tells it, by operations of 1 MiB; *io_ops_per_second* is then where the rate starts. 1 GiB of
    space always stays free.
    """

    target: str = "machine"
    io_ops_per_second: float = 0.0
    duration_seconds: float
    busy_percent: float = 0.0

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0
    defaults: ClassVar[Mapping[str, Any]] = {"busy_percent": 95, "duration_seconds": 45}
    attain_limit_s: ClassVar[float] = 20.0  # a slow disk takes its time to fill the file first

    witness: ClassVar[str] = "the device's counters and the helper's I/O in /proc, read by the harness"

    @property
    def subject(self) -> str:
        return "disk"

    @property
    def asked(self) -> Magnitude:
        if self.busy_percent:
            return Magnitude(name="busy", value=self.busy_percent, unit="%", tolerance=5.0)
        rate = self.io_ops_per_second
        return Magnitude(name="rate", value=rate, unit="ops/s", tolerance=rate * 0.05)

    def prepare(self, target: Target) -> Undo:
        if not (self.io_ops_per_second or self.busy_percent):
            raise TargetError("disk_io_saturation needs io_ops_per_second or busy_percent: nothing is asked for")
        folder = target.paths.get("state") or target.paths.get("root") or Path.cwd()
        if not folder.is_dir():
            raise TargetError(f"{folder} is no folder of this machine: there is no disk to keep busy")
        return Undo(primitives=(remove_file(folder.resolve() / f"{MARK}{uuid.uuid4().hex}"),))

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        path = undo.primitives[0]["path"]
        arguments = {
            "path": path,
            "io_ops_per_second": self.io_ops_per_second,
            "busy_percent": self.busy_percent,
            "limit_s": self.duration_seconds + self.attain_limit_s + BELT_S,
        }
        helper = hands.start_helper("faults.helpers.disk_pacer", arguments)
        size = "1 MiB" if self.busy_percent else "4 KiB"
        facts = {"mechanism": f"{size} random writes and reads, past the page cache", "folder": str(Path(path).parent)}
        return Effect(facts={**facts, **helper_facts(helper)})

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        """Work of the device that is not the helper's is no witness of it, nor is I/O that reaches no device."""
        device = Device(Path(undo.primitives[0]["path"]).parent.stat().st_dev)
        if self.busy_percent:
            return Rate(lambda _: (time.monotonic(), device.count().busy_ms), scale=0.1)
        return Slower(
            Rate(lambda _: (time.monotonic(), device.count().operations)),
            Rate(lambda effect: io_calls(process_in(effect))),
        )

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        field = "device_busy_percent" if self.busy_percent else "rate"
        return sample_mean(effect, hands, field, window_s=1.0)


FAULT = DiskIoSaturation
