"""Whether all is well between two waves: all routes answer, all kernels run, nothing is engaged, no fault is left."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.journal import read_journal
from harness.loopback import Client
from harness.model import Kind
from harness.signal_shapes import ShapeError, engaged, kernels
from harness.suite_check import unwell
from harness.target import ManifestTarget
from harness.undo_log import NAME, LogContent, read_undo_log

ASK_LIMIT_S = 3.0
GUARDIAN_LIMIT_S = 10.0  # so long the guardian of a run that was killed may take to heal
LOOK_S = 0.1


def left_in_force(folders: Iterable[Path]) -> str:
    """The faults that these runs have not taken back, in words; "" for none. Waits for a guardian that still heals."""
    found = [
        f"{fault_id} ({one.state}) of {folder.name}"
        for folder in sorted(folders)
        if (folder / NAME).exists()
        for fault_id, one in _when_over(folder / NAME).open.items()
        if fault_id not in _healed(folder)
    ]
    return ", ".join(found)


def _when_over(path: Path) -> LogContent:
    deadline_s = time.monotonic() + GUARDIAN_LIMIT_S
    while (content := read_undo_log(path)).open and content.held and time.monotonic() < deadline_s:
        time.sleep(LOOK_S)
    return content


def _healed(folder: Path) -> set[str]:
    """What the timeline shows as healed, also where a full disk has kept that out of the undo log."""
    try:
        events, _ = read_journal(folder / "timeline.jsonl")
    except (OSError, ValueError):
        return set()
    return {one.subject for one in events if one.kind is Kind.FAULT_HEALED and one.detail.get("verified")}


def unsteady(target: ManifestTarget) -> str:
    """What is not well, in words; "" when all that the manifest shows is."""
    return unwell(target) or _control_plane(target)


def _control_plane(target: ManifestTarget) -> str:
    client = Client(target.base_url, timeout_s=ASK_LIMIT_S, permitted=target.permitted)
    try:
        for name, look in (("kernels", _kernels), ("safeguards", _safeguards)):
            if name in target.signals:
                trouble = look(client.get_json(target.signals[name]["url"]))
                if trouble:
                    return trouble
    except (OSError, http.client.HTTPException) as error:
        return f"the control plane: {error or type(error).__name__}"
    except ShapeError as error:
        return f"the control plane's answer cannot be read: {error}"
    finally:
        client.close()
    return ""


def _kernels(told: Any) -> str:
    gone = [f"{one.name} is {one.state}" for one in kernels(told) if one.state != "running"]
    return ", ".join(gone[:3])


def _safeguards(told: Any) -> str:
    names = [f"{one.name} ({one.subject})" for one in engaged(told)]
    return f"still engaged: {', '.join(names[:3])}" if names else ""
