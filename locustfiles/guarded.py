"""Keeps a user's requests where they may go: each connection, also after a redirect, is checked as it is made."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.poolmanager import PoolManager

from harness.hosts import HostRefused, is_loopback, resolve


class GuardedConnection(HTTPConnection):
    """Connects to the address that was checked, never to what the name says a second time."""

    def __init__(self, *args: Any, permitted: tuple[str, ...] = (), own_address: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.permitted = permitted
        self.own_address = own_address

    def _new_conn(self) -> Any:
        name = self._dns_host
        try:
            address, _ = resolve(name, self.port, self.permitted)
        except HostRefused as error:
            raise NewConnectionError(self, str(error)) from error
        local = is_loopback(address) and "." in address
        self.source_address = (self.own_address, 0) if local and self.own_address else None
        self._dns_host = address
        try:
            return super()._new_conn()
        finally:
            self._dns_host = name


class GuardedPool(HTTPConnectionPool):
    ConnectionCls = GuardedConnection


class GuardedAdapter(HTTPAdapter):
    """For every scheme: what is not plain HTTP has no guarded connection yet, and is refused."""

    def __init__(self, own_address: str, permitted: tuple[str, ...]) -> None:
        self._options = {"own_address": own_address, "permitted": permitted}
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": partial(_pool, self._options)}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if not (request.url or "").startswith("http://"):
            raise requests.exceptions.InvalidURL(f"only http:// is allowed, not {request.url!r}", request=request)
        return super().send(request, *args, **kwargs)


def _pool(options: dict[str, Any], host: str, port: int, **kwargs: Any) -> GuardedPool:
    return GuardedPool(host, port, **kwargs, **options)


def keep_here(session: requests.Session, own_address: str, permitted: Iterable[str] = ()) -> None:
    """Guards all that *session* does; its connections to loopback come from *own_address*.

    Proxy variables of the environment are ignored: they would lead traffic to another machine.
    """
    session.trust_env = False
    adapter = GuardedAdapter(own_address, tuple(permitted))
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
