"""What a suite is asked for, and a look ahead: every word is tried on the target before the first scenario starts."""

from __future__ import annotations

import http.client
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness import own_parts
from harness.catalog import CatalogError
from harness.contracts import TargetError
from harness.embedded import EmbeddedTwin, TwinRefused
from harness.loopback import Client
from harness.metrics import UNITS
from harness.model import Plan
from harness.plan import Options, build_plan
from harness.preflight import checked
from harness.scenario import ScenarioError
from harness.signing import KeyRefused, load_private
from harness.suite_entries import Entry, entries, seed_of
from harness.target import ManifestTarget, load_target

ROOT = Path(__file__).resolve().parents[1]
GRACE = ("-f", str(ROOT / "locustfiles" / "grace.py"))
STOP_FILE = "HALT"  # in --out: nothing starts, and what runs is halted
STARTING_S = 6.0  # a process, a twin, its users, and the reports at the end
RECOVERING_S = 15.0  # what a recovery takes as a rule
LISTS = ("safeguards_off", "plant", "allow_host")


class SuiteRefused(Exception):
    """A suite that cannot be, in words; nothing has started."""


def as_list(words: str | Sequence[str]) -> list[str]:
    """A text alone is one word, not its letters."""
    return [words] if isinstance(words, str) else list(words)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A suite as it was asked for; with *seed* drawn it repeats. *words* go to each Locust before ours."""

    scenarios: tuple[str, ...]
    out: Path
    seed: int = 0
    time_scale: float = 1.0
    control: bool = False
    safeguards_off: str = ""
    plant: str = ""
    host: str = ""
    target: str = ""
    allow_host: str = ""
    users: int | None = None
    shared: bool = False
    sign_key: str = ""
    words: tuple[str, ...] = GRACE

    @staticmethod
    def of(scenarios: str | Sequence[str], **words: Any) -> Asked:
        """From Python, where a list stands for the command line's A,B, and a path may be text."""
        lists = {key: ",".join(as_list(words[key])) for key in LISTS if key in words}
        places = {"out": Path(words["out"]), "target": str(words.get("target", ""))}
        return Asked(**{**words, **lists, **places}, scenarios=tuple(as_list(scenarios))).drawn()

    def drawn(self) -> Asked:
        """With places that hold from any folder, and with a seed."""
        target = str(Path(self.target).resolve()) if self.target else ""
        seed = self.seed or random.SystemRandom().randrange(1, 2**31)
        key = str(Path(self.sign_key).resolve()) if self.sign_key else ""
        return replace(self, out=self.out.resolve(), target=target, seed=seed, sign_key=key)

    def command(self, word: str, seed: int) -> list[str]:
        """The words of Locust that run one scenario; of an option that stands twice it takes the last."""
        found = [*self.words, "--headless", "--scenario", word, "--seed", str(seed), "--out", str(self.out)]
        found += ["--time-scale", f"{self.time_scale!r}", *(["--control"] if self.control else [])]
        options = {"--host": self.host, "--target": self.target, "--allow-host": self.allow_host}
        options |= {"--safeguards-off": self.safeguards_off, "--plant": self.plant, "-u": str(self.users or "")}
        options |= {"--sign-key": self.sign_key}
        for flag, value in options.items():
            found += [flag, value] if value else []
        return found

    def to_json(self) -> dict[str, Any]:
        lists = {"scenarios": list(self.scenarios), "words": list(self.words)}
        return {**asdict(self), **lists, "out": str(self.out)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Asked:
        lists = {key: tuple(map(str, data[key])) for key in ("scenarios", "words")}
        return Asked(**{**data, **lists, "out": Path(data["out"])})


def check(asked: Asked) -> list[Entry]:
    """The entries, each with its length, or with what it lacks. Raises SuiteRefused; blocks for seconds."""
    if not (asked.time_scale > 0 and math.isfinite(asked.time_scale)):
        raise SuiteRefused(f"--time-scale: above 0 is expected, not {asked.time_scale:g}")
    if asked.seed < 0:
        raise SuiteRefused(f"--seed: a whole number of at least 0 is expected, not {asked.seed}")
    if asked.host and not asked.target:
        raise SuiteRefused("--host needs --target FILE: the harness must know the processes it judges by")
    if (asked.out / STOP_FILE).exists():
        raise SuiteRefused(f"{asked.out / STOP_FILE}: the stop file of an earlier run is still there; remove it first")
    try:
        own_parts.check()
        if asked.sign_key:
            load_private(Path(asked.sign_key))
        found = entries(asked.scenarios)
        if asked.target:
            return _tried(found, asked, reached(asked))
    except (CatalogError, KeyRefused, ScenarioError, TargetError) as error:
        raise SuiteRefused(str(error)) from None
    twin: EmbeddedTwin | None = None
    try:
        twin = EmbeddedTwin(asked.safeguards_off, asked.plant)
        return _tried(found, asked, twin.wait())
    except (ScenarioError, TargetError, TwinRefused) as error:
        raise SuiteRefused(str(error)) from None
    except RuntimeError:  # it does not come up: each run will say so, and be INCONCLUSIVE
        return found
    finally:
        if twin is not None:
            twin.stop()


def reached(asked: Asked) -> ManifestTarget:
    """The target that was named, and answers. Raises TargetError."""
    hosts = tuple(name.strip() for name in asked.allow_host.split(",") if name.strip())
    target = load_target(Path(asked.target), asked.host or None, hosts)
    why = unwell(target, only_first=True)
    if why:
        raise TargetError(f"{target.base_url} does not answer: {why}")
    checked(target)
    return target


def unwell(target: ManifestTarget, only_first: bool = False) -> str:
    """Why the target's GET routes do not all answer; "" when they do. *only_first*: any answer of any route will do."""
    client = Client(target.base_url, timeout_s=3.0, permitted=target.permitted)
    routes = [one for one in target.routes if one.method == "GET"] or list(target.routes[:1])
    try:
        for route in routes[:1] if only_first else routes:
            status, _, _ = client.send("GET", route.path)
            if status >= 500 and not only_first:
                return f"{route.name} answers {status}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        client.close()
    return ""


def _tried(found: Sequence[Entry], asked: Asked, target: ManifestTarget) -> list[Entry]:
    """Plans every entry. Raises ScenarioError with what is wrong in those that were named."""
    tried, problems = [], []
    for one in found:
        lacks = one.lacks
        if one.scenario is not None and not lacks:
            options = Options(
                seed=seed_of(asked.seed, one.scenario_id),
                time_scale=asked.time_scale,
                control=asked.control,
                users=asked.users,
            )
            try:
                plan, _ = build_plan(one.scenario, target, options, UNITS)
                one = replace(one, expected_s=length_s(plan))
            except ScenarioError as error:
                lacks = "; ".join(error.problems)
                problems += error.problems if one.named else []
        tried.append(replace(one, lacks=lacks))
    if problems:
        raise ScenarioError(problems)
    return tried


def length_s(plan: Plan) -> float:
    """About how long a run of *plan* takes."""
    if plan.not_applicable:
        return STARTING_S
    return STARTING_S + plan.slo.baseline_s + plan.faults_end_s + min(RECOVERING_S, plan.recovery_limit_s)
