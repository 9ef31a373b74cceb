"""A wheel of deadlines: one place for each connection, looked at when it may be due; nothing is done for a request.

A connection says by `deadline_ns` until when it waits (0: it does not). It stays where it was put while its deadline
moves on, which happens with each request; when its place comes by and the deadline is later, it is put there.
"""

from __future__ import annotations

from typing import Protocol

TICK_NS = 25_000_000
PLACES = 512


class Waiting(Protocol):
    place: int  # the tick at which it is looked at; 0: it is on no wheel

    @property
    def deadline_ns(self) -> int: ...


class Wheel:
    def __init__(self, now_ns: int) -> None:
        self._places: list[list[Waiting]] = [[] for _ in range(PLACES)]
        self._at = now_ns // TICK_NS

    def put(self, one: Waiting) -> None:
        """Called when *one* begins to wait, or waits for something earlier; else nothing is done."""
        # at most one turn ahead, never behind: what is far off comes by and is put further
        place = min(max(one.deadline_ns // TICK_NS + 1, self._at + 1), self._at + PLACES - 1)
        if not one.place or place < one.place:
            one.place = place  # an entry at a later place is stale from now on
            self._places[place % PLACES].append(one)

    def due(self, now_ns: int) -> list[Waiting]:
        """Those whose deadline is over, taken off the wheel."""
        found: list[Waiting] = []
        until = now_ns // TICK_NS
        while self._at < until:
            self._at += 1
            place, self._places[self._at % PLACES] = self._places[self._at % PLACES], []
            for one in place:
                if one.place != self._at:
                    continue
                one.place = 0
                deadline = one.deadline_ns
                if deadline > now_ns:
                    self.put(one)
                elif deadline:
                    found.append(one)
        return found
