"""Who insists: counts what each subject does, says when it is too much in too short a time, and when it has ended."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field


@dataclass
class Insisting:
    """A subject that does too much: since when it has, when last, and how often."""

    since_s: float
    last_s: float
    count: int


@dataclass
class Insistence:
    """saw() is fed what a subject does, quiet() asks who has stopped; time is an argument of both."""

    count: int
    within_s: float
    quiet_s: float
    subjects_max: int = 10_000  # of those that are remembered; who did nothing for longest is forgotten first
    engaged: dict[str, Insisting] = field(default_factory=dict)
    _recent: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def saw(self, now_s: float, subject: str) -> bool:
        """Whether *subject* insists from now on."""
        insisting = self.engaged.get(subject)
        if insisting is not None:
            insisting.last_s, insisting.count = now_s, insisting.count + 1
            return False
        times = self._recent.get(subject)
        if times is None:
            times = self._recent[subject] = deque(maxlen=self.count)
            if len(self._recent) > self.subjects_max:
                self._recent.popitem(last=False)
        self._recent.move_to_end(subject)
        times.append(now_s)
        if len(times) < self.count or now_s - times[0] > self.within_s or len(self.engaged) >= self.subjects_max:
            return False
        self.engaged[subject] = Insisting(times[0], now_s, self.count)
        del self._recent[subject]
        return True

    def resume(self, now_s: float, subject: str) -> None:
        """*subject* insisted before a restart: it is watched from here on."""
        self.engaged[subject] = Insisting(now_s, now_s, 0)

    def quiet(self, now_s: float) -> dict[str, Insisting]:
        """Those that have done nothing for quiet_s; they are forgotten here."""
        ended = {name: one for name, one in self.engaged.items() if now_s - one.last_s >= self.quiet_s}
        for name in ended:
            del self.engaged[name]
        return ended
