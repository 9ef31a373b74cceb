"""Thread timeout: watches, from another thread, how long a worker thread is at one piece of work, and interrupts it."""

from __future__ import annotations

import ctypes
import threading


class Interrupted(BaseException):
    """The work has taken too long and is no longer this thread's. No `except Exception` holds it up."""


class ThreadTimeout:
    """One thread's piece of work. begin() and end() are called by that thread, the rest by the one that watches."""

    name = "thread_timeout"
    playbook = ""  # the interruption itself is what is done about it

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._lock = threading.Lock()
        self._lease = 0
        self._since_s = 0.0
        self._thread = 0

    def begin(self, lease: int, now_s: float) -> None:
        with self._lock:
            self._lease, self._since_s, self._thread = lease, now_s, threading.get_ident()

    def end(self, lease: int) -> bool:
        """False when the piece was taken away meanwhile: then the interruption is on its way to the caller."""
        with self._lock:
            mine = self._lease == lease
            self._lease = 0
        return mine

    def forgive(self, lag_s: float) -> None:
        """The whole process was away for so long: the thread could not work either."""
        with self._lock:
            self._since_s += lag_s

    def overdue(self, now_s: float) -> tuple[int, float]:
        """(the lease that has taken too long, or 0; for how long it has been at it)."""
        with self._lock:
            ran_s = now_s - self._since_s
            return (self._lease, ran_s) if self._lease and ran_s >= self.limit_s else (0, 0.0)

    def interrupt(self, lease: int) -> bool:
        """Raises Interrupted in the thread, if it is still at *lease*: never in what it does afterwards."""
        with self._lock:
            if self._lease != lease:
                return False
            self._lease = 0
            set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
            return bool(set_exception(ctypes.c_ulong(self._thread), ctypes.py_object(Interrupted)) == 1)
