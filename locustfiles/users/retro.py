"""Asks for many retrospectives at once."""

from __future__ import annotations

from collections.abc import Iterator

from harness.gates import Order
from locustfiles.attacks import retros
from locustfiles.attacks.payload import Payload
from locustfiles.users.attack import AttackUser


class RetroCascade(AttackUser):
    user_name = "retro_cascade"

    def payloads(self, order: Order) -> Iterator[Payload]:
        total = int(order.params["total_requests"])
        return retros.generate(order.seed, total, order.prefix + order.step_id, order.index, order.of)
