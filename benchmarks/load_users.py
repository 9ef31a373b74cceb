"""Locust's own users in the load benchmark, as Locust's documentation writes them: one task, no wait. A locustfile.

locust -f benchmarks/load_users.py --headless --users 100 --spawn-rate 100 --bench-requests 10000 FastPeer
"""

from __future__ import annotations

from locust import FastHttpUser, HttpUser, task
from locust.exception import StopUser

from benchmarks.load_run import RUN
from benchmarks.load_server import body

HEADERS = {"Content-Type": "application/json"}


class FastPeer(FastHttpUser):
    @task
    def post(self) -> None:
        run = RUN[0]
        number = run.take()
        if number is None:
            raise StopUser
        self.client.post(run.path, data=body(number), headers=HEADERS)
        run.done()


class PlainPeer(HttpUser):
    @task
    def post(self) -> None:
        run = RUN[0]
        number = run.take()
        if number is None:
            raise StopUser
        self.client.post(run.path, data=body(number), headers=HEADERS)
        run.done()
