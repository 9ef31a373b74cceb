"""The load benchmark: what each tool says is read rightly, the truth's arithmetic is right, runs are measured."""

from __future__ import annotations

import http.client
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import load_measure, load_tools
from benchmarks.load_bounds import STALL_RATES
from benchmarks.load_server import ANSWER, BODY_HEAD, BODY_TAIL, ServerError, body, parse_count, slow
from benchmarks.load_tools import CONNECTIONS, FAST, OURS, TOOLS, WRK, Said, Unreadable, wrong
from benchmarks.load_truth import arrivals_wrong, ideal_s, latencies_s, parse_log, percentile
from tests.processes import ROOT

HEY = """
Summary:
  Total:	0.5200 secs
  Slowest:	0.0154 secs
  Requests/sec:	38462.7844
  Total data:	{data} bytes
  Size/request:	37 bytes

Response time histogram:
  0.000 [1]	|
  0.015 [15]	|

Latency distribution:
  95% in 0.0057 secs
  99% in 0.0088 secs

Status code distribution:
{statuses}
"""
HEY_LOST = """
Summary:
  Total:	0.0069 secs
  Requests/sec:	14563.4857

Status code distribution:

Error distribution:
  [100]	Get "http://127.0.0.1:18081/x": dial tcp 127.0.0.1:18081: connect: connection refused
"""
H2LOAD = """starting benchmark...
spawning thread #0: 100 total client(s). 20000 total requests
progress: 100% done

finished in 131.03ms, 152636.80 req/s, 27.80MB/s
requests: 20000 total, 20000 started, 20000 done, {succeeded} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {succeeded} 2xx, 0 3xx, {failed} 4xx, 0 5xx
traffic: 3.64MB (3820000) total, 2.19MB (2300000) headers (space savings 0.00%), 722.66KB (740000) data
                     min         max         mean         sd        +/- sd
time for request:      281us     12.79ms       628us       990us    96.47%
"""
AB = """This is ApacheBench, Version 2.3 <$Revision: 1934973 $>
Concurrency Level:      100
Time taken for tests:   0.149 seconds
Complete requests:      20000
Failed requests:        0
{strange}Keep-Alive requests:    20000
Total transferred:      3820000 bytes
HTML transferred:       740000 bytes
Requests per second:    134257.02 [#/sec] (mean)
"""
WRK_SAYS = """Running 2s test @ http://127.0.0.1:1/api/htm/intents
  1 threads and 100 connections
{"requests": 364487, "duration_us": 2002812, "bytes": 69617017, "status": 3, "socket": 1, "p99_us": 3044}
"""
WRK_CHECKED = (
    '{"requests": 100, "duration_us": 1000000, "bytes": 19100, "status": 0, "socket": 0, "p99_us": 5, '
    '"answered": 98, "length": 3626}\n'
)
LOCUST = (
    '{"requests": 3000, "failures": 2, "bytes": 111000, "seconds": 1.5, "cpu_s": 0.5, "lag_ms_p99": 2.5, "p99_ms": 7}'
)
ENGINE = (
    '{"requests": 10, "outcomes": {"ok": 8, "failed": 2}, "statuses": {"200": 9, "503": 1}, "body_bytes": 370, '
    '"seconds": 2.0, "cpu_s": 0.5, "latency_us": {"p99": 5400}}'
)


def test_what_wrk_says() -> None:
    said = load_tools.parse_wrk(WRK_SAYS)
    assert (said.good, said.other, said.seconds, said.p99_ms) == (364484, 4, 2.002812, 3.044)
    looked_at = load_tools.parse_wrk(WRK_CHECKED)
    assert (looked_at.good, looked_at.other, looked_at.content_bytes) == (98, 2, 3626)


def test_what_hey_says() -> None:
    said = load_tools.parse_hey(HEY.format(data=740000, statuses="  [200]	20000 responses"))
    assert said == Said(20000, 0, 0.52, content_bytes=740000, p99_ms=8.8)
    mixed = load_tools.parse_hey(
        HEY.format(data=740000, statuses="  [200]	19990 responses\n  [503]	10 responses")
    )
    assert (mixed.good, mixed.other) == (19990, 10)
    lost = load_tools.parse_hey(HEY_LOST)
    assert (lost.good, lost.other, lost.p99_ms) == (0, 100, None)


def test_what_h2load_says() -> None:
    said = load_tools.parse_h2load(H2LOAD.format(succeeded=20000, failed=0))
    assert said == Said(20000, 0, 0.13103, content_bytes=740000)
    assert load_tools.parse_h2load(H2LOAD.format(succeeded=19000, failed=1000)).other == 1000


