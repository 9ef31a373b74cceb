"""A whole run folder of the present format, as a run leaves it: hashed, judged, with its reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.journal import event_of, row_hash
from harness.model import Kind
from harness.reporting import write_reports
from harness.required import FORMAT_KEY, RUN_FORMAT
from harness.seal import HASHES, OUTSIDE, at_end, at_start
from tests.drafts import Draft, healthy

FILES = {
    "scenario.yaml": "id: MF01_triple_threat\n",
    "ledger.jsonl": "",
    "undo.log": '{"state": "OPENED"}\n',
    "faults/cpu_spike.jsonl": '{"achieved": 90.0}\n',
    "dump/before/kernels.json": "{}\n",
    "dump/stacks/librarian.txt": "librarian\n",
    "target/target.yaml": "name: grace-twin\n",
    "target/logs/gateway.log": "started\n",
    "target/audit.jsonl": "",
}


def sealed(folder: Path, draft: Draft | None = None) -> Path:
    """The run folder of *draft* (a healthy run) with one file of each kind, judged and reported."""
    draft = draft or healthy()
    draft.files = {**FILES, **draft.files}
    draft.change(Kind.RUN_STARTED, draft.plan.scenario_id, **{FORMAT_KEY: RUN_FORMAT})
    made = draft.write(folder)
    write_reports(made)
    return made


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "timeline.jsonl").read_text(encoding="utf-8").splitlines()]


def chain_anew(folder: Path) -> None:
    """Hashes all files and all rows of an edited folder again: nothing in it contradicts itself any more."""
    rows, previous = rows_of(folder), "0" * 64
    rows[0]["detail"] |= at_start(folder)
    rows[-1]["detail"] |= {HASHES: at_end(folder, rows[-1]["detail"][OUTSIDE])[HASHES]}
    for row in rows:
        row["prev_hash"] = previous
        previous = row["hash"] = row_hash(row)
        event_of(row)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "timeline.jsonl").write_text(text, encoding="utf-8")
    write_reports(folder)
