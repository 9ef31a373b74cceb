"""Rate limiter: each client address has a bucket of tokens; who has none is refused, and told when to come again."""

from __future__ import annotations

from collections import OrderedDict

from twin.config import Thresholds
from twin.insistence import Insistence

CLIENTS_MAX = 10_000


class RateLimiter:
    """wait_s() takes a token for a client, or says how long until there is one; time is an argument."""

    name = "rate_limiter"
    playbook = ""  # the refusals themselves are what is done about it

    def __init__(self, thresholds: Thresholds) -> None:
        self.rate_per_s = thresholds.client_rate_per_s
        self.burst = float(thresholds.client_burst)
        self.insistence = Insistence(
            thresholds.limited_count, thresholds.limited_within_s, thresholds.limited_quiet_s, CLIENTS_MAX
        )
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client → (tokens, at_s)

    def wait_s(self, now_s: float, client: str) -> float:
        """0 when *client* may go on; else the seconds until it may."""
        tokens, at_s = self._buckets.get(client, (self.burst, now_s))
        tokens = min(self.burst, tokens + (now_s - at_s) * self.rate_per_s)
        allowed = tokens >= 1.0
        self._buckets[client] = (tokens - 1.0 if allowed else tokens, now_s)
        self._buckets.move_to_end(client)
        if len(self._buckets) > CLIENTS_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - tokens) / self.rate_per_s
