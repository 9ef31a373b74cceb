"""The main way in: `locust -f locustfiles/grace.py [--headless] --scenario ID`. Puts the parts together, no more."""

from harness import locust_load
from harness.gates import ANY
from locustfiles.users import attack, governance, htm, retro, spam
from locustfiles.users.legitimate import LegitimateUser

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
