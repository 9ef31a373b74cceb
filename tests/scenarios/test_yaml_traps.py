"""What a person or an accident may put into a YAML file is said with its line, and is never a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.contracts import TargetError
from harness.metrics import UNITS
from harness.plan import lint
from harness.scenario import KEYS, ScenarioError, load_file, read_file
from harness.target import load_target
from harness.yaml_reader import BYTES_MAX, DEPTH_MAX, Reader, ReadError, read_yaml
from tests.fake_target import BASE

GOOD = """scenario_id: X
faults:
  - type: cpu_spike
    params: {cpu_percent: 50, duration_seconds: 60}
"""


def problems_of(folder: Path, text: str | bytes) -> list[str]:
    path = folder / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [one.removeprefix(str(folder) + "/") for one in read_file(path)[1]]


TRAPS = [
    ("name: !!python/object/apply:os.system [x]\n", 5, "name: a list is expected, not one with the tag"),
    ("name: !foo bar\n", 5, "name: the tag '!foo' is not known here"),
    ("description: !!binary aGFsbG8=\n", 5, "description: the tag '!!binary' is not known here"),
    ("detected_by: !!set {a}\n", 5, "detected_by: a mapping is expected, not one with the tag '!!set'"),
    ("name: &a [*a]\n", 5, "alias *a stands inside what it names: this never ends"),
    ("name: *nobody\n", 5, "found undefined alias 'nobody'"),
    ("name: a\nname: b\n", 6, "'name' stands here twice"),
    ("name: 2024-01-01\n", 5, "'2024-01-01' is read as a date, and none is expected: put it in quotes"),
    ("name: 5\n", 5, "name: a text is expected, not 5"),
    ("name: no\n", 5, "name: a text is expected, not no"),
    ('name: "a\\e[31mb"\n', 5, "holds a control character"),
    ('name: "\\ud800"\n', 5, "a half of a character stands alone"),
    ('name: "\\UFFFFFFFF"\n', 5, "this is not YAML"),
    ("7: x\n", 5, "a key must be a text, not 7"),
    ("on: x\n", 5, "a key must be a text, not on"),
    ("? [a]\n: x\n", 5, "a key must be a text, not a list"),
    ("severity: .nan\n", 5, "severity: a whole number from 1 to 5 is expected, not .nan"),
    ("severity: 2.5\n", 5, "severity: a whole number from 1 to 5 is expected, not 2.5"),
    ("severity: true\n", 5, "severity: a whole number from 1 to 5 is expected, not true"),
    ("severity: !!int five\n", 5, "severity: 'five' is not a number"),
    ("severity: " + "1" * 5000 + "\n", 5, "is not a number"),
    ("max_recovery_time: .inf\n", 5, "max_recovery_time: a number from 1 to 3600 is expected, not .inf"),
    ("max_failover_time: soon\n", 5, "max_failover_time: a number from 1 to 3600 is expected, not 'soon'"),
    ("users: 1.5\n", 5, "users: a whole number from 1 to 1"),
    ("expected_safeguards: {a: b}\n", 5, "expected_safeguards: a list is expected, not a mapping"),
    ("expected_safeguards:\n- a\n- a\n", 7, "expected_safeguards: 'a' stands here twice"),
    ("verification: x\n", 5, "verification: a list is expected, not 'x'"),
    ("verification:\n- a: b\n", 6, "verification[0]: a text is expected, not a mapping"),
    ("detected_by: [a]\n", 5, "detected_by: a mapping is expected, not a list"),
    ("detected_by: {cpu_spike: kernel_watchdog}\n", 5, "detected_by.cpu_spike: a list is expected"),
    ("execution: 5\n", 5, "execution: a mapping is expected, not 5"),
    ("slo: {hold_s: .nan}\n", 5, "slo.hold_s: a number from 0 to 3600 is expected"),
    ("telemetry: {interval: 5}\n", 5, "no key is called 'telemetry'."),
    ("diagnostics: [dump]\nload_profile: x\n", 6, "no key is called 'load_profile'."),
    ("name: {a: 1\n", 6, "this is not YAML"),
    ("...\n---\na: b\n", 6, "but found another document"),
]


@pytest.mark.parametrize(("added", "line", "words"), TRAPS, ids=[row[0][:25].strip() for row in TRAPS])
def test_a_trap_is_said_with_its_line(tmp_path: Path, added: str, line: int, words: str) -> None:
    assert problems_of(tmp_path, GOOD) == []
    said = problems_of(tmp_path, GOOD + added)
    assert any(one.startswith(f"mine.yaml:{line}: ") and words in one for one in said), said
    with pytest.raises(ScenarioError):
        load_file(tmp_path / "mine.yaml")


FAULTS = [
    ("faults: 5\n", 2, "faults: a list is expected, not 5"),
    ("faults: []\n", 2, "faults: a list with at least one fault is expected"),
    ("faults:\n- cpu_spike\n", 3, "faults[0]: a mapping is expected, not 'cpu_spike'"),
    ("faults:\n- {params: {}}\n", 3, "faults[0]: type is missing"),
    ("faults:\n- {type: [a]}\n", 3, "faults[0].type: a text is expected, not a list"),
    ("faults:\n- {type: cpu_spike, params: []}\n", 3, "faults[0].params: a mapping is expected, not a list"),
    ("faults:\n- {type: cpu_spike, param: {}}\n", 3, "no key is called 'param'. Did you mean 'params'?"),
    ("faults:\n- {type: cpu_spike, target: 5}\n", 3, "faults[0].target: a text is expected, not 5"),
    ("name: x\n", 1, "faults, injection or fault_pool is missing"),
    ("injection: [a]\n", 2, "injection: a mapping is expected, not a list"),
    ("injection: {endpoint: /x}\n", 2, "injection: type is missing"),
    ("injection: {type: a, b: 1, params: {b: 2}}\n", 2, "injection: b stands beside params and in them"),
    ("injection: {type: a}\nfault_pool: [b]\n", 3, "fault_pool: injection stands here too"),
    ("fault_pool: []\n", 2, "fault_pool: a list with at least one fault is expected"),
    ("fault_pool: [5]\n", 2, "fault_pool[0]: a text is expected, not 5"),
]


@pytest.mark.parametrize(("text", "line", "words"), FAULTS, ids=[row[0][:40].strip() for row in FAULTS])
def test_what_is_done_must_be_said_rightly(tmp_path: Path, text: str, line: int, words: str) -> None:
    said = problems_of(tmp_path, "scenario_id: X\n" + text)
    assert any(one.startswith(f"mine.yaml:{line}: ") and words in one for one in said), said


@pytest.mark.parametrize("identity", ["../x", "a/b", ".hidden", "", "a b", "x" * 81, "5", "ä"])
def test_a_run_folder_can_be_called_after_every_scenario(tmp_path: Path, identity: str) -> None:
    assert "mine.yaml:1: scenario_id" in "\n".join(problems_of(tmp_path, GOOD.replace("X", identity, 1)))


def test_the_same_id_twice_in_a_file(tmp_path: Path) -> None:
    one = "- " + GOOD.replace("\n", "\n  ").strip() + "\n"
    assert problems_of(tmp_path, one + one.replace("X", "Y")) == []
    (said,) = problems_of(tmp_path, one + one)
    assert said == "mine.yaml:5: scenario_id 'X' stands at " + str(tmp_path) + "/mine.yaml:1 too"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"[]", "a list with at least one scenario is expected"),
        (b"5", "scenario: a mapping is expected, not 5"),
        (b"- 5\n- x\n", "mine.yaml:2: scenario: a mapping is expected, not 'x'"),
        (b"\xff\xfea\x00", "is not text in UTF-8: byte 0 is 0xff"),
        (b"a: b\nc: \xe9\n", "mine.yaml:2: is not text in UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "this is not YAML"),
        (b"a:\n  b: \x00", "mine.yaml:2: this is not YAML"),
        (b"[" * (DEPTH_MAX + 1), f"is nested more than {DEPTH_MAX} deep"),
        (b"{a: " * 100_000, f"is nested more than {DEPTH_MAX} deep"),
        (b"a" * (BYTES_MAX + 1), "has more than"),
        (b"%YAML 1." + b"9" * 5000 + b"\n---\na", "this is not YAML"),
    ],
)
def test_what_is_no_scenario_file(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in "\n".join(problems_of(tmp_path, content))


def test_a_few_lines_of_aliases_do_not_become_millions(tmp_path: Path) -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    (said,) = problems_of(tmp_path, laughs)
    assert "mine.yaml:5: stands for more than" in said


def test_bom_and_crlf_are_read_as_if_they_were_not_there(tmp_path: Path) -> None:
    assert problems_of(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()) == []
    (said,) = problems_of(tmp_path, GOOD.replace("\n", "\r\n") + "severity: 9\r\n")
    assert said.startswith("mine.yaml:5: ")


def test_anchors_and_merge_keys_mean_what_yaml_says(tmp_path: Path) -> None:
    text = """- &first
  scenario_id: A
  faults: &both
    - &spike {type: cpu_spike, params: &params {cpu_percent: 50, duration_seconds: 60}}
