"""A locustfile that runs nothing: it leaves the run folder that it is told to, and ends as it is told to.

GRACE_PAPER is a folder with a file a scenario, whose text says how: pass, fail, lie, empty, crash, broken, refuse,
inconclusive, hang, other (than was planned), stuck or stuck_red or stuck_killed (with a fault in force).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from harness.model import Claim, Kind, Plan  # noqa: E402
from harness.run import conclude  # noqa: E402
from harness.undo_log import UndoLog  # noqa: E402
from harness.wave import is_own  # noqa: E402
from tests.drafts import healthy, mf01_plan  # noqa: E402


def option(name: str) -> str:
    """The last of an option that stands several times, as Locust takes it."""
    return max((at, value) for at, value in enumerate(sys.argv[1:], 1) if sys.argv[at - 1] == name)[1]


def asked() -> tuple[str, str]:
    """(the scenario's file, its id; a wave's as FILE#A+FILE#B)."""
    name, _, identity = option("--scenario").partition("#")
    identity = identity.replace(f"{name}#", "")
    return name, identity or Path(name).read_text().splitlines()[0].rpartition(" ")[2]


def in_parts(plan: Plan, ids: list[str]) -> Plan:
    """A wave of MF01's faults: the last scenario has the paused kernel, the first all else; a recovery each."""
    steps = [step.step_id for step in plan.steps]
    parts = {**dict.fromkeys(ids, ()), ids[0]: tuple(steps[:-1]), ids[-1]: tuple(steps[-1:])}
    guard = "kernel_watchdog"
    words = (guard, "kernel_restart", "kernel_pause", "memory_fusion")

    def owners(claim: Claim) -> list[str]:
        if not is_own(claim):
            return [""]
        if claim.check == "recovery_within_limit":
            return ids
        return ids[-1:] if any(word in repr(claim) for word in words) else ids[:1]

    claims = [replace(claim, of=owner) for claim in plan.claims for owner in owners(claim)]
    claims = [claim for claim in claims if claim.check not in ("all_safeguards_triggered", "metric")]
    limits_s = dict.fromkeys(ids, plan.recovery_limit_s)
    return replace(plan, parts=parts, claims=tuple(claims), recovery_limits_s=limits_s)


def paper_plan(identity: str, seed: int) -> Plan:
    """What a run of this scenario, or of this wave, has for its plan."""
    plan = replace(mf01_plan(seed=seed), scenario_id=identity)
    ids = identity.split("+")
    return in_parts(plan, ids) if len(ids) > 1 else plan


def leave(how: str) -> int:
    """Writes the folder of a run; its exit code."""
    (name, identity), seed = asked(), int(option("--seed"))
    draft = healthy(seed=seed)
    draft.plan = paper_plan(identity, seed)
    if how == "other":
        draft.plan = replace(draft.plan, users=draft.plan.users + 1)
    if how in ("fail", "lie", "stuck_red"):
        draft.drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog")
    if how in ("inconclusive", "hang"):
        draft.cut_short(12.0)
    if how.startswith("stuck"):
        draft.change(Kind.FAULT_HEALED, "kernel_pause", verified=False)
    folder = draft.write(Path(option("--out")) / identity)
    folder = folder.rename(folder.with_name(f"{folder.name}-{os.getpid()}"))  # several runs lie side by side
    shutil.copy2(name, folder / "scenario.yaml")
    if how.startswith("stuck"):
        log = UndoLog(folder)
        log.write("PLANNED", draft.plan.steps[-1].step_id, undo=[])
        log.write("STUCK", draft.plan.steps[-1].step_id)
        log.close()
    if how in ("broken", "stuck_killed"):  # killed before it was judged
        os.kill(os.getpid(), signal.SIGKILL)
    verdict, _ = conclude(folder)
    return 0 if how == "lie" else verdict.exit_code


def main() -> int:
    told = Path(os.environ["GRACE_PAPER"])
    _, identity = asked()
    how = (told / identity).read_text().strip()
    with (told / "order").open("a") as order:
        order.write(f"{identity} {option('--seed')} {how}\n")
    print(f"[   0.1 s] faults   [....] {how}", flush=True)
    if how == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "empty":
        return 0
    if how == "refuse":
        print("it is refused in words")
        return 2
    if how == "hang":
        stopped = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        (told / "hangs").write_text(str(os.getpid()))
        while not stopped.wait(0.05):
            pass
        (told / "healed").touch()
    return leave(how)


if "GRACE_PAPER" in os.environ:
    sys.exit(main())
