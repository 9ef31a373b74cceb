"""The main way in: `locust -f locustfiles/grace.py [--headless] --scenario ID`. Puts the parts together, no more."""

from harness import locust_load
from locustfiles.users.legitimate import LegitimateUser

__all__ = ["LegitimateUser"]

locust_load.install(attackers={})
