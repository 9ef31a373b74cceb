"""A worker process to stall: `python pool_worker.py FOLDER NAME FUNCTION LIMIT_S`, of any Python from 3.8 on.

A thread calls FUNCTION of jobs.py for piece after piece and writes what came out to FOLDER/NAME.done. The main thread
interrupts a piece that takes longer than LIMIT_S (0: never), as a time-out of the target's own does. A line of what
the threads are at, asked for with SIGUSR1, goes to FOLDER/NAME.state.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

import jobs

folder, name, path, limit_s = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
began = [0.0]  # of the piece that is being done; 0: none is


class Interrupted(BaseException):
    """The piece has taken too long."""


def done(text: str) -> None:
    with (folder / f"{name}.done").open("a") as file:
        file.write(text + "\n")


def work() -> None:
    number = 0
    while True:
        number += 1
        try:
            function = jobs
            for part in path.split("."):
                function = getattr(function, part)
            began[0] = time.monotonic()
            result = function(number)  # type: ignore[operator]
            began[0] = 0.0
            done(f"{number} {result}")
        except Interrupted:
            began[0] = 0.0
            done(f"{number} interrupted")


def tell(_number: int, _frame: object) -> None:
    names = sorted(frame.f_code.co_name for frame in sys._current_frames().values())
    (folder / f"{name}.state.new").write_text(f"{threading.active_count()} {len(names)} {' '.join(names)}\n")
    (folder / f"{name}.state.new").rename(folder / f"{name}.state")


signal.signal(signal.SIGUSR1, tell)
(folder / f"{name}.pid").write_text(str(os.getpid()))
thread = threading.Thread(target=work, daemon=True)
thread.start()
while True:
    time.sleep(0.02)
    if limit_s and began[0] and time.monotonic() - began[0] > limit_s:
        began[0] = 0.0
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interrupted))
