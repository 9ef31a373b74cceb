"""For tests of what needs a disk of its own: a run of a user who may not mount one, and what such a run has to say."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from harness.mounts import may_mount
from tests.processes import findings

NOT_APPLICABLE = 4
REASON = "the immutable log has no disk of its own: this user may not mount one"
# nothing that it starts gets the right back, root or not
DROPPED = ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")


def without_the_right() -> tuple[str, ...]:
    """A command that starts another one which may not mount."""
    return DROPPED if may_mount() else ()


def looked(code: int, said: str, folder: Path) -> bool:
    """Whether a run could look at all. One that could not has said so and why; pytest tells of it in its summary."""
    if may_mount():
        return True
    says_nothing(code, said, folder)
    warnings.warn(f"NOT LOOKED AT: {REASON}", stacklevel=2)
    return False


def says_nothing(code: int, said: str, folder: Path) -> None:
    """No verdict was reached, for the right reason, and nothing was done to the target."""
    assert code == NOT_APPLICABLE and REASON in said, said[-6000:]
    found = findings(folder)
    # its own timeline is judged whatever else could be
    kept = {"journal_intact": "PASS"}
    assert {one["check"]: one["verdict"] for one in found} == {one["check"]: "NOT_APPLICABLE" for one in found} | kept
    assert any("audit_disk" in one["because"] for one in found), found
    rows = [json.loads(line) for line in (folder / "timeline.jsonl").read_text().splitlines()]
    assert not [row for row in rows if row["kind"] == "fault_injected"]
