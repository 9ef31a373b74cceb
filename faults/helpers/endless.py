"""An endless loop in the place of a function, for as long as a gate is there: runs inside the target, not here.

faults/helpers/stalling.py puts this text, and below it the call that starts it, into the gate itself; a borrowed
thread of the target reads and runs it. So it imports nothing of this project, and only what every Python process has
loaded anyway. Whatever goes wrong with its notes is swallowed, and nothing else is: what a target's own time-out
raises in a looping thread must come through.
"""

import _thread
import os
import sys
import time

MYPY = False  # a type checker takes it for true; the target need not have loaded these
if MYPY:
    from types import CodeType, FunctionType
    from typing import Any

LOOK_EVERY_S = 0.05
SPINS = 100_000  # some milliseconds
NAME = "grace_chaos_loop"  # what the code that stands for the function's own is called, in every stack trace


def plain(module: str, name: str) -> "Any":
    """A function as it was before gevent, if the target has that: a loop lets no greenlet run, but it does a thread."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module, name) if monkey else getattr(sys.modules[module], name)


class Endless:
    """Puts the loop into *location* (MODULE:FUNCTION) while the file *gate* is there, at most until *until_s*.

    Each call loops, burning CPU, until the gate is gone, and then does what it was called for. *notes* is a file to
    which is told, a line each: patching, patched or failed; in and out of each loop; healed, when the function has
    its own code again. The note `patching` comes before the gate is looked at: who takes the gate away and then finds
    no such note knows that nothing will be patched any more.
    """

    def __init__(self, location: str, gate: str, notes: str, until_s: float) -> None:
        self.location, self.gate, self.notes, self.until_s = location, gate, notes, until_s
        self.function: Any = None
        self.original: Any = None
        self.code: CodeType | None = None

    def start(self) -> None:
        self.note("patching")
        try:
            if self.shut():
                raise TimeoutError("it is taken back already")
            self.function = self.find()
            self.patch()
            plain("_thread", "start_new_thread")(self.watch, ())
        except Exception as error:
            self.restore()
            self.note("failed", f"{type(error).__name__}: {error}")
        else:
            self.note("patched")

    def find(self) -> "FunctionType":
        module, _, path = self.location.partition(":")
        if module not in sys.modules:
            raise LookupError(f"no module {module} is loaded")
        found: Any = sys.modules[module]
        for name in path.split("."):
            found = getattr(found, name)
        found = getattr(found, "__func__", found)
        if not hasattr(found, "__code__"):
            raise TypeError(f"{self.location} is no function that is written in Python")
        if found.__code__.co_name == NAME:
            raise ValueError(f"{self.location} loops already")
        return found

    def patch(self) -> None:
        """The function object stays, so that whoever holds it loops; its defaults and its closure stay as well."""
        function, old = self.function, self.function.__code__
        copy = type(function)(old, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
        copy.__kwdefaults__ = function.__kwdefaults__
        self.original = copy
        made = self.loop_with(old.co_freevars)
        consts = tuple(self.call if one == "CALL" else one for one in made.co_consts)
        self.code = made.replace(co_consts=consts, co_name=NAME)
        function.__code__ = self.code

    def loop_with(self, closed_over: "tuple[str, ...]") -> "CodeType":
        """Code that calls what it finds as its constant "CALL"; a function takes only code with as many free names."""
        names = ", ".join(closed_over)
        text = ["def make():"]
        text += [f" {name} = None" for name in closed_over]
        text += [" def loop(*args, **kwargs):", "  call = 'CALL'"]
        text += [f"  if False: {names}"] if names else []
        text += ["  return call(*args, **kwargs)", " return loop"]
        made: dict[str, Any] = {}
        exec("\n".join(text), made)
        return made["make"]().__code__

    def call(self, *args: "Any", **kwargs: "Any") -> "Any":
        if not self.shut():
            self.note("in")
            try:
                while not self.shut():
                    for _ in range(SPINS):
                        pass
            finally:
                self.note("out")
        return self.original(*args, **kwargs)

    def shut(self) -> bool:
        try:
            os.stat(self.gate)  # noqa: PTH116  # pathlib may not be loaded there
        except OSError:
            return True
        return time.monotonic() > self.until_s

    def watch(self) -> None:
        """Gives the function its code back though nobody calls it."""
        sleep = plain("time", "sleep")
        while not self.shut():
            sleep(LOOK_EVERY_S)
        self.restore()
        self.note("healed")

    def restore(self) -> None:
        """Unless the target has put something else there meanwhile."""
        if self.code is not None and self.function.__code__ is self.code:
            self.function.__code__ = self.original.__code__

    def note(self, what: str, why: str = "") -> None:
        """One write, so that no two lines mix: WHAT PID THREAD SECONDS [WHY]."""
        words = [what, str(os.getpid()), str(_thread.get_native_id()), f"{time.monotonic():.6f}", why]
        try:
            file = os.open(self.notes, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(file, (" ".join(words).replace("\n", " ").strip() + "\n").encode("utf-8", "replace"))
            finally:
                os.close(file)
        except OSError:
            pass
