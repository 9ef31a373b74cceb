"""A host beyond this machine needs a permit in the manifest, in force, and its name on the command line."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harness.contracts import TargetError
from harness.target import ManifestTarget, load_target
from tests.fake_target import write_manifest

FAR = "http://far.test:80"
PERMIT = {"host": "far.test", "owner": "Ada Lovelace", "expires": "2026-11-30"}


def load(folder: Path, permit: Any = PERMIT, allow: tuple[str, ...] = ("far.test",), day: int = 30) -> ManifestTarget:
    path = write_manifest(folder, base_url=FAR, permits=[permit])
    return load_target(path, allow=allow, today=date(2026, 11, day))


def test_both_together_open_the_door_and_are_told(tmp_path: Path) -> None:
    target = load(tmp_path)
    assert target.base_url == FAR and target.permitted == ("far.test",)
    assert [str(one) for one in target.permits] == ["far.test, authorised by Ada Lovelace until 2026-11-30"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"allow": ()}, "only loopback addresses are allowed"),
        ({"allow": ("other.test",)}, "only loopback addresses are allowed"),
        ({"permit": {**PERMIT, "host": "other.test"}}, "only loopback addresses are allowed"),
        ({"permit": {**PERMIT, "expires": "2026-11-29"}}, "the permit for far.test ended on 2026-11-29"),
        ({"permit": {**PERMIT, "expires": "soon"}}, "a day as 2026-12-31 is expected, not 'soon'"),
        ({"permit": {key: PERMIT[key] for key in ("host", "expires")}}, "permits[0].owner is missing"),
        ({"permit": {**PERMIT, "reason": "x"}}, "'reason'"),
    ],
)
def test_one_alone_does_not(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TargetError) as caught:
        load(tmp_path, **changes)
    assert said in str(caught.value)


def test_a_permit_that_nobody_asks_for_changes_nothing(tmp_path: Path) -> None:
    target = load_target(write_manifest(tmp_path, permits=[PERMIT]), today=date(2026, 11, 1))
    assert target.permitted == ()


def test_the_day_may_be_written_without_quotes(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, base_url=FAR, permits=[{**PERMIT, "expires": date(2026, 11, 30)}])
    assert "expires: 2026-11-30\n" in path.read_text()
    assert load_target(path, allow=["far.test"], today=date(2026, 11, 30)).permitted == ("far.test",)
