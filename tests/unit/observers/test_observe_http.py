"""The observers that ask the target over HTTP: what they make of true, hostile and missing answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.model import Kind, Reading
from harness.observers.control_plane import ControlPlane
from harness.observers.counters import Counters
from harness.observers.events import Events, dig
from harness.observers.routes import RouteProbe
from harness.signal_shapes import ShapeError
from harness.signal_shapes import samples as samples_of
from tests.fake_target import Answer, FakeServer, FakeView, as_json, edges, samples, serving, target


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


@pytest.fixture
def view(server: FakeServer, tmp_path: Path) -> FakeView:
    return FakeView(target(tmp_path, base_url=server.base_url))


def look(observer: Any, view: FakeView, at_s: float = 0.0) -> list[Reading]:
    """What it tells, but for the sample of a look for events."""
    view.at_s = at_s
    return [reading for reading in observer.observe(view) if reading.name != "events_heard"]


# Whatever it asks: an answer that is none is an error that the watcher journals, and the next one is read again.

HOSTILE = [
    Answer(body=b"<html>busy</html>"),
    Answer(body=b"null"),
    Answer(body=b'{"kernels": 1, "events": 1, "safeguards": 1}'),
    Answer(status=500, body=b"{}"),
    Answer(status=404),
    Answer(body=b"[" * 100_000),
]


@pytest.mark.parametrize("kind", [ControlPlane, Events])
@pytest.mark.parametrize("answer", HOSTILE)
def test_a_hostile_answer_is_an_error_and_no_reading(
    server: FakeServer, view: FakeView, kind: Any, answer: Answer
) -> None:
    server.answers = dict.fromkeys(("/kernels", "/events", "/safeguards"), answer)
    observer, taken = kind(view.target), []
    with pytest.raises((OSError, LookupError, TypeError, ValueError, RecursionError)):
        for reading in observer.observe(view):
            taken.append(reading)
    assert not taken
    server.answers = {
        "/kernels": as_json({"now": 0, "kernels": [kernel("librarian")]}),
        "/events": as_json({"now": 0, "next": 0, "events": []}),
        "/safeguards": as_json({"now": 0, "safeguards": []}),
    }
    look(observer, view)  # raises nothing
    observer.close()


# Control plane


def kernel(name: str, state: str = "running", age_s: float | None = 0.1, restarts: int = 0) -> dict[str, Any]:
    return {"name": name, "state": state, "pid": 7, "heartbeat_age_s": age_s, "restarts": restarts}


def test_states_are_edges_and_heartbeats_are_samples(server: FakeServer, view: FakeView) -> None:
    observer = ControlPlane(view.target)

    def told(*kernels: dict[str, Any]) -> list[Reading]:
        server.answers["/kernels"] = as_json({"now": 1.0, "kernels": kernels})
        return look(observer, view, 3.0)

    first = told(kernel("librarian"), kernel("governance", "failed", None))
    assert samples(first, "kernel_heartbeat_age_s") == {"librarian": 0.1}
    assert [edge.subject for edge in edges(first, Kind.KERNEL_CHANGED)] == ["governance"]  # ill from the start
    late = told(kernel("librarian", age_s=2.6), kernel("governance", "failed", None))
    (missed,) = edges(late, Kind.SYMPTOM_SEEN)
    assert (missed.subject, missed.detail["what"], missed.detail["age_s"]) == ("librarian", "heartbeat_missed", 2.6)
    still = told(kernel("librarian", "restarting", 2.9), kernel("governance", "failed", None))
    assert not edges(still, Kind.SYMPTOM_SEEN)
    (changed,) = edges(still, Kind.KERNEL_CHANGED)
    assert (changed.name, changed.at_s) == ("control_plane", 3.0)
    assert (changed.detail["from"], changed.detail["to"]) == ("running", "restarting")
    well = told(kernel("librarian", restarts=1), kernel("governance", "failed", None))
    assert [edge.detail["to"] for edge in edges(well, Kind.KERNEL_CHANGED)] == ["running"]
    again = told(kernel("librarian", age_s=2.1), kernel("governance", "failed", None))
    assert len(edges(again, Kind.SYMPTOM_SEEN)) == 1
    observer.close()


def test_a_kernel_that_drops_out_of_the_list_does_not_keep_its_last_state(server: FakeServer, tmp_path: Path) -> None:
    pids = {name: {"pid_file": f"/nowhere/{name}.pid"} for name in ("librarian", "governance")}
    view = FakeView(target(tmp_path, base_url=server.base_url, processes=pids))
    observer = ControlPlane(view.target)
    both = [kernel("librarian"), kernel("governance")]
    for listed, changed in (
        (both, []),
        (both[:1], [("governance", "running", "unlisted")]),
        (both[:1], []),
        (both, [("governance", "unlisted", "running")]),
    ):
        server.answers["/kernels"] = as_json({"now": 1.0, "kernels": listed})
        found = edges(look(observer, view), Kind.KERNEL_CHANGED)
        assert [(one.subject, one.detail["from"], one.detail["to"]) for one in found] == changed
    observer.close()


# Counters


def test_counters_are_summed_over_their_labels() -> None:
    text = """# HELP x_total how many
