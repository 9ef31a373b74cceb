"""The main way in: `locust -f locustfiles/grace.py [--headless] --scenario ID`. Puts the parts together, no more."""

import sys

try:
    from harness import cpu_clock

    cpu_clock.note()  # as early as can be: loading the rest keeps a core busy
    from harness import locust_load
    from harness.gates import ANY
    from locustfiles.users import attack, governance, htm, retro, spam
    from locustfiles.users.legitimate import LegitimateUser
except BaseException as error:  # Locust would end with 1, which means FAIL
    if isinstance(error, KeyboardInterrupt):
        raise
    sys.stderr.write(f"the harness failed: {type(error).__name__}: {error}\n")
    raise SystemExit(3) from None

__all__ = ["LegitimateUser"]

# By module, not by class: every user class that stands here is spawned by Locust, and attacks are steps of the plan.
locust_load.install(
    attackers={
        "/api/htm/intents": attack.by(htm.IntentFlood),
        "/api/governance/check": attack.by(governance.GovernanceStorm),
        "/api/meta_loop/retrospective": attack.by(retro.RetroCascade),
        ANY: attack.by(spam.Spam),
    }
)
