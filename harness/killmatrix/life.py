"""The life of one fault, a step at a time: `python -m harness.killmatrix.life MANIFEST RUN_FOLDER RUN_ID FAULT`.

Says where it is, a word a line, and goes on when it reads a line: READY, ARMED, INJECTED, ACTIVE, HEALED. Meanwhile
it keeps its lease, and when its guardian is lost it heals what it has and ends, as a run does. With the argument
`straight` behind the fault it waits for nobody, and holds the fault for a second. With `stuck PATH` the fault's undo
has one more primitive, to remove the file at PATH, and what is put there is none: the first heal is STUCK.
"""

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path

from harness import catalog
from harness.guardian_link import GuardianLink, GuardianLost
from harness.killmatrix.recipes import RECIPES
from harness.model import Undo
from harness.primitives.remove_file import remove_file
from harness.target import load_target

LEASE_EVERY_S = 0.1
STRAIGHT_S = 1.0


def main() -> None:
    manifest, folder, run_id, name, *rest = sys.argv[1:]
    straight = rest == ["straight"]
    obstacle = Path(rest[1]) if rest[:1] == ["stuck"] else None
    target = load_target(Path(manifest))
    recipe = RECIPES[name]
    fault = catalog.build_fault(recipe.type, dict(recipe.params))
    link = GuardianLink(Path(folder), run_id)
    print(json.dumps({"at": "READY", "guardian": link.pid}), flush=True)

    def wait(where: str) -> None:
        print(json.dumps({"at": where}), flush=True)
        until_s = time.monotonic() + (STRAIGHT_S if where == "ACTIVE" else 0.0)
        while True:
            link.lease()
            ready, _, _ = select.select([sys.stdin] if not straight else [], [], [], LEASE_EVERY_S)
            if ready or (straight and time.monotonic() >= until_s):
                if ready:
                    sys.stdin.readline()
                return

    try:
        if not straight:
            sys.stdin.readline()
        undo = link.arm("f", _stuck_by(obstacle, fault.prepare(target)), 60.0)
        wait("ARMED")
        effect = fault.inject(target, undo, link.hands("f"))
        wait("INJECTED")
        link.active("f")
        fault.sample(target, undo, effect, link.hands("f"))
        wait("ACTIVE")
        if obstacle is not None:
            obstacle.symlink_to("nowhere")
            link.heal("f")
            wait("STUCK")
        link.heal("f")
        wait("HEALED")
    except (GuardianLost, OSError) as error:
        link.heal("f")
        print(json.dumps({"at": "LOST", "because": str(error)}), flush=True)
    link.close()


def _stuck_by(obstacle: Path | None, undo: Undo) -> Undo:
    return undo if obstacle is None else Undo(primitives=(*undo.primitives, remove_file(obstacle)))


if __name__ == "__main__":
    main()
