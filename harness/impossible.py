"""Claims that no run of a scenario can ever pass, refused before the start, each with its line."""

from __future__ import annotations

from collections.abc import Iterable

from harness import catalog, own_parts
from harness.catalog import CatalogError
from harness.model import INVARIANT, Claim, Setup
from harness.scenario import Scenario

# group of a claim → the key of a scenario file that makes it
KEYS = {"safeguard": "expected_safeguards", "playbook": "expected_playbooks", "criterion": "category"}
# checks that only the coverage of the faults decides about
BY_COVERAGE = ("safeguard_engaged", "playbook_ran", "each_fault_detected", "alerts_raised", "all_safeguards_triggered")
# checks that the routes decide about, which the faults leave none of
BY_ROUTES = ("no_cascading_failure", "api_responsive", "graceful_degradation")
HINTS = {
    "faults": "aim them at kernels that not every route needs",
    "safeguard": "leave it out, or name it under detected_by",
    "playbook": "leave it out",
    "criterion": "name a safeguard under detected_by, or choose another category",
    "verification": "leave it out, or inject such a fault",
}


def impossible(scenario: Scenario, claims: Iterable[Claim], setup: Setup) -> list[str]:
    """A line for each claim of *scenario* that no run can pass; *setup* has all its faults, drawn or not.

    A fault of the user's own may do what no fault of ours does: then only what needs coverage is judged.
    """
    found = []
    own = bool({step.type for step in setup.steps} & own_parts.names("faults"))
    for claim in claims:
        skipped = claim.group in (INVARIANT, "validity") or (own and claim.check not in BY_COVERAGE)
        if skipped or not (why := never(claim, setup)):
            continue
        key = "faults" if claim.check in BY_ROUTES else KEYS.get(claim.group, claim.group)
        place = claim.where or scenario.places.get(key, scenario.places["scenario_id"])
        hint = HINTS.get("faults" if claim.check in BY_ROUTES else claim.group, "")
        found.append(f"{place}: {key}: {claim.claim!r} can never pass: {why}; {hint}".removesuffix("; "))
    return list(dict.fromkeys(found))


def never(claim: Claim, setup: Setup) -> str:
    """Return why no run can pass *claim*; "" when one can, or when its check does not say."""
    try:
        check = catalog.build_check(claim.check, claim.claim, claim.args)
    except CatalogError:
        return ""
    return str(check.never(setup)) if hasattr(check, "never") else ""
