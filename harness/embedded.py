"""Starts a twin as a process of its own and stops it: all that the harness knows of it is its manifest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import cpu_clock
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
# Its standard input is the end of a pipe whose other end the harness and all of the twin hold: at its end nobody lives
# who needs the folder. What a guardian still writes there while it goes makes it try again.
KEEP_FOLDER = """
cat >/dev/null
cd /; n=0
if [ "$1" ]; then
    umount -l "$1"
    if mountpoint -q "$1"; then exit 1; fi
fi
until rm -rf -- "$0" || [ $n = 25 ]; do n=$((n + 1)); sleep 0.2; done
"""
KEEPER_LIMIT_S = 10.0
ROOM_MB_MIN = 64  # what a run writes into its folder besides the immutable log
ROOM_LEFT_MB_MIN = 16  # with less its kernels fail for want of it, and that is no answer of theirs
USAGE_ERROR = 2


class TwinRefused(Exception):
    """The twin does not take its options; the text is what it said."""


class TwinFailed(RuntimeError):
    """This machine, as it is now, cannot hold a twin; the text says what it lacks. Nothing of it is left."""


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


def own_folder() -> Path:
    """A new folder with enough room. Raises TwinFailed."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=MARK))
    except OSError as error:
        raise TwinFailed(f"the embedded Grace has no folder: {error.strerror or error}") from None
    if why := lacks_room(folder, ROOM_MB_MIN):
        folder.rmdir()
        raise TwinFailed(why)
    return folder


def lacks_room(folder: Path, needed_mb: int) -> str:
    """Why no twin can live in *folder*; "" when one can."""
    free_mb = shutil.disk_usage(folder).free >> 20
    if free_mb >= needed_mb:
        return ""
    why = f"{folder.parent} has {free_mb} MB left, {needed_mb} are needed: TMPDIR=FOLDER names another place"
    return f"the embedded Grace has no room: {why}"


def keep_folder(folder: Path, disk: Path | None) -> tuple[subprocess.Popen[bytes], int]:
    """(a process that removes *folder*, once *disk* is unmounted, when nobody holds it back; what holds it back).

    It does so also when the harness and its guardian are killed: the folder has the keys of the twin in it.
    """
    read_end, held = os.pipe()
    command = ["/bin/sh", "-c", KEEP_FOLDER, str(folder), str(disk or "")]
    none = subprocess.DEVNULL
    try:
        keeper = subprocess.Popen(command, stdin=read_end, stdout=none, stderr=none, start_new_session=True)
    except OSError:
        os.close(held)
        raise
    finally:
        os.close(read_end)
    return keeper, held


class EmbeddedTwin:
    """A fresh twin in a folder of its own; it ends when its standard input does, so also when the harness dies.

    *safeguards_off* and *plant* are names with commas: safeguards that it is started without, defects that it is
    started with. Raises TwinFailed where it cannot even be begun.

    It runs in a memory cgroup of MEMORY_BYTES, so that its memory can be short while the machine's is not; *group*
    is that cgroup, or None with *without_group* saying why this machine or user cannot have one. Its immutable log has
    a file system of LOG_DISK_BYTES, so that a disk can be full and nobody else's is; else *without_disk* says why not.
    """

    def __init__(self, safeguards_off: str = "", plant: str = "") -> None:
        self.folder = own_folder()
        self.log_disk = self.folder / "audit"
        self.group: Path | None = None
        self.without_group = self.without_disk = ""
        self.keeper: subprocess.Popen[bytes] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._held: int | None = None
        try:
            self._begin(safeguards_off, plant)
        except OSError as error:
            self.stop()
            raise TwinFailed(f"the embedded Grace could not be started: {error}") from None

    def _begin(self, safeguards_off: str, plant: str) -> None:
        cpu_clock.note()
        command = [sys.executable, "-m", "twin", "--dir", str(self.folder), "--until-stdin-closes"]
        command += ["--safeguards-off", safeguards_off] if safeguards_off else []
        command += ["--plant", plant] if plant else []
        self.without_disk = own_disk(self.log_disk, self.folder.name)
        command += ["--audit-dir", str(self.log_disk)]
        self.keeper, self._held = keep_folder(self.folder, None if self.without_disk else self.log_disk)
        command, self.group, self.without_group = limited(command)
        with (self.folder / "stderr.log").open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=self._held,  # all of the twin has it, and the keeper of its group has not
                stderr=errors,
                start_new_session=True,
            )

    @property
    def undo(self) -> Undo:
        """What must be gone when it has ended. Its own keepers see to that, also when the harness was killed."""
        group = (remove_cgroup(self.group),) if self.group is not None else ()
        disk = () if self.without_disk else (unmount(self.log_disk, self.folder.name),)
        return Undo(primitives=(remove_folder(self.folder), *disk, *group))

    @property
    def trouble(self) -> str:
        """Why what it answers now says nothing about it; "" while it has what it needs."""
        return lacks_room(self.folder, ROOM_LEFT_MB_MIN)

    def wait(self) -> ManifestTarget:
        """The target when it is ready. Raises TwinFailed, or TwinRefused, with what the twin said."""
        assert self.process is not None
        manifest = self.folder / "target.yaml"
        deadline = time.monotonic() + READY_LIMIT_S
        while not manifest.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "stderr.log").read_text(errors="replace").strip()
                self.stop()
                if self.process.returncode == USAGE_ERROR:
                    raise TwinRefused(said)
                raise TwinFailed(f"the embedded Grace did not start: {said or 'it did not become ready in time'}")
            time.sleep(0.02)
        cpu_clock.note()
        return load_target(manifest)

    def stop(self) -> None:
        """Returns when all of it has ended and its folder, its disk and its group are gone; else says what is left."""
        if self.process is not None:
            self._end(self.process)
        if self._held is not None:
            os.close(self._held)
            self._held = None
        if self.keeper is not None:
            try:
                self.keeper.wait(timeout=KEEPER_LIMIT_S)
            except subprocess.TimeoutExpired:  # somebody whom we do not know still holds it back
                self.keeper.kill()
                self.keeper.wait()
        for one in heal(self.undo):
            if not one["verified"]:
                sys.stderr.write(f"left behind by the embedded Grace in {self.folder}: {one['op']}: {one['did']}\n")

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.stdin and not process.stdin.closed:
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
