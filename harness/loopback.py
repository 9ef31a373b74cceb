"""HTTP for the harness's own probes: from one loopback address, through no proxy, with every bound."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.hosts import resolve

BODY_BYTES_MAX = 4 << 20
PROBE_ADDRESS = "127.0.0.3"  # probes must not spend the allowance of the legitimate users


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return *body* as the bytes that send() sends."""
    return json.dumps(body).encode()


class Client:
    """One keep-alive connection to a target. Not for use by two at a time."""

    def __init__(self, base_url: str, timeout_s: float = 2.0, permitted: Iterable[str] = ()) -> None:
        parts = urlsplit(base_url)
        self.permitted = tuple(permitted)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        more: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """(status, headers, body); *body* is sent as JSON, bytes as they are; *more* are headers of the request.

        Raises OSError or http.client.HTTPException; the connection is then a new one.
        """
        if self._connection is None:
            address, port = resolve(self.host, self.port, self.permitted)
            source = (PROBE_ADDRESS, 0) if address.startswith("127.") else None
            self._connection = http.client.HTTPConnection(address, port, self.timeout_s, source)
        data = body if body is None or isinstance(body, bytes) else encoded(body)
        # a stored answer would say nothing of the kernel that is asked for
        shown = f"[{self.host}]" if ":" in self.host else self.host
        headers = {"Host": f"{shown}:{self.port}", "Cache-Control": "no-cache", **(more or {})}
        if data is not None:
            headers["Content-Type"] = "application/json"
        try:
            self._connection.request(method, path, data, headers)
            response = self._connection.getresponse()
            content = response.read(BODY_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if len(content) > BODY_BYTES_MAX:
            self.close()
            raise OSError(f"{path} answers with more than {BODY_BYTES_MAX} bytes")
        return response.status, dict(response.headers), content

    def get_json(self, path: str) -> Any:
        """The answer to a GET. Raises OSError for anything but a 2xx with JSON."""
        status, _, content = self.send("GET", path)
        if not 200 <= status < 300:
            raise OSError(f"{path} answers {status}")
        try:
            return json.loads(content)
        except ValueError:
            raise OSError(f"{path} does not answer with JSON") from None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
