"""The one picture: load, faults, safeguards, playbooks, recovery and the machine, on one time axis, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from operator import methodcaller

from harness.model import Kind
from harness.record import Record, Series
from harness.traffic import RequestRow, Traffic

WIDTH, LEFT, RIGHT = 1160, 150, 16
LANE, CHART, GAP = 22, 96, 26
Points = list[tuple[float, float]]


class Picture:
    """Draws from the top down; x() turns run seconds into pixels."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.end_s = max(record.end_s, 1.0)
        self.y = 8
        self.parts: list[str] = []

    def x(self, at_s: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * max(0.0, min(at_s, self.end_s)) / self.end_s, 1)

    def text(self, x: float, y: float, words: str, kind: str = "label", anchor: str = "end") -> None:
        self.parts.append(f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>')

    def lane(self, name: str, kind: str, spans: Sequence[tuple[float, float, str]]) -> None:
        """One row of spans (from, to, words), the words beside what is too narrow for them."""
        self.text(LEFT - 8, self.y + 15, name)
        for start_s, end_s, words in spans:
            x, width = self.x(start_s), max(3.0, self.x(end_s) - self.x(start_s))
            title = f"<title>{escape(words)}: {start_s:.2f} s to {end_s:.2f} s</title>"
            self.parts.append(
                f'<rect x="{x}" y="{self.y + 3}" width="{width:.1f}" height="{LANE - 6}" rx="3" class="{kind}">'
                f"{title}</rect>"
            )
            if width > 7 * len(words):
                self.text(x + 5, self.y + 15, words, "inside", "start")
            elif x + width + 7 * len(words) < WIDTH:
                self.text(x + width + 4, self.y + 15, words, "beside", "start")
            else:
                self.text(x - 4, self.y + 15, words, "beside", "end")
        self.y += LANE

    def chart(self, name: str, unit: str, lines: Sequence[tuple[str, str, Points]], top: float | None = None) -> None:
        """Lines over the time axis: (name, class, [(at_s, value)]). *top* fixes the scale."""
        highest = top or max([value for _, _, points in lines for _, value in points] or [1.0]) * 1.1 or 1.0
        base = self.y + CHART
        self.text(LEFT - 8, self.y + 12, f"{name}", "title")
        self.text(LEFT - 8, self.y + 28, f"{highest:.0f} {unit}".strip())
        self.text(LEFT - 8, base, "0")
        self.parts.append(f'<path d="M{LEFT} {base}H{WIDTH - RIGHT}M{LEFT} {self.y}H{WIDTH - RIGHT}" class="grid"/>')
        for number, (label, kind, points) in enumerate(lines):
            path = "".join(
                f"{'L' if i else 'M'}{self.x(at_s)} {base - CHART * min(1.0, value / highest):.1f}"
                for i, (at_s, value) in enumerate(points)
            )
            self.parts.append(f'<path d="{path}" class="line {kind}"><title>{escape(label)}</title></path>')
            self.text(LEFT - 8, self.y + 44 + 14 * number, label, f"key {kind}")
        self.y = base + GAP

    def render(self) -> str:
        self._lanes()
        start = self.y
        self.y += 10
        self._charts()
        self._bands(start)
        self._axis()
        height = self.y + 8
        return (
            f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="timeline of the run">' + "".join(self.parts)
        ) + "</svg>"

    def _lanes(self) -> None:
        record = self.record
        phases = []
        if record.baseline:
            phases.append(
                (max(0.0, record.baseline.at_s - record.plan.slo.baseline_s), record.baseline.at_s, "baseline")
            )
        if record.recovered:
            phases.append((record.recovered.at_s, record.recovered.at_s + record.plan.slo.hold_s, "recovered"))
        self.lane("steady state", "steady", phases)
        for fault in record.faults:
            if fault.injected:
                end_s = fault.ended.at_s if fault.ended else self.end_s
                words = f"{fault.step.step_id}, ended by {fault.ended_by or 'nobody'}"
                self.lane(fault.step.type, "fault", [(fault.injected.at_s, end_s, words)])
        for name in sorted({one.safeguard for one in record.engagements}):
            spans = [
                (one.engaged.at_s, one.released.at_s if one.released else self.end_s, one.subject)
                for one in record.engagements
                if one.safeguard == name
            ]
            self.lane(name[:22], "safeguard", spans)
        for name in sorted({one.playbook for one in record.playbook_runs}):
            runs = [
                (one.started.at_s, one.finished.at_s if one.finished else self.end_s, one.subject)
                for one in record.playbook_runs
                if one.playbook == name
            ]
            self.lane(name[:22], "playbook", runs)
        symptoms = [
            (event.at_s, event.at_s, f"{event.subject} {event.detail.get('what')}")
            for event in record.of_kind(Kind.SYMPTOM_SEEN)
            if event.detail.get("what") in ("route_down", "route_slow", "process_stopped")
        ]
        for what in ("process_stopped", "route_down", "route_slow"):
            mine = [span for span in symptoms if span[2].endswith(what)]
            if mine:
                self.lane(what, "symptom", mine[:12])

    def _charts(self) -> None:
        record = self.record

        def per_second(outcome: str) -> Points:
            return _binned(record, self.end_s, lambda t: _of(t, outcome))

        outcomes = [(name, name, per_second(name)) for name in ("ok", "shed", "failed")]
        self.chart("requests", "/s", outcomes)
        latencies = [
            (f"p{percent}", f"p{percent}", _binned(record, self.end_s, methodcaller("percentile", percent)))
            for percent in (50, 95, 99)
        ]
        self.chart("latency", "ms", latencies)
        machine = [
            ("CPU", "cpu", _points(record.signals("cpu_percent"))),
            ("memory", "memory", _points(record.signals("memory_percent"))),
            ("disk busy", "disk", _points(record.signals("disk_busy_percent"))),
        ]
        self.chart("machine", "%", machine, top=100.0)

    def _bands(self, top: float) -> None:
        """The faults' windows across all charts, behind the lines."""
        bands = []
        for fault in self.record.faults:
            if fault.injected:
                x = self.x(fault.injected.at_s)
                width = self.x(fault.ended.at_s if fault.ended else self.end_s) - x
                bands.append(
                    f'<rect x="{x}" y="{top}" width="{width:.1f}" height="{self.y - top - GAP + 4}" class="band"/>'
                )
        self.parts = bands + self.parts

    def _axis(self) -> None:
        step_s = next((s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300) if self.end_s / s <= 14), 600)
        at_s = 0
        while at_s <= self.end_s:
            self.text(self.x(at_s), self.y, f"{at_s} s", "label", "middle")
            at_s += step_s


def _points(series: Series) -> Points:
    return [(row[0], row[1]) for row in series.rows]


def _of(traffic: Traffic, outcome: str) -> float:
    if outcome == "ok":
        return float(traffic.count - traffic.failed - traffic.shed - traffic.limited)
    return float(traffic.shed + traffic.limited if outcome == "shed" else traffic.failed)


def _binned(record: Record, end_s: float, value: Callable[[Traffic], float | None]) -> Points:
    """One point a second of the legitimate traffic; nothing where there is no value."""
    bins: dict[int, list[RequestRow]] = {}
    for row in record.requests:
        if row.user == "legitimate":
            bins.setdefault(int(row.at_s), []).append(row)
    points = []
    for second in range(int(end_s) + 1):
        found = value(Traffic.of(bins.get(second, [])))
        if found is not None:
            points.append((second + 0.5, found))
    return points