- <<: *first
  scenario_id: B
- scenario_id: C
  faults: [{<<: *spike, params: {<<: [*params, {cpu_percent: 1}], duration_seconds: 7}}]
"""
    assert problems_of(tmp_path, text) == []
    a, b, c = load_file(tmp_path / "mine.yaml")
    assert a.faults == b.faults and (a.scenario_id, b.scenario_id) == ("A", "B")
    assert c.faults[0].params == {"cpu_percent": 50, "duration_seconds": 7}
    assert "<<: a mapping is expected, not 5" in problems_of(tmp_path, GOOD + "<<: 5\n")[0]


def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, words in (("", "is not a file"), ("pipe", "is not a file"), ("none", "No such file"), ("loop", "levels")):
        assert words in read_file(tmp_path / name)[1][0]
        with pytest.raises(TargetError, match=words):
            load_target(tmp_path / name)


def test_a_value_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("{t: text, n: 5, f: 2.5, w: true, z: null, l: [1, {a: b}]}")
    reader = Reader("a.yaml")
    root = read_yaml(path, "a.yaml")
    assert reader.plain(root, "a") == {"t": "text", "n": 5, "f": 2.5, "w": True, "z": None, "l": [1, {"a": "b"}]}
    node = {key: one.value for key, one in reader.mapping(root, "a").items()}
    assert reader.flag(node["w"], "w") and reader.whole(node["n"], "n", 5, 5, 0) == 5
    assert reader.number(node["f"], "f", 0, 3, 0) == 2.5 and reader.problems == []
    assert (reader.flag(node["n"], "n"), reader.number(node["w"], "w", 0, 3, 1)) == (False, 1)
    assert reader.problems == [
        "a.yaml:1: n: true or false is expected, not 5",
        "a.yaml:1: w: a number from 0 to 3 is expected, not true",
    ]
    with pytest.raises(ReadError):
        read_yaml(tmp_path / "none", "none")


SCALARS = st.one_of(
    st.sampled_from(
        ["null", "true", ".nan", ".inf", "-1", "0", "1e400", "0x_", "0b_", "1:30", "2024-01-01", "=", "<<"]
    ),
    st.sampled_from(["!foo x", "!!int x", "!!python/object:os.system x", "&a b", "*a", '"\\ud800"', "''", "x"]),
    st.integers().map(str),
    st.floats().map(str),
)
WORDS = st.sampled_from(
    [*KEYS, "type", "target", "params", "random_selection", "spacing_seconds", "total_duration", "cpu_spike", "<<", "1"]
)


def flow(rows: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in rows) + "}"


FLOW = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda rows: f"[{', '.join(rows)}]"),
        st.lists(st.tuples(WORDS, inner), max_size=4).map(flow),
    ),
    max_leaves=12,
)
TOP = st.lists(st.tuples(st.sampled_from(KEYS), FLOW), max_size=8)
TEXTS = st.one_of(
    TOP.map(lambda rows: "".join(f"{key}: {value}\n" for key, value in rows)),
    TOP.map(lambda rows: "".join(f"{'  ' if n else '- '}{key}: {value}\n" for n, (key, value) in enumerate(rows))),
    FLOW,
    st.text(max_size=80),
    st.text(alphabet="{}[]:,-&*!|>'\"%@`#? \n\tab01.<=~", max_size=60),
)
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(text=TEXTS)
@example(text="scenario_id: X\ndetected_by: [1]\nexecution: {random_selection: 1}\nfault_pool: [a]\n")
@example(text="scenario_id: X\nfaults: &a [*a]\n")
@example(text="scenario_id: X\ninjection: {type: kernel_kill, params: {targets: 5}}\n")
def test_any_text_is_scenarios_that_can_be_linted_or_is_refused_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    try:
        scenarios = load_file(path)
        assert scenarios and all(one.faults or one.pool for one in scenarios)
        for one in scenarios:
            lint(one, UNITS)
    except ScenarioError as error:
        assert error.problems and all(one.startswith(f"{path}") and "\n" not in one for one in error.problems)
        "\n".join(error.problems).encode()


# A manifest that is whole but for one value, so that every reader is reached.
BENT = st.tuples(st.sampled_from(sorted({*BASE, "bus", "links", "paths", "supervisor"})), FLOW)


@FUZZ
@given(
    text=st.one_of(
        TEXTS,
        BENT.map(lambda one: yaml.safe_dump({k: v for k, v in BASE.items() if k != one[0]}) + f"{one[0]}: {one[1]}\n"),
    )
)
@example(text=yaml.safe_dump({**BASE, "routes": [{"name": "x", "method": 1, "path": "/", "kernels": []}]}))
@example(text=yaml.safe_dump({**BASE, "bus": {"endpoint": "tcp://[", "spare_actors": {}}}))
def test_any_text_is_a_target_or_is_refused_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    try:
        load_target(path)
    except TargetError as error:
        assert all(one.startswith(f"{path}") for one in str(error).splitlines())
        str(error).encode()