# TYPE x_total counter
x_total{actor="a b",topic="{odd}"} 3
x_total{actor="c"} 4.5

y_total 1e3
z_total not-a-number
lonely
"""
    assert samples_of(text) == {"x_total": 7.5, "y_total": 1000.0}


def test_the_time_of_a_sample_is_not_its_value() -> None:
    assert samples_of('x_total{a="b c}"} 5 1795488757000\nx_total 2 1795488757000\n') == {"x_total": 7.0}


def test_only_the_named_counters_are_samples(server: FakeServer, view: FakeView) -> None:
    observer = Counters(view.target)
    server.answers["/metrics"] = Answer(body=b'acl_violations_total{a="x"} 5\nacl_violations_total 2\nother_total 9\n')
    (sample,) = look(observer, view, 4.0)
    assert (sample.at_s, sample.name, sample.subject, sample.value) == (4.0, "message_bus.acl_violations", "", 7.0)
    server.answers["/metrics"] = Answer(body=b"other_total 9\n\xff\n")
    assert look(observer, view) == []  # a counter that is not there is unknown, and never 0
    server.answers["/metrics"] = Answer(status=503, body=b"acl_violations_total 2\n")
    with pytest.raises(OSError, match="answers 503"):
        look(observer, view)
    observer.close()


def test_a_counter_that_the_page_lacks_is_a_lost_signal(server: FakeServer, view: FakeView) -> None:
    observer = Counters(view.target)
    told = []
    for at_s, page in (
        (0.0, b"a 1\n"),
        (5.0, b"a 1\n"),
        (5.5, b"a 1\n"),
        (9.0, b"a 1\n"),
        (9.5, b"acl_violations_total 2\n"),
    ):
        server.answers["/metrics"] = Answer(body=page)
        told += [(one.at_s, one.kind, one.subject) for one in look(observer, view, at_s) if one.kind]
    name = "counters of message_bus.acl_violations"
    assert told == [(0.0, Kind.SIGNAL_LOST, name), (9.5, Kind.SIGNAL_BACK, name)]
    server.answers["/metrics"] = Answer(body=b"a 1\n")
    assert look(observer, view, 10.0) == []
    (again,) = look(observer, view, 15.5)
    assert (again.at_s, again.kind) == (10.0, Kind.SIGNAL_LOST)
    observer.close()


# Events


class Told:
    """A control plane with a store of events and a clock that is *ahead_s* of ours."""

    def __init__(self, server: FakeServer, ahead_s: float = 0.0) -> None:
        self.events: list[dict[str, Any]] = []
        self.engaged: list[dict[str, Any]] = []
        self.ahead_s = ahead_s
        server.answers["/events"] = self.since
        server.answers["/safeguards"] = lambda path: as_json(
            {"now": self.now(), "safeguards": [{"name": "kernel_watchdog", "enabled": True, "engaged": self.engaged}]}
        )

    def now(self) -> float:
        return time.time() + self.ahead_s

    def add(self, topic: str, payload: dict[str, Any], seq: int | None = None) -> float:
        at = self.now()
        number = seq or (self.events[-1]["seq"] + 1 if self.events else 1)
        self.events.append({"seq": number, "topic": topic, "source": "x", "timestamp": at, "payload": payload})
        return at

    def since(self, path: str) -> Answer:
        since = int(path.partition("=")[2])
        found = [event for event in self.events if event["seq"] > since][:3]  # a page is short: more pages are asked
        return as_json({"now": self.now(), "next": found[-1]["seq"] if found else since, "events": found})


INCIDENT = {"trigger_id": "kernel_watchdog", "subject": "librarian", "incident_id": "i1", "reason": "no heartbeat"}


def test_what_was_before_the_run_is_no_edge_of_it(server: FakeServer, view: FakeView) -> None:
    told = Told(server)
    for number in range(7):
        told.add("event.incident", {**INCIDENT, "incident_id": f"old{number}"})
    told.engaged = [{"subject": "librarian", "since": 1.0, "incident_id": "old6"}]
    observer = Events(view.target)
    (before,) = look(observer, view)
    assert before.kind is Kind.SAFEGUARD_ENGAGED and before.subject == "kernel_watchdog"
    assert before.detail == {"subject": "librarian", "incident_id": "old6", "before_run": True}
    assert look(observer, view) == []
    told.add("event.incident", {**INCIDENT, "incident_id": "new"})
    assert [edge.detail["incident_id"] for edge in look(observer, view)] == ["new"]
    assert look(observer, view) == []
    observer.close()


@pytest.mark.parametrize("broken", ["/events", "/safeguards"])
def test_a_history_that_could_not_be_read_is_read_again(server: FakeServer, view: FakeView, broken: str) -> None:
    told = Told(server)
    told.add("event.incident", {**INCIDENT, "incident_id": "old"})
    told.engaged = [{"subject": "librarian", "since": 1.0, "incident_id": "old"}]
    well, server.answers[broken] = server.answers[broken], Answer(status=504)
    observer = Events(view.target)
    for _ in range(2):
        with pytest.raises(OSError, match="answers 504"):
            look(observer, view)
    server.answers[broken] = well
    (before,) = look(observer, view)
    assert before.detail["before_run"] is True and before.detail["incident_id"] == "old"
    assert look(observer, view) == []
    observer.close()


@pytest.mark.parametrize("ahead_s", [0.0, -40.0, 3600.0])
def test_an_event_keeps_its_own_time_in_our_clock(server: FakeServer, view: FakeView, ahead_s: float) -> None:
    told = Told(server, ahead_s)
    observer = Events(view.target)
    look(observer, view)
    at = told.add("event.incident", INCIDENT)
    (edge,) = look(observer, view, 9.0)
    assert edge.at_s == pytest.approx(view.from_wall(at - ahead_s), abs=0.1)
    assert edge.detail["clock_offset_s"] == pytest.approx(ahead_s, abs=0.1)
    assert 0 < edge.detail["clock_error_s"] < 0.1
    assert (edge.detail["target_time"], edge.detail["target_seq"], edge.detail["seen_at_s"]) == (at, 1, 9.0)
    assert (edge.name, edge.subject, edge.detail["subject"]) == ("control_plane", "kernel_watchdog", "librarian")
    assert edge.detail["reason"] == "no heartbeat"
    observer.close()


def test_the_manifest_says_which_events_count_and_where_their_names_are(server: FakeServer, view: FakeView) -> None:
    told = Told(server)
    observer = Events(view.target)
    look(observer, view)
    told.add("security.alert", INCIDENT)
    told.add("playbook.finished", {"playbook": "kernel_restart", "work": {"subject": "x"}, "outcome": "failed"})
    (edge,) = look(observer, view)
    assert edge.kind is Kind.PLAYBOOK_FINISHED and edge.subject == "kernel_restart"
    assert edge.detail["subject"] == "x" and edge.detail["outcome"] == "failed"
    observer.close()


def test_a_gap_in_the_numbers_is_a_lost_signal(server: FakeServer, view: FakeView) -> None:
    told = Told(server)
    observer = Events(view.target)
    look(observer, view)
    told.add("event.incident", INCIDENT, seq=4)
    lost, edge = look(observer, view)
    assert lost.kind is Kind.SIGNAL_LOST and "events 1 to 3 are missing" in lost.detail["error"]
    assert edge.kind is Kind.SAFEGUARD_ENGAGED
    told.add("event.incident", INCIDENT)
    assert len(look(observer, view)) == 1
    observer.close()


def test_what_happened_while_nobody_answered_is_told_later_with_its_own_time(
    server: FakeServer, view: FakeView
) -> None:
    told = Told(server)
    observer = Events(view.target)
    look(observer, view)
    at = told.add("event.incident", INCIDENT)
    server.answers["/events"] = Answer(status=504, body=b"{}")
    with pytest.raises(OSError, match="answers 504"):
        look(observer, view, 5.0)
    server.answers["/events"] = told.since
    (edge,) = look(observer, view, 60.0)
    assert edge.at_s == pytest.approx(view.from_wall(at), abs=0.1) and edge.detail["seen_at_s"] == 60.0
    observer.close()


def test_each_answered_look_for_events_leaves_a_sample(server: FakeServer, view: FakeView) -> None:
    told = Told(server)
    told.add("event.incident", INCIDENT)
    observer = Events(view.target)
    heard = [samples(list(observer.observe(view)), "events_heard") for _ in range(2)]
    told.add("event.incident", INCIDENT)
    heard.append(samples(list(observer.observe(view)), "events_heard"))
    assert heard == [{"": 1.0}, {"": 1.0}, {"": 2.0}]
    server.answers["/events"] = Answer(status=504)
    with pytest.raises(OSError, match="answers 504"):
        list(observer.observe(view))
    observer.close()


@pytest.mark.parametrize("before", [1, 0])
def test_a_target_that_ignores_the_cursor_is_not_heard(server: FakeServer, view: FakeView, before: int) -> None:
    told = Told(server)
    server.answers["/events"] = lambda path: told.since("/events?since=0")
    for _ in range(before):
        told.add("event.incident", INCIDENT)
    observer = Events(view.target)
    if not before:
        look(observer, view)
        told.add("event.incident", INCIDENT)
        look(observer, view)
    for _ in range(2):
        with pytest.raises(ShapeError, match="tells event 1, although only those after 1 were asked for"):
            list(observer.observe(view))
    observer.close()


def test_a_history_without_an_end_is_given_up(
    server: FakeServer, view: FakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.observers.events.HISTORY_PAGES", 5)
    told = Told(server)

    def endless(path: str) -> Answer:
        number = int(path.partition("=")[2]) + 1
        assert number < 9, "it asks on and on"
        event = {"seq": number, "topic": "x", "source": "x", "timestamp": told.now(), "payload": {}}
        return as_json({"now": told.now(), "events": [event]})

    server.answers["/events"] = endless
    observer = Events(view.target)
    with pytest.raises(ShapeError, match="5 pages of events"):
        list(observer.observe(view))
    observer.close()


def test_dig() -> None:
    assert dig({"a": {"b": 3}}, "a.b") == 3
    assert dig({"a": {"b": 3}}, "a.c") is None and dig({"a": 1}, "a.b") is None and dig(None, "a") is None


# Routes


def probe_of(view: FakeView, timeout_s: float = 2.0) -> RouteProbe:
    (probe,) = RouteProbe.instances(view.target)  # a route that is nobody's witness is not probed
    probe.client.timeout_s = timeout_s
    return probe


def test_an_answer_holds_what_the_manifest_says(server: FakeServer, tmp_path: Path) -> None:
    route = {"name": "GET /work", "method": "GET", "path": "/work", "kernels": ["api_server"]}
    route |= {"witness_of": "api_server", "answer": {"full": ["found.rows"], "same": ["number"]}}
    view = FakeView(target(tmp_path, base_url=server.base_url, routes=[route]))
    probe, told = probe_of(view), []
    whole = as_json({"found": {"rows": [1]}, "number": 7, "turn": 1})
    stale = Answer(body=b"{}", headers=(("Warning", '110 - "Response is Stale"'),))
    empty, other = as_json({"found": {"rows": []}, "number": 7}), as_json({"found": {"rows": [2]}, "number": 8})
    for answer in (whole, whole, stale, Answer(status=503), empty, Answer(body=b"null"), other, whole):
        server.answers["/work"] = answer
        told.append(look(probe, view))
    assert [samples(one, "route_answer").get("GET /work") for one in told] == [1, 1, None, None, 0, 0, 0, 1]
    seen = [edge.detail for one in told for edge in edges(one, Kind.SYMPTOM_SEEN) if "fields" in edge.detail]
    assert [(one["what"], one["fields"]) for one in seen] == [
        ("route_answer_changed", ["found.rows"]),
        ("route_answer_back", []),
    ]
    probe.close()


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_route_that_answers_is_up(server: FakeServer, view: FakeView, status: int) -> None:
    server.answers["/work"] = Answer(status=status)
    readings = look(probe_of(view), view)
    assert samples(readings, "route_up") == {"GET /work": 1.0}
    assert 0 < samples(readings, "route_latency_ms")["GET /work"] < 1000
    assert not edges(readings, Kind.SYMPTOM_SEEN)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=500),
        Answer(status=503, body=b'{"error": "kernel_unavailable"}'),
        Answer(status=503, headers=(("Retry-After", "1"),), body=b'{"error": "kernel_away", "kernel": "librarian"}'),
        Answer(status=504),
        Answer(status=404),
        Answer(status=429, headers=(("Retry-After", "1"),)),
        Answer(status=302, headers=(("Location", "/work"),)),
        Answer(silent=True),
    ],
)
def test_a_route_that_fails_is_a_symptom_of_its_kernel_until_it_is_back(
    server: FakeServer, view: FakeView, answer: Answer
) -> None:
    probe = probe_of(view, timeout_s=0.2)
    server.answers["/work"] = answer
    readings = look(probe, view, 7.0)
    assert samples(readings, "route_up") == {"GET /work": 0.0}
    (symptom,) = edges(readings, Kind.SYMPTOM_SEEN)
    assert (symptom.at_s, symptom.subject, symptom.name) == (7.0, "librarian", "routes")
    assert (symptom.detail["what"], symptom.detail["route"]) == ("route_down", "GET /work")
    assert symptom.detail["status"] == (0 if answer.silent else answer.status)
    assert bool(symptom.detail["error"]) == answer.silent
    assert not edges(look(probe, view), Kind.SYMPTOM_SEEN)  # told once
    server.answers["/work"] = Answer()
    (back,) = edges(look(probe, view), Kind.SYMPTOM_SEEN)
    assert back.detail["what"] == "route_back"
    assert not edges(look(probe, view), Kind.SYMPTOM_SEEN)
    probe.close()


def test_deferred_work_is_no_symptom(server: FakeServer, view: FakeView) -> None:
    shedding = b'{"error": "load_shedding"}'
    for name, body in (("Retry-After", shedding), ("retry-after", shedding), ("Retry-After", b'{"kernel": []}')):
        server.answers["/work"] = Answer(status=503, headers=((name, "3"),), body=body)
        readings = look(probe_of(view), view)
        assert samples(readings, "route_up") == {"GET /work": 1.0} and not edges(readings, Kind.SYMPTOM_SEEN)
        assert samples(readings, "route_deferred") == {"GET /work": 1.0}
    server.answers["/work"] = Answer()
    assert samples(look(probe_of(view), view), "route_deferred") == {"GET /work": 0.0}


def test_a_slow_route_is_a_symptom_though_it_is_up(
    server: FakeServer, view: FakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.observers.routes.SLOW_MS", 0.0)
    server.answers["/work"] = Answer()
    readings = look(probe_of(view), view)
    assert samples(readings, "route_up") == {"GET /work": 1.0}
    assert [edge.detail["what"] for edge in edges(readings, Kind.SYMPTOM_SEEN)] == ["route_slow"]


def test_nobody_listening_is_a_route_down(tmp_path: Path) -> None:
    with serving() as fake:
        base_url = fake.base_url
    view = FakeView(target(tmp_path, base_url=base_url))
    readings = look(probe_of(view), view)
    assert edges(readings, Kind.SYMPTOM_SEEN)[0].detail["error"] == "ConnectionRefusedError"
