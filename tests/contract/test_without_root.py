"""Most faults need no root: as another user they do the same and leave nothing, and what they cannot do is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
# may read what is root's, such as an interpreter in a home folder, and write nothing of it
READER = [*NOBODY, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
FAULTS = "kernel_pause,file_corruption,network_latency,worker_stall"
# what setpriv itself begins may still have root's rights; what that begins has not
AGAIN = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import harness.cli'], check=True)"
ASKED = """
import json, sys, tempfile
from pathlib import Path
from harness import catalog
from harness.contracts import TargetError
from harness.killmatrix.recipes import RECIPES
from harness.killmatrix.world import World
from harness.target import load_target
with tempfile.TemporaryDirectory() as folder:
    world = World(Path(folder) / "world")
    target, told = load_target(world.manifest), {}
    for name in sys.argv[1:]:
        try:
            catalog.build_fault(RECIPES[name].type, dict(RECIPES[name].params)).prepare(target)
        except TargetError as error:
            told[name] = str(error)
    print(json.dumps([told, sorted(target.paths), world.look()["stopped"]]))
    world.close()
"""


def other_user() -> list[str]:
    """What a command is begun with to be another user's; nothing for one who is not root, or where it cannot be."""
    if os.geteuid() != 0:
        return []
    quiet = {"cwd": ROOT, "stderr": subprocess.DEVNULL, "check": False}
    works = [
        one for one in (NOBODY, READER) if subprocess.run([*one, sys.executable, "-c", AGAIN], **quiet).returncode == 0
    ]
    return works[0] if works else []


@pytest.mark.beside
def test_as_another_user_each_fault_is_done_and_nothing_is_left(tmp_path: Path) -> None:
    command = [*other_user(), sys.executable, "-m", "harness.cli", "killmatrix", "--seed", "5", "--only", FAULTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "12 of 12 kills left nothing behind" in done.stdout


@pytest.mark.beside
def test_what_takes_root_is_said_before_anything_is_done() -> None:
    user = other_user()
    asked = ["disk_full", "kernel_pause (freezer)", "kernel_pause", "network_latency"]
    done = subprocess.run(
        [*user, sys.executable, "-c", ASKED, *asked], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told, paths, stopped = json.loads(done.stdout)
    assert not stopped and not set(told) & {"kernel_pause", "network_latency"}
    if user or os.geteuid() != 0:
        assert "mount" in told["disk_full"] and "root is needed" in told["kernel_pause (freezer)"], told
        assert "memory_cgroup" not in paths, "a target of this user has no group of its own"
