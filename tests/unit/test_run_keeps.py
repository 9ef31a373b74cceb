"""What a run keeps of its target: the manifest without a secret, however that is written."""

from __future__ import annotations

from pathlib import Path
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
