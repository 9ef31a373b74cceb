"""Storms governance with questions, many of them equal."""

from __future__ import annotations

from collections.abc import Iterator

from harness.gates import Order
from locustfiles.attacks import governance
from locustfiles.attacks.payload import Payload
from locustfiles.users.attack import AttackUser


class GovernanceStorm(AttackUser):
    user_name = "governance_storm"

    def payloads(self, order: Order) -> Iterator[Payload]:
        total, payload = int(order.params["total_requests"]), order.params.get("payload")
        return governance.generate(order.seed, total, payload, order.prefix + order.step_id, order.index, order.of)
