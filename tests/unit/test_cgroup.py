"""Memory cgroups: read in both versions from folders as kernels show them, and made for real where that is allowed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import cgroup
from harness.cgroup import MARK, CgroupError, hierarchy, join, limit_bytes, make_group, used_bytes, used_percent
from harness.primitives.remove_cgroup import remove_cgroup, take_back
from tests.processes import wait_for

MIB = 2**20


def proc(tmp_path: Path, mountinfo: str, groups: str) -> Path:
    for pid in ("self", "7"):
        (tmp_path / "proc" / pid).mkdir(parents=True)
        (tmp_path / "proc" / pid / "mountinfo").write_text(mountinfo)
        (tmp_path / "proc" / pid / "cgroup").write_text(groups)
    return tmp_path / "proc"


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_a_process_is_found_in_the_first_version(tmp_path: Path) -> None:
    top = tmp_path / "memory"
    told = proc(
        tmp_path,
        f"33 31 0:30 / /cpu rw - cgroup cgroup rw,cpu\n34 31 0:31 / {top} rw - cgroup cgroup rw,memory\n",
        "4:memory:/service\n3:cpu:/\n0::/other\n",
    )
    found = hierarchy(7, told)
    assert (found.version, found.top, found.own) == (1, top, top / "service")


def test_a_process_is_found_in_the_second_version_and_inside_a_container(tmp_path: Path) -> None:
    top = write(tmp_path / "unified", cgroup__controllers="cpu memory io\n")
    told = proc(tmp_path, f"32 31 0:29 /docker/a {top} rw - cgroup2 cgroup2 rw\n", "0::/docker/a/inner\n")
    found = hierarchy("self", told)
    assert (found.version, found.top, found.own) == (2, top, top / "inner")


@pytest.mark.parametrize("controllers", ["cpu io\n", None])
def test_a_machine_without_a_memory_controller_says_so(tmp_path: Path, controllers: str | None) -> None:
    top = write(tmp_path / "unified", **({"cgroup__controllers": controllers} if controllers else {}))
    told = proc(tmp_path, f"32 31 0:29 / {top} rw - cgroup2 cgroup2 rw\n", "0::/a\n")
    with pytest.raises(CgroupError, match="no cgroup hierarchy with a memory controller"):
        hierarchy("self", told)


def test_usage_is_read_alike_in_both_versions(tmp_path: Path) -> None:
    first = write(
        tmp_path / "first",
        memory__limit_in_bytes=f"{400 * MIB}\n",
        memory__usage_in_bytes=f"{150 * MIB}\n",
        memory__stat=f"inactive_file 1\ntotal_inactive_file {50 * MIB}\n",
    )
    second = write(
        tmp_path / "second",
        memory__max=f"{400 * MIB}\n",
        memory__current=f"{150 * MIB}\n",
        memory__stat=f"anon 5\ninactive_file {50 * MIB}\n",
    )
    for group in (first, second):
        assert (limit_bytes(group), used_bytes(group), used_percent(group)) == (400 * MIB, 100 * MIB, 25.0)


def test_no_limit_is_no_percentage(tmp_path: Path) -> None:
    unlimited = write(tmp_path / "v2", memory__max="max\n", memory__current="5\n", memory__stat="inactive_file 0\n")
    assert limit_bytes(unlimited) is None
    assert limit_bytes(write(tmp_path / "v1", memory__limit_in_bytes="9223372036854771712\n")) is None
    with pytest.raises(CgroupError, match="no memory limit"):
        used_percent(unlimited)
    with pytest.raises(CgroupError, match="cannot be read"):
        used_bytes(tmp_path)


def test_in_the_second_version_a_group_is_made_where_the_controller_is_handed_down(tmp_path: Path) -> None:
    top = write(tmp_path / "top", cgroup__subtree_control="cpu memory\n", cgroup__procs="")
    write(top / "user", cgroup__subtree_control="cpu memory\n", cgroup__procs="")
    own = write(top / "user" / "session", cgroup__subtree_control="\n", cgroup__procs="")
    here = cgroup.Hierarchy(version=2, top=top, own=own)
    assert cgroup._parent(here) == top / "user"
    for folder in (top, top / "user"):
        write(folder, cgroup__subtree_control="cpu\n")
    with pytest.raises(CgroupError, match="hands its memory controller down"):
        cgroup._parent(here)


# For real, where this user may make groups; elsewhere what it cannot do must be said in words.


@pytest.fixture
def group() -> Iterator[Path | None]:
    try:
        one = make_group(64 * MIB)
    except CgroupError as error:
        assert "cgroup" in str(error) or "controller" in str(error)
        yield None
        return
    yield one
    assert take_back(remove_cgroup(one), True)[1]


def test_a_group_counts_its_members_and_leaves_nothing(group: Path | None) -> None:
    if group is None:
        return
    assert limit_bytes(group) == 64 * MIB
    words = "import sys; x = bytearray(b'1') * (20 << 20); print('ready', flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        ["/bin/sh", "-c", 'echo $$ > "$0"; exec "$@"', str(group / "cgroup.procs"), sys.executable, "-c", words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin and child.stdout
    assert child.stdout.readline() == b"ready\n"
    assert hierarchy(child.pid).own == group
    assert used_bytes(group) >= 20 * MIB and used_percent(group) > 30
    did, verified = take_back(remove_cgroup(group), True)
    assert verified and did.startswith("removed; 1 moved") and not group.exists()
    assert child.poll() is None and hierarchy(child.pid).own == group.parent, "it goes on, one group above"
    assert take_back(remove_cgroup(group), True) == ("gone", True)
    child.communicate(timeout=5)


def test_a_group_whose_maker_is_gone_is_swept(group: Path | None) -> None:
    if group is None:
        return
    left = group.parent / f"{MARK}{os.getpid()}-1-9"  # this pid, but of another life
    left.mkdir()
    other = make_group(64 * MIB)
    assert not left.exists(), "its maker is gone"
    assert group.exists(), "its maker lives"
    assert take_back(remove_cgroup(other), True)[1]


def test_a_member_can_be_moved_in(group: Path | None) -> None:
    if group is None:
        return
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    join(group, child.pid)
    wait_for(lambda: hierarchy(child.pid).own == group, 2.0)
    child.communicate(b"\n", timeout=5)


def test_a_group_that_is_not_ours_is_never_removed(tmp_path: Path) -> None:
    foreign = tmp_path / "system.slice"
    foreign.mkdir()
    with pytest.raises(ValueError, match="no group of ours"):
        take_back(remove_cgroup(foreign), True)
    assert foreign.exists()
