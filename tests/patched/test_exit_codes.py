"""Endings of a Locust process: only ours are kept, whoever else ends it ran nothing."""

from __future__ import annotations

import sys

import pytest

from harness import locust_load


def test_an_end_while_locust_begins_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*words: object) -> None:
        sys.exit(0)

    monkeypatch.setattr(locust_load, "_init", end)
    with pytest.raises(SystemExit) as raised:
        locust_load._init_or_end(None, {})  # type: ignore[arg-type]
    assert raised.value.code == 3
