"""report.html is one safe file: every claim in it, every link leads somewhere, and nothing the target says is code."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

from harness.judge import judge
from harness.model import Finding, Kind, Verdict
from harness.record import Record
from reports.html import FILES, OPEN_MAX, Html, _json
from tests.drafts import Draft, Row, healthy

EVIL = "</script><img src=x onerror=alert(1)>\"'&"
VOID = {"meta", "path", "circle", "td", "th"}  # elements that this page never closes, or closes by themselves


class Page(HTMLParser):
    """What stands in a page: attributes by name, ids, visible text; complains of what is closed in the wrong order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def render(record: Record, findings: list[Finding] | None = None) -> str:
    return Html().render(record, judge(record) if findings is None else findings)


def test_every_finding_stands_in_the_page_with_its_reason(tmp_path: Path) -> None:
    record = healthy().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog").record(tmp_path)
    words = " ".join(Page(render(record)).text)
    for one in judge(record):
        assert one.claim in words and one.because in words
    assert record.plan.scenario_id in words and f"seed {record.plan.seed}" in words
    assert "locust -f locustfiles/grace.py --headless --scenario MF01_triple_threat" in words


def test_every_link_leads_somewhere_in_this_page_or_this_folder(tmp_path: Path) -> None:
    page = Page(render(healthy().record(tmp_path)))
    assert len(page.ids) == len(set(page.ids))
    assert page.links
    for link in page.links:
        assert link[1:] in page.ids if link.startswith("#") else link in FILES


def test_a_link_is_never_made_of_what_somebody_says(tmp_path: Path) -> None:
    evidence = ("javascript:alert(1)", "https://example.org/x:1", "timeline:2")
    finding = Finding(check="x", verdict=Verdict.PASS, claim="c", because="b", evidence=evidence)
    page = Page(render(healthy().record(tmp_path), [finding]))
    assert page.links == ["#e2"]
    assert "javascript:alert(1)" in " ".join(page.text)


def evil(draft: Draft) -> Draft:
    """Every word that comes from the target or the scenario is an attempt to break out."""
    draft.events = [
        Row(e.at_s, e.kind, e.subject, e.source, {**e.detail, "subject": EVIL, "reason": EVIL, "what": EVIL}, e.seen_s)
        for e in draft.events
    ]
    draft.add(9.0, Kind.SAFEGUARD_ENGAGED, EVIL, EVIL, subject=EVIL, incident_id="1")
    draft.add(9.1, Kind.SYMPTOM_SEEN, EVIL, EVIL, what="route_down")
    draft.add(9.2, Kind.PLAYBOOK_STARTED, EVIL, EVIL, subject=EVIL, incident_id="1")
    return draft


def test_what_the_target_says_is_never_code(tmp_path: Path) -> None:
    record = evil(healthy()).record(tmp_path)
    finding = Finding(check="x", verdict=Verdict.FAIL, claim=EVIL, because=EVIL, group=EVIL, evidence=(EVIL,))
    text = render(record, [finding])
    page = Page(text)
    assert "img" not in page.tags and not {name for name in page.attributes if name.startswith("on")}
    assert text.count("<script") == 2 == text.count("</script>")
    assert EVIL in " ".join(page.text)


def test_nothing_is_loaded_and_only_our_script_may_run(tmp_path: Path) -> None:
    text = render(healthy().record(tmp_path))
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert len(script) == 1 and f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    assert not re.search(r"@import|url\(|<link|<iframe|fetch\(|XMLHttpRequest|eval\(", text)


def test_the_data_of_the_cursor_are_the_lines_of_the_picture(tmp_path: Path) -> None:
    text = render(healthy().record(tmp_path))
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert found
    charts = {chart["title"]: chart for chart in json.loads(found[1])["charts"]}
    assert list(charts) == ["requests", "latency", "failures", "machine"]
    assert [line["name"] for line in charts["requests"]["lines"]] == ["ok", "shed", "limited", "failed"]
    cpu = dict(charts["machine"]["lines"][0]["points"])
    assert (cpu[5.0], cpu[12.0]) == (21.0, 91.0)