def test_what_ab_says() -> None:
    assert load_tools.parse_ab(AB.format(strange="")) == Said(20000, 0, 0.149, content_bytes=740000)
    strange = load_tools.parse_ab(AB.format(strange="Non-2xx responses:      20000\n"))
    assert (strange.good, strange.other) == (0, 20000)


def test_what_locust_and_our_engine_say() -> None:
    said = load_tools.parse_locust(f"some line\n{LOCUST}\n")
    assert said == Said(2998, 2, 1.5, content_bytes=111000, steady_s=0.5, lag_ms_p99=2.5, p99_ms=7)
    ours = load_tools.parse_engine(ENGINE)
    assert (ours.good, ours.other, ours.steady_s, ours.p99_ms) == (8, 2, 0.5, 5.4)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_words_that_nobody_knows_are_no_figures(tool: load_tools.Tool) -> None:
    for words in ("", "segmentation fault", "{not json"):
        with pytest.raises(Unreadable):
            tool.parse(words)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_tool_is_told_url_and_how_many(tmp_path: Path, tool: load_tools.Tool) -> None:
    words = [*tool.command("http://127.0.0.1:1/api/htm/intents", tmp_path, 4700, 3.0)]
    assert "127.0.0.1:1" in " ".join(words)
    assert ("4700" in words) is tool.exact and ("-d3s" in words) is not tool.exact


FINE = Said(good=1000, other=0, seconds=1.0, content_bytes=1000 * len(ANSWER))


@pytest.mark.parametrize(
    ("said", "served", "words"),
    [
        (FINE, 1000, ()),
        (FINE, 999, ("it tells of 1000 requests, the server of 999",)),
        (FINE, 1001, ("it tells of 1000 requests, the server of 1001",)),
        (replace(FINE, good=999, other=1, content_bytes=None), 1000, ("1 of 1000 requests were not answered by 200",)),
        (replace(FINE, content_bytes=36_999), 1000, ("the answers' bodies are 36999 bytes, not 1000 of 37",)),
        (replace(FINE, good=900, content_bytes=None), 900, ("it was asked for 1000 requests and tells of 900",)),
    ],
)
def test_a_run_is_not_taken_at_its_word(said: Said, served: int, words: tuple[str, ...]) -> None:
    assert wrong(OURS, said, 1000, served) == words


def test_only_what_was_in_flight_may_lack_at_a_tool_that_ends_by_time() -> None:
    assert wrong(WRK, FINE, 0, 1000 + CONNECTIONS) == ()
    assert wrong(WRK, FINE, 0, 1001 + CONNECTIONS) and wrong(WRK, FINE, 0, 999)
    assert wrong(WRK, replace(FINE, good=0, content_bytes=0), 0, 0) == ("0 of 0 requests were not answered by 200",)


def test_the_count_of_nginx() -> None:
    text = "Active connections: 1 \nserver accepts handled requests\n 2 2 1003 \nReading: 0 Writing: 1 Waiting: 0 \n"
    assert parse_count(text) == 1003
    with pytest.raises(ServerError):
        parse_count("<html>404</html>")


def test_the_slow_server_counts_requests_and_repeated_bodies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with slow(tmp_path, core=0, delay_ms=1) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        for number in (1, 2, 2):
            client.request("POST", "/api/htm/intents", body=body(number))
            answer = client.getresponse()
            assert (answer.status, answer.read().decode()) == (200, ANSWER)
        client.close()
        assert (server.served(), server.served(), server.repeated(), server.served()) == (3, 3, 1, 3)
        each = server.answer_bytes()
        assert server.served() == 3 and each > len(ANSWER)
        for received, right in ((3 * each, True), (3 * each - 1, False), (4 * each + 100 * each, False)):
            found = load_measure.strange_length(Said(good=3, other=0, seconds=1.0, received_bytes=received), server)
            assert (found == []) is right
    with pytest.raises(ServerError):
        server.served()


def test_a_server_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ServerError, match="did not start"), slow(tmp_path, core=0):
        raise AssertionError("it runs")


# The truth of an open loop


def stalled(per_s: int, total_s: float, from_s: float, stall_s: float) -> list[float]:
    """When a server without any other limit answers what is due every 1 / per_s."""
    due = [number / per_s for number in range(round(per_s * total_s))]
    return [100.0 + (from_s + stall_s if from_s <= at_s < from_s + stall_s else at_s) for at_s in due]


