"""Ctrl-C reaches the main greenlet and no other: one that heals, injects or asks the guardian is never torn from it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import gevent

_HEARING: WeakSet[Any] = WeakSet()  # one handler a hub: two would tear the main greenlet from its way out


def interrupt_main(say: Callable[[str], None]) -> None:
    """From now on the first SIGINT is a KeyboardInterrupt in the main greenlet; the next ones are answered in words.

    Python's own handler raises it in whichever greenlet happens to run. A shell that started us in the background
    has SIGINT ignored; it is heard from here on all the same. Call it in the main thread, once its hub is there;
    who calls it after somebody else changes nothing.
    """
    hub = gevent.get_hub()
    if hub in _HEARING:
        return
    _HEARING.add(hub)
    heard: list[bool] = []

    def hear() -> None:
        if heard:
            say("already on its way out: every fault is taken back first")
            return
        heard.append(True)
        hub.handle_system_error(KeyboardInterrupt, KeyboardInterrupt())

    gevent.signal_handler(signal.SIGINT, hear)
