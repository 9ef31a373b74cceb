"""The target's own events: safeguards and playbooks, each with the time that the target gives it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from harness.contracts import Target, View
from harness.loopback import Client
from harness.model import Kind, Reading
from harness.signal_shapes import EventTold, ShapeError, engaged, events

HISTORY_PAGES = (
    2000  # of events from before the run; more than any store holds, and a target without an end is no store
)
HEARD = "events_heard"


class Events:
    """Turns events into edges by the manifest's rules. What was engaged before the run is told as such.

    A sample of events_heard, the number of the last event, shows each look that was answered, also one without events.
    """

    every_s: ClassVar[float] = 0.25

    def __init__(self, target: Target) -> None:
        signals: Mapping[str, Any] = target.signals
        self.url: str = signals["events"]["url"]
        self.safeguards_url: str = signals["safeguards"]["url"]
        self.rules: dict[str, Mapping[str, str]] = {rule["topic"]: rule for rule in target.event_rules}
        self.client = Client(target.base_url, permitted=target.permitted)
        self.next: int | None = None
        self.offset_s, self.error_s = 0.0, float("inf")

    @staticmethod
    def missing(target: Target) -> str:
        """What the manifest lacks for this observer; "" for nothing."""
        lacks = [name for name in ("events", "safeguards") if name not in target.signals]
        return ", ".join(f"signals.{name}" for name in lacks)

    def observe(self, view: View) -> Iterable[Reading]:
        if self.next is None:
            yield from self._history(view)
        else:
            yield from self._news(view, self._poll(self.next))
        if self.next is not None:
            yield Reading(at_s=view.now_s(), name=HEARD, value=float(self.next))

    def _news(self, view: View, page: Iterable[EventTold]) -> Iterable[Reading]:
        for event in page:
            assert self.next is not None
            if event.seq != self.next + 1:
                detail = {"error": f"events {self.next + 1} to {event.seq - 1} are missing"}
                yield Reading(at_s=view.now_s(), name="events", subject="events", kind=Kind.SIGNAL_LOST, detail=detail)
            self.next = event.seq
            rule = self.rules.get(event.topic)
            if rule:
                yield self._edge(view, event, rule)

    def _poll(self, since: int) -> list[EventTold]:
        """Asks, and measures how far the target's clock is from ours (the best answer is the quickest one)."""
        before_s = time.time()
        now, found = events(self.client.get_json(self.url.format(next=since)))
        after_s = time.time()
        if (after_s - before_s) / 2 < self.error_s:
            self.error_s = (after_s - before_s) / 2
            self.offset_s = now - (before_s + after_s) / 2
        old = min((event.seq for event in found), default=since + 1)
        if old <= since:
            raise ShapeError(f"{self.url} tells event {old}, although only those after {since} were asked for")
        return found

    def _history(self, view: View) -> Iterable[Reading]:
        seen, pages = 0, 0
        while page := self._poll(seen):
            seen, pages = page[-1].seq, pages + 1
            if pages == HISTORY_PAGES:
                raise ShapeError(f"{self.url} tells {pages} pages of events from before the run, and no end of them")
        engaged_now = engaged(self.client.get_json(self.safeguards_url))
        self.next = seen  # only now: when one of these polls fails, the history is read again
        for one in engaged_now:
            detail = {"subject": one.subject, "incident_id": one.incident_id, "before_run": True}
            yield Reading(
                at_s=view.now_s(),
                name="control_plane",
                subject=one.name,
                kind=Kind.SAFEGUARD_ENGAGED,
                detail=detail,
            )

    def _edge(self, view: View, event: EventTold, rule: Mapping[str, str]) -> Reading:
        payload = event.payload
        detail = {
            "subject": dig(payload, rule["subject"]),
            "incident_id": payload.get("incident_id"),
            "reason": payload.get("reason"),
            "outcome": payload.get("outcome"),
            "details": payload.get("details"),
            "target_time": event.timestamp,
            "target_seq": event.seq,
            "seen_at_s": round(view.now_s(), 4),
            "clock_offset_s": round(self.offset_s, 6),
            "clock_error_s": round(self.error_s, 6),
        }
        return Reading(
            at_s=view.from_wall(event.timestamp - self.offset_s),
            name="control_plane",
            subject=str(dig(payload, rule["name"])),
            kind=Kind(rule["kind"]),
            detail={key: value for key, value in detail.items() if value is not None},
        )

    def close(self) -> None:
        self.client.close()


def dig(payload: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    for part in path.split("."):
        payload = payload.get(part) if isinstance(payload, Mapping) else None
    return payload


OBSERVER = Events