@pytest.mark.parametrize("per_s", STALL_RATES)
def test_the_truth_by_the_log_is_that_of_arithmetic(per_s: int) -> None:
    answered = stalled(per_s, 8.0, 2.0, 1.0)
    random.Random(1).shuffle(answered)
    found = latencies_s(answered, per_s)
    assert percentile(found, 0.99) == pytest.approx(ideal_s(1.0, 8.0), abs=2 / per_s)
    assert ideal_s(1.0, 8.0) == pytest.approx(0.92) and ideal_s(0.05, 8.0) == 0.0
    assert max(found) == pytest.approx(1.0, abs=2 / per_s) and min(found) == pytest.approx(0.0, abs=1e-6)


def test_percentiles() -> None:
    assert [percentile([3, 1, 2, 4], share) for share in (0.0, 0.25, 0.5, 0.51, 0.99, 1.0)] == [1, 1, 2, 3, 4, 4]
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.99)


def test_the_log_tells_when_and_what() -> None:
    assert parse_log("1795599575.283 200 37\n1795599575.288 503 5\n") == (
        [1795599575.283, 1795599575.288],
        ["503 (5 bytes) at 1795599575.288"],
    )


def test_arrivals_that_were_not_the_planned_ones_are_seen() -> None:
    answered = stalled(2000, 4.0, 1.0, 1.0)
    assert arrivals_wrong(answered, 2000, 8000) == []
    assert arrivals_wrong(answered[:-1], 2000, 8000) == ["the server's log holds 7999 answers, not 8000"]
    twice_as_fast = [at_s / 2 for at_s in answered]
    assert arrivals_wrong(twice_as_fast, 2000, 8000) == ["the arrivals took 2.00 s, not 4.00"]


# Measuring


def test_cpu_is_that_of_the_whole_tree_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('done')"
    ended = load_measure.run([sys.executable, "-c", parent], tmp_path)
    assert (ended.code, ended.said) == (0, "done\n") and ended.cpu_s >= 0.2
    assert load_measure.run([sys.executable, "-c", "pass"], tmp_path).cpu_s < ended.cpu_s


def test_a_run_that_does_not_end_is_killed_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_measure, "RUN_LIMIT_S", 0.2)
    ended = load_measure.run([sys.executable, "-c", "import signal; signal.pause()"], tmp_path)
    with pytest.raises(load_measure.Failed, match="hey ended with -9"):
        load_measure.told(next(tool for tool in TOOLS if tool.name == "hey"), ended)


def test_what_the_twin_holds_is_compared(tmp_path: Path) -> None:
    (tmp_path / "intents.jsonl").write_text('{"intent_id": "a"}\n')
    (tmp_path / "audit.jsonl").write_text('{"action": "reject_intent"}\n{"action": "check"}\n')
    told = {"accepted": 1, "refused": 7, "rejected": 1, "invalid": 1}
    assert load_measure.twin_wrong(told, tmp_path) == []
    assert load_measure.twin_wrong({**told, "accepted": 2}, tmp_path) == ["2 intents were accepted, the twin holds 1"]
    assert load_measure.twin_wrong({**told, "rejected": 0}, tmp_path) == [
        "0 intents were rejected, the twin's log has 1",
        "1 invalid intents were sent, 0 rejected",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "tool", [OURS, load_tools.ENGINE, load_tools.GREEN, FAST, load_tools.PLAIN], ids=lambda one: one.name
)
def test_each_request_of_a_python_tool_goes_out_once_with_an_id_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: load_tools.Tool
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(load_measure, "SERVER_CORE", 0)
    found = load_measure.at_slow(tool, tmp_path, 300, 1.0, 1)
    assert (found.requests, found.wrong) == (300, ())
    assert 0 < found.steady_s < found.whole_s


def test_an_id_that_goes_out_twice_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that says all is well, and sends the same intent each time."""
    send = "import sys, urllib.request as r; "
    send += "[r.urlopen(r.Request(sys.argv[1], data=sys.argv[2].encode())).read() for _ in range(3)]; "
    send += 'print(\'{"requests": 3, "failures": 0, "bytes": 111, "seconds": 1, "cpu_s": 1, "lag_ms_p99": null}\')'

    def command(url: str, folder: Path, requests: int, seconds: float) -> list[str]:
        return [sys.executable, "-c", send, url, body(1).decode()]

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(load_measure, "SERVER_CORE", 0)
    found = load_measure.at_slow(replace(OURS, command=command), tmp_path, 3, 1.0, 1)
    assert found.wrong == ("2 of 3 requests had a body that had come before",)


@pytest.mark.slow
def test_the_twin_answers_every_intent_and_holds_what_it_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    found = load_measure.at_twin(tmp_path, 400)
    assert (found.requests, found.wrong) == (400, ())


def test_bodies_are_of_one_length() -> None:
    assert len(body(0)) == len(body(10**11)) and json.loads(body(7))["intent_id"] == "bench-000000000007"
    assert json.loads(BODY_HEAD + "x" + BODY_TAIL)