def test_data_cannot_end_the_element_that_they_stand_in() -> None:
    data = {EVIL: ["<!--", EVIL, 1.5]}
    assert json.loads(_json(data)) == data
    assert not set("<>&") & set(_json(data))


def test_what_did_not_pass_stands_first_with_causes_before_consequences(tmp_path: Path) -> None:
    def one(number: int, verdict: Verdict, group: str) -> Finding:
        return Finding(check="x", verdict=verdict, claim=f"claim-{number}", because="b", group=group)

    findings = [
        one(1, Verdict.PASS, "safeguard"),
        one(2, Verdict.INCONCLUSIVE, "safeguard"),
        one(3, Verdict.INCONCLUSIVE, "validity"),
        one(4, Verdict.FAIL, "verification"),
    ]
    halted = Finding(check="run_complete", verdict=Verdict.INCONCLUSIVE, claim="claim-5", because="b", group="validity")
    findings.append(halted)
    record = healthy().record(tmp_path)
    above = render(record, findings).partition("What happened")[0]
    assert re.findall(r"<b>(claim-\d)</b>", above) == ["claim-4", "claim-5", "claim-3", "claim-2"]
    many = [one(number, Verdict.FAIL, "safeguard") for number in range(OPEN_MAX + 3)]
    above = render(record, many).partition("What happened")[0]
    assert above.count("<b>claim-") == OPEN_MAX and "and 3 more" in above


def test_a_verdict_is_a_word_and_a_shape_of_its_own(tmp_path: Path) -> None:
    record, shapes = healthy().record(tmp_path), set()
    for verdict in Verdict:
        head = render(record, [Finding(check="x", verdict=verdict, claim="c", because="b")]).partition("</header>")[0]
        assert f'<header class="{verdict.value}">' in head
        assert f"{verdict.value.replace('_', ' ')}</span>" in head
        shapes |= set(re.findall(r'<svg class="mark".*?</svg>', head))
    assert len(shapes) == len(Verdict)


def test_nothing_judged_is_not_a_pass(tmp_path: Path) -> None:
    assert '<header class="INCONCLUSIVE">' in render(healthy().record(tmp_path), [])


def test_a_run_that_barely_began_is_told_too(tmp_path: Path) -> None:
    draft = healthy()
    draft.events = [row for row in draft.events if row.kind is Kind.RUN_STARTED]
    draft.signals, draft.requests = [], []
    record = draft.record(tmp_path)
    words = " ".join(Page(render(record)).text)
    assert "Not recovered" in words and "not injected" in words and "did not engage" in words


def test_a_long_run_with_many_events_stays_below_half_a_megabyte(tmp_path: Path) -> None:
    draft = healthy()
    draft.signals = [(at_s + 36.5 * lap, *rest) for lap in range(5) for at_s, *rest in draft.signals]  # type: ignore[misc]
    for number in range(300):
        draft.add(40 + number / 3, Kind.SYMPTOM_SEEN, f"kernel_{number % 20}", "routes", what="route_slow", status=504)
    text = render(draft.record(tmp_path))
    assert len(text.encode()) < 500_000


def test_the_clients_ledger_is_summed_up_and_its_lines_are_links(tmp_path: Path) -> None:
    record = healthy().record(tmp_path)
    assert "Ledger of the clients" not in Html().render(record, [])
    row = {"at_s": 9.0, "user": "htm_flood", "kind": "intent", "id": "a", "valid": True, "flaw": "", "attempts": 3}
    rows = [{**row, "outcome": "accepted", "status": 200}, {**row, "id": "b", "outcome": "unanswered", "status": 0}]
    (record.folder / "ledger.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    cited = Finding(
        check="x", verdict=Verdict.PASS, claim="x", because="x", evidence=("ledger.jsonl:1", "target/intents.jsonl:2")
    )
    page = Html().render(Record.load(record.folder), [cited])
    cells = re.search(r"<tr><td>htm_flood.*?</tr>", page)
    assert cells and re.findall(r"<td>([^<]*)", cells[0]) == ["htm_flood", "intent", "valid", *"261001"]
    assert '<a href="ledger.jsonl">' in page and '<a href="target/intents.jsonl">' in page
