"""Starts a twin as a process of its own and stops it: all that the harness knows of it is its manifest."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.cgroup import CgroupError, make_group
from harness.model import Undo
from harness.mounts import may_mount, mount_tmpfs
from harness.primitives.remove_cgroup import remove_cgroup
from harness.primitives.remove_folder import MARK, remove_folder
from harness.primitives.unmount import unmount
from harness.target import ManifestTarget, load_target
from harness.undo import heal

READY_LIMIT_S = 30.0
MEMORY_BYTES = 2 * 2**30
LOG_DISK_BYTES = 256 * 2**20
# The shell enters the group and becomes the twin: all of its kernels are in it from their first page on. It leaves a
# keeper outside, which removes the group once it has been entered and is empty: also when the harness is gone by then.
JOIN = """
/bin/sh -c "$1" "$0" </dev/null >/dev/null 2>&1 &
shift
echo $$ > "$0/cgroup.procs"
exec "$@"
"""
KEEP = """
cd /; n=0
until read -r _ < "$0/cgroup.procs" || [ $n = 100 ]; do n=$((n + 1)); sleep 0.1; done
while [ -d "$0" ]; do rmdir "$0" || sleep 0.5; done
"""
# Its standard input is the end of a pipe whose other end all of the twin inherits: at its end nobody of it lives.
KEEP_DISK = 'cat >/dev/null; exec umount -l "$0"'
USAGE_ERROR = 2


class TwinRefused(Exception):
    """The twin does not take its options; the text is what it said."""


def limited(command: list[str]) -> tuple[list[str], Path | None, str]:
    """(*command* in a memory cgroup of MEMORY_BYTES of its own, that group, ""); as it is, None and why, without."""
    try:
        group = make_group(MEMORY_BYTES)
    except CgroupError as error:
        return command, None, f"the twin's memory has no limit of its own: {error}"
    return ["/bin/sh", "-c", JOIN, str(group), KEEP, *command], group, ""


def own_disk(point: Path, source: str) -> str:
    """Mounts a small file system on the new folder *point*; why this user cannot have one, "" when it is there."""
    point.mkdir()
    try:
        mount_tmpfs(point, source, LOG_DISK_BYTES)
    except OSError as error:
        why = str(error) if may_mount() else "this user may not mount one"
        return f"the immutable log has no disk of its own: {why}"
    return ""


def keep_disk(point: Path) -> tuple[subprocess.Popen[bytes], int]:
    """(a process that unmounts *point* once nobody holds it back, be the harness gone or not; what holds it back)."""
    read_end, held = os.pipe()
    command = ["/bin/sh", "-c", KEEP_DISK, str(point)]
    none = subprocess.DEVNULL
    keeper = subprocess.Popen(command, stdin=read_end, stdout=none, stderr=none, start_new_session=True)
    os.close(read_end)
    return keeper, held


class EmbeddedTwin:
    """A fresh twin in a folder of its own; it ends when its standard input does, so also when the harness dies.

    *safeguards_off* and *plant* are names with commas: safeguards that it is started without, defects that it is
    started with.

    It runs in a memory cgroup of MEMORY_BYTES, so that its memory can be short while the machine's is not; *group*
    is that cgroup, or None with *without_group* saying why this machine or user cannot have one. Its immutable log has
    a file system of LOG_DISK_BYTES, so that a disk can be full and nobody else's is; else *without_disk* says why not.
    """

    def __init__(self, safeguards_off: str = "", plant: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=MARK))
        command = [sys.executable, "-m", "twin", "--dir", str(self.folder), "--until-stdin-closes"]
        command += ["--safeguards-off", safeguards_off] if safeguards_off else []
        command += ["--plant", plant] if plant else []
        self.log_disk = self.folder / "audit"
        self.without_disk = own_disk(self.log_disk, self.folder.name)
        command += ["--audit-dir", str(self.log_disk)]
        command, self.group, self.without_group = limited(command)
        self.errors = (self.folder / "stderr.log").open("wb")
        self.keeper: subprocess.Popen[bytes] | None = None
        held: list[int] = []
        if not self.without_disk:
            self.keeper, *held = keep_disk(self.log_disk)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            start_new_session=True,
            pass_fds=held,
        )
        for end in held:
            os.close(end)

    @property
    def undo(self) -> Undo:
        """What is left of it when the harness is killed: a guardian should hold this."""
        group = (remove_cgroup(self.group),) if self.group is not None else ()
        disk = () if self.without_disk else (unmount(self.log_disk, self.folder.name),)
        return Undo(primitives=(remove_folder(self.folder), *disk, *group))

    def wait(self) -> ManifestTarget:
        """The target when it is ready. Raises RuntimeError, or TwinRefused, with what the twin said."""
        manifest = self.folder / "target.yaml"
        deadline = time.monotonic() + READY_LIMIT_S
        while not manifest.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "stderr.log").read_text(errors="replace").strip()
                self.stop()
                if self.process.returncode == USAGE_ERROR:
                    raise TwinRefused(said)
                raise RuntimeError(f"the embedded Grace did not start: {said or 'it did not become ready in time'}")
            time.sleep(0.02)
        return load_target(manifest)

    def stop(self) -> None:
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()
        heal(self.undo)
        if self.keeper:
            self.keeper.kill()
            self.keeper.wait()
