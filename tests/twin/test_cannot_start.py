"""A machine that has no port, no process or no folder left for a twin: one line, exit code 3, nothing begun."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT, pids_with
from twin.config import load_config
from twin.links import check_length

pytestmark = pytest.mark.timeout(60)
REFUSING = """
import errno, os, socket, sys
from twin.__main__ import main

def refuse(number):
    def refused(*_):
        raise OSError(number, os.strerror(number))
    return refused

class Taken(socket.socket):
    bind = refuse(errno.EADDRINUSE)

if sys.argv[1] == "port":
    socket.socket = Taken
elif sys.argv[1] == "process":
    os.fork = refuse(errno.EAGAIN)
sys.argv[1:] = sys.argv[2:]
sys.exit(main())
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """An empty folder with a path that leaves room for a socket's, whatever pytest's own folder is called."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    ("lack", "words"),
    [
        ("port", "twin: no port is free: Address already in use"),
        ("process", "twin: no process could be forked: Resource temporarily unavailable"),
        ("folder", ": Not a directory"),
    ],
)
def test_what_is_lacking_is_said_in_one_line(short: Path, lack: str, words: str) -> None:
    place = short / "file"
    if lack == "folder":
        place.write_text("no folder")
    command = [sys.executable, "-c", REFUSING, lack, "--dir", str(place / "twin"), "--until-stdin-closes"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.PIPE, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("twin: ") and words in line
    assert not (place / "twin" / "target.yaml").exists() and not pids_with(str(place))


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(short: Path) -> None:
    """A kernel without its socket would be away for ever, while all else seems to be well."""
    fits = short / ("f" * (107 - len(f"{short}//run/infrastructure_manager.sock")))
    check_length(load_config(fits, None, 0, [], []))
    command = [sys.executable, "-m", "twin", "--dir", f"{fits}f", "--until-stdin-closes"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("twin: ") and "1 bytes too long" in line
    assert not list(short.iterdir())
