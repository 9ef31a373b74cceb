"""A timer that wakes an epoll to the microsecond; gevent's own wake to the millisecond."""

from __future__ import annotations

import ctypes
import os
import time

_libc = ctypes.CDLL(None, use_errno=True)
_ABSOLUTE = 1
_NONBLOCK = os.O_NONBLOCK
_CLOEXEC = os.O_CLOEXEC
_SECOND_NS = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Setting(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


class Timer:
    """A timerfd on the clock of perf_counter_ns, which is CLOCK_MONOTONIC on Linux."""

    def __init__(self) -> None:
        self.fd = _libc.timerfd_create(time.CLOCK_MONOTONIC, _NONBLOCK | _CLOEXEC)
        if self.fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"no timer: {os.strerror(code)}")
        self._setting = _Setting()
        self._pointer = ctypes.byref(self._setting)
        self._at_ns = 0
        self._settime = _libc.timerfd_settime

    def arm(self, at_ns: int) -> None:
        """Makes *fd* readable at *at_ns*, once."""
        if at_ns != self._at_ns:
            self._at_ns = at_ns
            value = self._setting.value
            value.seconds, value.nanoseconds = divmod(at_ns, _SECOND_NS)
            self._settime(self.fd, _ABSOLUTE, self._pointer, None)

    def close(self) -> None:
        os.close(self.fd)
