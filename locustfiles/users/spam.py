"""Sends one payload to any route, over and over."""

from __future__ import annotations

from collections.abc import Iterator

from harness.gates import Order
from locustfiles.attacks.payload import Payload, encoded, shares
from locustfiles.users.attack import AttackUser


class Spam(AttackUser):
    """What it sends changes no state that a ledger could hold."""

    user_name = "spam"
    in_ledger = False
    repeatable = False

    def payloads(self, order: Order) -> Iterator[Payload]:
        body = encoded(order.params.get("payload") or {})
        for numbers in shares(int(order.params["total_requests"]), order.index, order.of):
            for number in numbers:
                yield Payload(number=number, kind="request", id=f"{order.prefix}{order.step_id}-{number}", body=body)
