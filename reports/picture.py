"""The one picture: load, faults, safeguards, playbooks, symptoms, recovery and the machine, on one time axis."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from harness.model import Kind
from harness.record import FaultRecord, Record, Series
from harness.traffic import RequestRow, Traffic
from reports.svg import LEFT, RIGHT, WIDTH, Band, Canvas, Chart, Line, Points, Span

SYMPTOMS = ("process_stopped", "heartbeat_missed", "route_down", "route_slow")
ATTACK_OUTCOMES = ("ok", "rejected", "shed", "limited", "failed")
QUEUE = "htm_queue_depth"
POINTS_MAX = 600  # of a line: more than the picture has pixels for helps nobody


class Picture:
    """render() is the SVG, data() what a cursor reads out of it."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.end_s = max(record.end_s, 1.0)
        end_s = self.end_s
        self.charts = [_requests(record, end_s), *_attacks(record, end_s), *_queue(record)]
        self.charts += [_latency(record, end_s), _failures(record, end_s), _machine(record)]

    def render(self) -> str:
        canvas = Canvas(self.end_s)
        bands = self._lanes(canvas)
        canvas.y += 14
        top = canvas.y - 4
        for chart in self.charts:
            canvas.chart(chart)
        canvas.bands(bands)
        if self.record.recovered:
            canvas.moment(top, self.record.recovered.at_s, "steady", "recovered")
        canvas.axis()
        return canvas.render(f"timeline of {self.record.plan.scenario_id}")

    def data(self) -> dict[str, Any]:
        charts = [
            {
                "title": chart.title,
                "unit": chart.unit,
                "lines": [{"name": line.name, "kind": line.kind, "points": line.points} for line in chart.lines],
            }
            for chart in self.charts
        ]
        return {"end_s": self.end_s, "left": LEFT, "right": RIGHT, "width": WIDTH, "charts": charts}

    def _end_of(self, fault: FaultRecord) -> float:
        return fault.ended.at_s if fault.ended else self.end_s

    def _lanes(self, canvas: Canvas) -> list[Band]:
        """Draws all lanes; the bands that hang down from the faults."""
        bands = []
        canvas.heading("steady")
        canvas.lane("state", self._steady())
        canvas.heading("faults")
        for fault in self.record.faults:
            if fault.injected:
                bands.append(Band(start_s=fault.injected.at_s, end_s=self._end_of(fault), top=canvas.y + 10))
                canvas.lane(fault.step.step_id, [self._fault(fault)])
            else:
                canvas.lane(fault.step.step_id, [], "not injected")
        groups = (
            ("safeguards", self._safeguards(), "did not engage"),
            ("playbooks", self._playbooks(), "did not run"),
            ("symptoms", self._symptoms(), ""),
        )
        for heading, lanes, absent in groups:
            canvas.heading(heading)
            for name, spans in lanes.items() or [("none seen", [])]:
                canvas.lane(name, spans, absent)
        return bands

    def _steady(self) -> list[Span]:
        slo, spans = self.record.plan.slo, []
        for event, words in ((self.record.baseline, "baseline"), (self.record.recovered, "recovered")):
            if event:
                start_s = max(0.0, event.at_s - slo.baseline_s) if words == "baseline" else event.at_s
                end_s = event.at_s if words == "baseline" else event.at_s + slo.hold_s
                spans.append(Span(start_s=start_s, end_s=end_s, kind="steady", words=words))
        if self.record.aborted:
            at_s = self.record.aborted.at_s
            spans.append(Span(start_s=at_s, end_s=at_s, kind="symptom", words="cut short"))
        return spans

    def _fault(self, fault: FaultRecord) -> Span:
        assert fault.injected is not None
        words = f"{fault.step.subject}, ended by {fault.ended_by or 'nobody'}"
        end_s = self._end_of(fault)
        full_s = fault.attained.at_s if fault.attained else end_s
        return Span(start_s=fault.injected.at_s, end_s=end_s, kind="fault", words=words, full_s=full_s)

    def _safeguards(self) -> dict[str, list[Span]]:
        lanes: dict[str, list[Span]] = {name: [] for name in self.record.plan.expected_safeguards}
        for one in self.record.engagements:
            end_s = one.released.at_s if one.released else self.end_s
            words = one.subject if one.released else f"{one.subject}, not released"
            span = Span(start_s=one.engaged.at_s, end_s=end_s, kind="safeguard", words=words)
            lanes.setdefault(one.safeguard, []).append(span)
        return lanes

    def _playbooks(self) -> dict[str, list[Span]]:
        lanes: dict[str, list[Span]] = {name: [] for name in self.record.plan.expected_playbooks}
        for one in self.record.playbook_runs:
            end_s = one.finished.at_s if one.finished else self.end_s
            outcome = str(one.finished.detail.get("outcome")) if one.finished else "not finished"
            span = Span(start_s=one.started.at_s, end_s=end_s, kind="playbook", words=f"{one.subject} {outcome}")
            lanes.setdefault(one.playbook, []).append(span)
        return lanes

    def _symptoms(self) -> dict[str, list[Span]]:
        lanes: dict[str, list[Span]] = {}
        for event in self.record.of_kind(Kind.SYMPTOM_SEEN):
            what = str(event.detail.get("what"))
            if what in SYMPTOMS:
                span = Span(start_s=event.at_s, end_s=event.at_s, kind="symptom", words=event.subject)
                lanes.setdefault(what, []).append(span)
        for event in self.record.of_kind(Kind.KERNEL_CHANGED):
            if event.detail.get("what") == "process":
                words = f"{event.subject} pid {event.detail.get('old_pid')} → {event.detail.get('pid')}"
                span = Span(start_s=event.at_s, end_s=event.at_s, kind="restart", words=words)
                lanes.setdefault("new process", []).append(span)
        return lanes


