"""A twin's configuration: what is not known is refused in one line that names it and its nearest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from twin.config import ConfigError, load_config


def load(tmp_path: Path, text: str, off: list[str] | None = None) -> object:
    path = tmp_path / "twin.yaml"
    path.write_text(text)
    return load_config(tmp_path, path, 0, off or [])


def test_safeguards_and_thresholds_are_taken(tmp_path: Path) -> None:
    text = "safeguards: {kernel_watchdog: off}\nthresholds: {cpu_critical_percent: 60}\n"
    path = tmp_path / "twin.yaml"
    path.write_text(text)
    config = load_config(tmp_path, path, 0, ["acl_violation_monitor"])
    assert not config.enabled("kernel_watchdog") and not config.enabled("acl_violation_monitor")
    assert config.enabled("resource_pressure_monitor")
    assert config.thresholds.cpu_critical_percent == 60 and config.thresholds.memory_critical_percent == 85


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("safeguard: {}", ("no key", "'safeguard'", "Did you mean 'safeguards'")),
        ("safeguards: {kernel_watchdogs: off}", ("'kernel_watchdogs'", "Did you mean 'kernel_watchdog'")),
        ("safeguards: {kernel_watchdog: 0}", ("safeguards.kernel_watchdog", "on or off")),
        ("thresholds: {cpu_critical: 3}", ("'cpu_critical'", "Did you mean 'cpu_critical_percent'")),
        ("thresholds: {cpu_critical_percent: high}", ("thresholds.cpu_critical_percent", "a number", "'high'")),
        ("- one", ("a mapping is expected",)),
        ("{", ("cannot be read",)),
    ],
)
def test_a_wrong_word_is_named(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    said = str(caught.value)
    assert all(word in said for word in words) and "\n" not in said, said


def test_an_unknown_safeguard_on_the_command_line_is_exit_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "twin", "--dir", str(tmp_path / "d"), "--safeguards-off", "kernel_watchdg"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert "'kernel_watchdg'" in done.stderr and "Did you mean 'kernel_watchdog'" in done.stderr
    assert not (tmp_path / "d" / "target.yaml").exists()
