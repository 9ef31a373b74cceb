"""Floods the HTM queue with intents, a share of them invalid."""

from __future__ import annotations

from collections.abc import Iterator

from harness.gates import Order
from locustfiles.attacks import intents
from locustfiles.attacks.payload import Payload
from locustfiles.users.attack import AttackUser


class IntentFlood(AttackUser):
    user_name = "htm_flood"
    block = intents.BLOCK

    def payloads(self, order: Order) -> Iterator[Payload]:
        params = order.params
        total, ratio = int(params["total_requests"]), float(params.get("invalid_ratio") or 0)
        return intents.generate(order.seed, total, ratio, order.prefix + order.step_id, order.index, order.of)