def _requests(record: Record, end_s: float) -> Chart:
    def per_second(outcome: str) -> Callable[[Traffic], float]:
        return lambda traffic: _count(traffic, outcome) / _stretch_s(end_s)

    lines = tuple(
        Line(name=name, kind=name, points=_binned(record, end_s, per_second(name)))
        for name in ("ok", "shed", "limited", "failed")
    )
    return Chart(title="requests", unit="/s", lines=lines, stacked=True)


def _count(traffic: Traffic, outcome: str) -> int:
    counts = {"shed": traffic.shed, "limited": traffic.limited, "failed": traffic.failed}
    return counts.get(outcome, traffic.count - sum(counts.values()))


def _attacks(record: Record, end_s: float) -> list[Chart]:
    """What the attacks met; no chart for a run without any."""
    stretch_s = _stretch_s(end_s)
    bins: dict[str, Counter[int]] = {outcome: Counter() for outcome in ATTACK_OUTCOMES}
    for row in record.requests:
        if row.user != "legitimate":
            bins.setdefault(row.outcome, Counter())[int((row.at_s + 1e-6) / stretch_s)] += row.count
    if not any(bins.values()):
        return []
    lines = tuple(
        Line(
            name=outcome,
            kind=outcome,
            points=tuple(
                (round((number + 0.5) * stretch_s, 2), round(counts[number] / stretch_s, 2))
                for number in range(int(end_s / stretch_s))
            ),
        )
        for outcome, counts in bins.items()
    )
    return [Chart(title="attacks", unit="/s", lines=lines, stacked=True)]


def _queue(record: Record) -> list[Chart]:
    points = _thinned(record.signals(QUEUE))
    return (
        [Chart(title="queue", unit="", lines=(Line(name="waiting", kind="memory", points=points),))] if points else []
    )


def _latency(record: Record, end_s: float) -> Chart:
    def at(percent: float) -> Callable[[Traffic], float | None]:
        return lambda traffic: traffic.percentile(percent)

    lines = tuple(Line(name=f"p{p}", kind=f"p{p}", points=_binned(record, end_s, at(p))) for p in (50, 95, 99))
    bounds: tuple[tuple[float, str], ...] = ()
    if record.baseline:
        slo, before = record.plan.slo, float(record.baseline.detail.get("latency_ms_p95") or 0.0)
        bound = max(slo.latency_ms_p95_floor, slo.latency_p95_factor * before)
        bounds = ((bound, f"steady: p95 ≤ {bound:g} ms"),)
    return Chart(title="latency", unit="ms", lines=lines, bounds=bounds, log=True)


def _failures(record: Record, end_s: float) -> Chart:
    bound = record.plan.slo.failure_percent_max
    points = _binned(record, end_s, lambda traffic: traffic.failed_percent if traffic.count else None)
    line = Line(name="failed", kind="failed", points=points)
    return Chart(title="failures", unit="%", lines=(line,), bounds=((bound, f"steady: ≤ {bound:g} %"),))


def _machine(record: Record) -> Chart:
    names = (
        ("CPU", "cpu", "cpu_percent"),
        ("memory", "memory", "memory_percent"),
        ("disk", "disk", "disk_busy_percent"),
    )
    lines = tuple(Line(name=name, kind=kind, points=_thinned(record.signals(signal))) for name, kind, signal in names)
    bounds = tuple(
        (step.asked.value, f"{step.step_id} asked {step.asked.value:g} %")
        for step in record.plan.steps
        if step.asked.unit == "%"
    )
    return Chart(title="machine", unit="%", lines=lines, bounds=bounds, top=100.0)


def _thinned(series: Series) -> Points:
    """At most POINTS_MAX points, each the highest of its stretch: a peak is never thinned away."""
    rows = series.rows
    stretch = max(1, -(-len(rows) // POINTS_MAX))
    parts = [rows[start : start + stretch] for start in range(0, len(rows), stretch)]
    return tuple((part[0][0], round(max(row[1] for row in part), 2)) for part in parts)


def _stretch_s(end_s: float) -> float:
    return max(1.0, end_s / POINTS_MAX)


def _binned(record: Record, end_s: float, value: Callable[[Traffic], float | None]) -> Points:
    """One point for each whole stretch of the legitimate traffic (a second, in long runs more); none for None."""
    stretch_s = _stretch_s(end_s)
    bins: dict[int, list[RequestRow]] = defaultdict(list)
    for row in record.requests:
        if row.user == "legitimate":
            bins[int((row.at_s + 1e-6) / stretch_s)].append(row)
    points = []
    for number in range(int(end_s / stretch_s)):
        found = value(Traffic.of(bins.get(number, [])))
        if found is not None:
            points.append((round((number + 0.5) * stretch_s, 2), round(found, 2)))
    return tuple(points)
