"""Ctrl-C while a fault's greenlet works: that one finishes, and the main greenlet is told."""

from __future__ import annotations

import subprocess
import sys

BUSY = """
import os, signal, sys, gevent
from harness.interrupts import interrupt_main

done = []
def heals():
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(100_000):  # Python's own handler would raise here
        pass
    gevent.sleep(0.05)
    done.append("healed")

if {ours}:
    interrupt_main(print)
    interrupt_main(lambda said: print("a second handler"))
else:  # as in a shell of one's own: a process that was started in the background has it ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
work = gevent.spawn(heals)
try:
    gevent.sleep(5)
    print("never told")
except KeyboardInterrupt:
    if {ours}:
        os.kill(os.getpid(), signal.SIGINT)
    work.join()
    print("main told", done)
"""


def said(ours: bool) -> str:
    words = [sys.executable, "-c", BUSY.format(ours=ours)]
    return subprocess.run(words, capture_output=True, text=True, timeout=30).stdout


def test_the_greenlet_that_runs_is_not_torn_from_its_work() -> None:
    assert said(ours=True).splitlines() == [
        "already on its way out: every fault is taken back first",
        "main told ['healed']",
    ]


def test_without_it_the_greenlet_dies() -> None:
    assert "main told []" in said(ours=False)
