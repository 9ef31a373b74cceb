"""The one picture: nothing lies upon anything else, no peak is lost, and what is absent is said."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model import Kind
from harness.record import Series
from harness.traffic import RequestRow
from reports.picture import POINTS_MAX, Picture, _thinned
from reports.svg import CHART, LETTER, RIGHT, ROW, ROWS_MAX, WIDTH, Canvas, Chart, Line, Span, fitting
from tests.drafts import healthy

WORDS = re.compile(r'<text x="([\d.-]+)" y="([\d.-]+)" class="(?:inside|beside)" text-anchor="(\w+)">([^<]*)<')
SPANS = st.builds(
    lambda start, length, words: Span(start_s=start, end_s=start + length, kind="safeguard", words=words),
    st.floats(0, 180),
    st.sampled_from([0.0, 0.05, 3.0, 40.0]),
    st.text("abcdefgh_", min_size=1, max_size=30),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SPANS, max_size=25))
def test_words_of_a_lane_never_lie_upon_each_other_and_its_height_is_bounded(spans: list[Span]) -> None:
    canvas = Canvas(180.0)
    top = canvas.y
    canvas.lane("lane", spans)
    assert canvas.y - top <= ROWS_MAX * ROW
    boxes = []
    for x, y, anchor, words in WORDS.findall("".join(canvas.parts)):
        left = float(x) - (LETTER * len(words) if anchor == "end" else 0)
        boxes.append((float(y), left, left + LETTER * len(words)))
    boxes.sort()
    for (y, _, right), (other_y, left, _) in pairwise(boxes):
        assert y != other_y or right <= left
    assert "".join(canvas.parts).count("<title>") >= len(spans), "each span can be asked what it is"


def test_a_crowd_of_spans_does_not_push_the_rest_off_the_page() -> None:
    canvas, crowd = Canvas(180.0), [Span(start_s=5, end_s=90, kind="safeguard", words=f"actor_{n}") for n in range(40)]
    top = canvas.y
    canvas.lane("lane", crowd)
    assert canvas.y - top == ROWS_MAX * ROW
    drawn = "".join(canvas.parts)
    assert drawn.count("<title>") == 40 and len(WORDS.findall(drawn)) == ROWS_MAX


def test_words_stay_on_the_picture() -> None:
    canvas = Canvas(10.0)
    canvas.lane("lane", [Span(start_s=9.9, end_s=9.9, kind="symptom", words="a rather long name at the very end")])
    ((x, _, anchor, words),) = WORDS.findall("".join(canvas.parts))
    assert anchor == "end" and float(x) - LETTER * len(words) > 0 and float(x) < WIDTH - RIGHT


def test_a_safeguard_that_did_not_engage_has_a_lane_that_says_so(tmp_path: Path) -> None:
    assert "did not engage" not in Picture(healthy().record(tmp_path / "a")).render()
    silent = healthy().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog").record(tmp_path / "b")
    svg = Picture(silent).render()
    assert svg.count("did not engage") == 1 and "kernel_watchdog" in svg


def test_faults_bands_thresholds_and_recovery_are_drawn(tmp_path: Path) -> None:
    svg = Picture(healthy().record(tmp_path)).render()
    assert svg.count('class="band"') == 3
    for words in ("rogue_kernel, ended by plan", "cpu, ended by plan", "memory_fusion, ended by target"):
        assert words in svg
    assert "cpu_spike asked 90 %" in svg and 'class="moment steady"' in svg
    assert svg.count('class="rising"') == 2, "two faults took a while to attain their magnitude, one did not"


def test_a_fault_that_never_attained_is_rising_to_its_end(tmp_path: Path) -> None:
    svg = Picture(healthy().drop(Kind.FAULT_ATTAINED, "kernel_pause").record(tmp_path)).render()
    assert svg.count('class="rising"') == 3


def test_each_request_is_counted_once_and_in_its_own_outcome(tmp_path: Path) -> None:
    draft = healthy()
    draft.requests = [
        RequestRow(2.0 + number / 10, "legitimate", "x", outcome, 200, 1 + number, ((5, 1 + number),))
        for number, outcome in enumerate(("ok", "shed", "limited", "failed"))
    ]
    draft.requests.append(RequestRow(2.0, "malicious", "x", "failed", 500, 50, ((5, 50),)))
    charts = {chart.title: chart for chart in Picture(draft.record(tmp_path)).charts}
    requests, failures = charts["requests"], charts["failures"]
    assert [dict(line.points)[2.5] for line in requests.lines] == [1.0, 2.0, 3.0, 4.0]
    assert [dict(line.points)[3.5] for line in requests.lines] == [0.0] * 4
    assert 3.5 not in dict(failures.lines[0].points), "no requests is not 0 % failures"
    assert dict(failures.lines[0].points)[2.5] == 40.0


@pytest.mark.parametrize("count", [1, POINTS_MAX, POINTS_MAX + 1, 7 * POINTS_MAX + 3])
def test_a_peak_is_never_thinned_away(count: int) -> None:
    rows = tuple((float(n), 99.5 if n == count // 2 else 10.0, n + 2) for n in range(count))
    points = _thinned(Series(rows))
    assert len(points) <= POINTS_MAX and max(value for _, value in points) == 99.5


@pytest.mark.parametrize("log", [True, False])
def test_a_value_above_the_scale_does_not_exist(log: bool) -> None:
    canvas = Canvas(10.0)
    top = canvas.y
    canvas.chart(
        Chart(title="t", unit="ms", lines=(Line(name="n", kind="p99", points=((1.0, 0.0), (2.0, 4321.0))),), log=log)
    )
    path = next(part for part in canvas.parts if 'class="line p99">' in part)
    heights = [float(y) for y in re.findall(r" ([\d.]+)", path.partition('"')[2].partition('"')[0])]
    assert all(top <= y <= top + CHART for y in heights) and heights[1] < heights[0]


def test_a_name_that_is_cut_shows_it() -> None:
    assert fitting("short", 200) == "short"
    assert fitting("a" * 80, 100).endswith("…") and len(fitting("a" * 80, 100)) * LETTER <= 100


def test_attacks_and_the_queue_have_charts_of_their_own_when_there_are_any(tmp_path: Path) -> None:
    draft = healthy()
    assert [chart.title for chart in Picture(draft.record(tmp_path / "without")).charts] == [
        "requests",
        "latency",
        "failures",
        "machine",
    ]
    draft.requests.append(RequestRow(9.2, "htm_flood", "POST /api/htm/intents", "limited", 429, 40, ((3, 40),)))
    draft.requests.append(RequestRow(10.2, "htm_flood", "POST /api/htm/intents", "rejected", 422, 7, ((3, 7),)))
    draft.signals += [(9.0, "htm_queue_depth", "", 40.0), (10.0, "htm_queue_depth", "", 900.0)]
    charts = {chart.title: chart for chart in Picture(draft.record(tmp_path / "with")).charts}
    lines = {line.name: dict(line.points) for line in charts["attacks"].lines}
    assert (lines["limited"][9.5], lines["rejected"][10.5], lines["ok"][9.5]) == (40.0, 7.0, 0.0)
    assert max(value for _, value in charts["queue"].lines[0].points) == 900.0
    assert sum(value for _, value in charts["requests"].lines[0].points) > 0
