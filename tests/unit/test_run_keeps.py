"""What a run makes of its target: no secret of its manifest is kept, and a kernel that is not listed is not well."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.run import Run
from harness.target import load_target

MANIFEST = """schema: grace-target/1
base_url: http://127.0.0.1:1
routes: []
bus:
  endpoint: tcp://127.0.0.1:2
  server_public_key: PUBLIC
  open_topic: t
  spare_actors:
    - {public_key: a, secret_key: FLOW}
    - public_key: b
      secret_key: >-
        FOLDED
immutable_log:
  append: /log
  actor: auditor
  secret_key:
    TOKEN
"""


def test_no_secret_of_the_target_is_kept_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target.yaml").write_text(MANIFEST)
    run: Any = object.__new__(Run)
    run.folder, run.target = tmp_path, load_target(tmp_path / "target.yaml")
    assert run.target.immutable_log.secret_key == "TOKEN"
    run._keep_target()
    kept = (tmp_path / "target" / "target.yaml").read_text()
    assert "PUBLIC" in kept and [one for one in ("FLOW", "FOLDED", "TOKEN") if one in kept] == []


def test_a_kernel_that_the_target_no_longer_lists_is_not_well() -> None:
    run: Any = object.__new__(Run)
    run.plan, run.target = SimpleNamespace(kernels=("librarian",)), SimpleNamespace(signals={})
    latest = {("kernel_pid", "librarian"): (0.0, 7.0)}
    run.watcher = SimpleNamespace(engaged=set(), latest=latest, kernel_states={"librarian": "running"})
    assert run._trouble(1.0) == ""
    run.watcher.kernel_states["librarian"] = "unlisted"
    assert run._trouble(1.0) == "librarian is unlisted"
