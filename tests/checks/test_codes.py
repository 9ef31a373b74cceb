"""Each finding names its cause by a code that stands in the check's source, and cites what was looked at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import pytest

from harness import catalog
from harness.checks import finding
from harness.judge import judge
from harness.model import Finding, Kind, Verdict
from tests.drafts import Draft, healthy, mf01_plan

ROOT = Path(__file__).parents[2]
SOURCES = [*sorted((ROOT / "harness" / "checks").glob("*.py")), ROOT / "harness" / "mendings.py"]
MAKERS = ("finding", "_red", "Mending")  # whatever becomes a finding is made by one of these
TAKEN_ON = ("code", "codes", "cause")  # of another finding, whose own code is literal


def is_literal(node: ast.expr | None, arguments: set[str]) -> bool:
    """A text, one of several texts, or the code of something that was itself made with one."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and node.value.isidentifier() and node.value.islower()
    if isinstance(node, ast.IfExp):
        return is_literal(node.body, arguments) and is_literal(node.orelse, arguments)
    if isinstance(node, ast.ListComp):
        node = node.elt
    if isinstance(node, ast.Attribute):
        return node.attr in TAKEN_ON
    return isinstance(node, ast.Name) and node.id == "code" and node.id in arguments


def is_of_constant(node: ast.AST) -> TypeGuard[Any]:
    """An assignment such as `code = next(one for one in ORDER if ...)`, where ORDER stands in the module."""
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
        return False
    value = node.value
    first = value.args[0] if isinstance(value, ast.Call) and value.args else None
    source = first.generators[0].iter if isinstance(first, ast.GeneratorExp) else None
    taken = isinstance(first, ast.GeneratorExp) and isinstance(first.elt, ast.Name)
    return taken and isinstance(source, ast.Name) and source.id.isupper()


