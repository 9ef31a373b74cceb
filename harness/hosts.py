"""Which addresses this harness may talk to: loopback, and what an authorisation names; asked at every connection."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlsplit

Address = tuple[str, int]


class HostRefused(OSError):
    """An address that no traffic may go to; the text says which, and why."""


@dataclass(frozen=True, kw_only=True)
class Permit:
    """An authorisation to load and attack *host*, given by *owner*, until the end of the day *expires*."""

    host: str
    owner: str
    expires: date

    def in_force(self, today: date) -> bool:
        return today <= self.expires

    def __str__(self) -> str:
        return f"{self.host}, authorised by {self.owner} until {self.expires.isoformat()}"


def lapsed(permits: Iterable[Permit], today: date) -> str:
    """Which of the *permits* has come to its end, in words; "" for none. Asked again while traffic goes on."""
    for permit in permits:
        if not permit.in_force(today):
            return f"the permit for {permit.host}, given by {permit.owner}, ended on {permit.expires.isoformat()}"
    return ""


def is_loopback(host: str) -> bool:
    """Whether *host*, as an address or as `localhost`, is this machine itself. Other names are not: they may change."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def resolve(host: str, port: int, permitted: Iterable[str] = ()) -> Address:
    """The numeric address to connect to. Raises HostRefused unless it is loopback or *host* is permitted by name.

    The answer is what must be connected to: looking the name up again could give another address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise HostRefused(f"{host}: is not found: {error}") from None
    found.sort(key=lambda one: one[0] is not socket.AF_INET)  # "localhost" is often both, and served on one
    addresses = [str(one[4][0]) for one in found]
    for address in addresses:
        if host in set(permitted) or is_loopback(address):
            return address, port
    raise HostRefused(f"{host} ({', '.join(addresses)}) is not on this machine, and nobody has authorised it")


def own_address(url: str, permitted: Iterable[str] = ()) -> str:
    """The address that this machine has towards the host of *url*. Sends nothing. Raises OSError, as resolve() does."""
    parts = urlsplit(url)
    address = resolve(parts.hostname or "", parts.port or 80, permitted)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(address)  # of a datagram socket: only the way there is looked up
        return str(sock.getsockname()[0])


def off_limits(url: str, scheme: str, permitted: Collection[str] = ()) -> str:
    """Why nothing may be sent to *url*: not SCHEME://HOST:PORT, or neither this machine nor permitted; "" = it may be.

    ZeroMQ reads "a;b" as a source and a destination, and a user
    before the host hides the host: nothing may stand there besides host and port.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not is_loopback(host) and host not in permitted:
        return (
            f"{url!r} is not on this machine; only loopback addresses are allowed,"
            " and hosts that the manifest's permits and --allow-host both name"
        )
    shown = f"[{host}]" if ":" in host else host
    if not port or url.lower() != f"{scheme}://{shown}:{port}":
        return f"{scheme}://HOST:PORT and nothing else is expected, not {url!r}"
    return ""