def calls(tree: ast.Module) -> Iterator[tuple[ast.Call, set[str]]]:
    """Each call, with the arguments of the function that it stands in, and its names that are taken of a constant."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            arguments = {one.arg for one in (*function.args.args, *function.args.kwonlyargs)}
            arguments |= {one.targets[0].id for one in ast.walk(function) if is_of_constant(one)}
            yield from ((call, arguments) for call in ast.walk(function) if isinstance(call, ast.Call))


def uncoded(source: str) -> list[int]:
    """The lines of calls that may make a finding other than PASS, or add to its causes, without a literal code."""
    found = []
    for call, arguments in calls(ast.parse(source)):
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        code = next((one.value for one in call.keywords if one.arg == "code"), None)
        passes = len(call.args) > 1 and ast.unparse(call.args[1]) == "Verdict.PASS"
        adds = name == "add" and len(call.args) > 1
        if (adds or (name in MAKERS and not passes)) and not is_literal(code, arguments):
            found.append(call.lineno)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_each_finding_of_a_check_has_a_literal_code(path: Path) -> None:
    assert not uncoded(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "call",
    [
        'finding(self, Verdict.FAIL, "why", event)',
        'finding(self, verdict, "why", event, code=why)',
        'finding(self, Verdict.FAIL, "why", event, code="Not a code")',
        'finding(self, Verdict.FAIL, "why", event, code="late" if late else why)',
        'finding(self, Verdict.FAIL, "why", event, code=code)',
        'self._red("why", row)',
        'Mending(name, Verdict.FAIL, "why", ())',
        'wrong.add("requests are lost", rows)',
    ],
)
def test_a_finding_without_a_literal_code_is_found(call: str) -> None:
    assert uncoded(f"def check(self, record):\n    {call}\n") == [2]


@pytest.mark.parametrize(
    "call",
    [
        'finding(self, Verdict.PASS, "why", event)',
        'finding(self, Verdict.FAIL, "why", event, code="late")',
        'code = next(one for one in ORDER if one in seen); finding(self, Verdict.FAIL, "why", event, code=code)',
    ],
)
def test_a_finding_with_a_literal_code_is_fine(call: str) -> None:
    assert not uncoded(f"def check(self, record):\n    {call}\n")


def test_a_code_is_made_of_the_check_and_its_cause() -> None:
    check = catalog.build_check("restarted", "a claim", {"kernel": "librarian", "within_s": 60.0})
    assert finding(check, Verdict.FAIL, "why", code="too_late").code == "restarted.too_late"
    assert finding(check, Verdict.PASS, "why", code="too_late").code == "restarted.shown"
    with pytest.raises(ValueError, match="needs a code"):
        finding(check, Verdict.FAIL, "why")


def uncited(source: str) -> list[int]:
    """The lines of calls of finding() that name no evidence at all."""
    made = ((call, ast.unparse(call.func)) for call, _ in calls(ast.parse(source)))
    return [call.lineno for call, name in made if name == "finding" and len(call.args) < 4]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_each_finding_of_a_check_names_evidence(path: Path) -> None:
    assert not uncited(path.read_text(encoding="utf-8"))
    assert uncited('def check(self):\n    return finding(self, Verdict.PASS, "nothing engaged")\n') == [2]


def silent(draft: Draft) -> Draft:
    """Nothing but the start is left of it."""
    draft.signals, draft.requests = [], []
    draft.events = [one for one in draft.events if one.kind in (Kind.RUN_STARTED, Kind.RUN_FINISHED)]
    return draft


DRAFTS = {
    "healthy": lambda draft: draft,
    "control": lambda draft: silent(replace(draft, plan=mf01_plan(control=True))),
    "blind watchdog": lambda draft: draft.drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog"),
    "no restart": lambda draft: draft.drop(Kind.KERNEL_CHANGED, "memory_fusion"),
    "cut short": lambda draft: draft.cut_short(9.8),
    "nothing injected": lambda draft: draft.drop(Kind.FAULT_INJECTED).drop(Kind.FAULT_ATTAINED),
    "silent": silent,
    "no playbook": lambda draft: draft.drop(Kind.PLAYBOOK_STARTED).drop(Kind.PLAYBOOK_FINISHED),
    "no recovery": lambda draft: draft.drop(Kind.RECOVERED),
}


@pytest.mark.parametrize("name", DRAFTS)
def test_every_finding_cites_evidence_and_has_a_code(tmp_path: Path, name: str) -> None:
    findings = judge(DRAFTS[name](healthy()).record(tmp_path))
    assert [one.claim for one in findings if not one.evidence] == []
    assert [one for one in findings if not coded(one)] == []


def coded(one: Finding) -> bool:
    return one.code.startswith(f"{one.check}.") and (one.cause == "shown") is (one.verdict is Verdict.PASS)


@pytest.mark.parametrize("name", [one for one in DRAFTS if one != "control"])
def test_every_check_cites_evidence_of_its_own(tmp_path: Path, name: str) -> None:
    """Also those that MF01 does not claim, and before the judge adds the timeline to a finding that cites nothing."""
    record = DRAFTS[name](healthy()).record(tmp_path)
    values: dict[str, object] = {"kernel": "librarian", "within_s": 60.0, "state": "running", "key": "a.b", "value": 1}
    values |= {"playbook": "load_shedding", "safeguard": "kernel_watchdog", "step_id": record.plan.steps[0].step_id}
    values |= {"metric": "latency_p95", "op": "<", "number": 100.0}
    found = {}
    for check, kind in catalog.checks().items():
        fields = {key: value for key, value in values.items() if key in kind.__dataclass_fields__}
        found[check] = catalog.build_check(check, "a claim", fields).check(record)
    assert [check for check, one in found.items() if not coded(one)] == []
    assert [one.code for one in found.values() if not one.evidence] == []


def test_a_finding_of_a_fault_that_fell_short_says_so(tmp_path: Path) -> None:
    low = {"mean": 71.25, "sd": 1.5, "p5": 68.0, "p95": 73.0, "max": 73.5, "n": 24.0}
    found = judge(healthy().change(Kind.FAULT_ENDED, "cpu_spike", achieved=low).record(tmp_path))
    assert {one.cause for one in found if one.because.startswith("cpu_spike was not what")} == {"fault_not_as_asked"}


def test_a_failure_of_a_run_cut_short_says_so(tmp_path: Path) -> None:
    draft = healthy().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog").cut_short(34.0)
    found = {one.code for one in judge(draft.record(tmp_path))}
    assert "safeguard_engaged.run_cut_short" in found


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("timeline", "", "timeline:1-{events}"),
        ("signals.csv", "at_s,name\n1,a\n2,b\n", "signals.csv:2-3"),
        ("signals.csv", "at_s,name\n1,a\n2,b", "signals.csv:2-3"),
        ("signals.csv", "at_s,name\n", "signals.csv:empty"),
        ("ledger.jsonl", "{}\n{}\n", "ledger.jsonl:1-2"),
        ("target/audit.jsonl", None, "target/audit.jsonl:missing"),
    ],
)
def test_what_was_looked_at_is_a_range_of_rows(tmp_path: Path, name: str, text: str | None, place: str) -> None:
    record = healthy().record(tmp_path)
    if name != "timeline" and text is not None:
        (record.folder / name).write_text(text, encoding="utf-8")
    assert record.looked(name) == place.format(events=len(record.events))
