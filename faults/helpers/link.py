"""How a network fault comes onto a link: the link's address file leads callers to a proxy, and is given back first.

The proxy listens on a TCP port of 127.0.0.1, whatever the callee does: who reads address files knows both kinds.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faults.helpers.link_probe import LinkProbe
from faults.helpers.reading import helper_facts, rows, sample_mean
from harness.catalog import nearest
from harness.contracts import Hands, Link, Target, TargetError, TargetLacks
from harness.model import Effect, Hold, Sample, Undo
from harness.primitives import Looks, replace_file
from harness.primitives.kill_marked import kill_marked
from harness.primitives.restore_address import OP as RESTORE_ADDRESS
from harness.primitives.restore_address import read, restore_address

ARROW = re.compile(r"\s*(?:->|→)\s*")
PROXY = "faults.helpers.link_proxy"
TERM_S = 2.0  # more than the proxy needs to let go what is under way
LISTEN_LIMIT_S = 5.0
QUIET_S = 2.0  # a link without a request for so long has no measure
BELT_S = 30.0  # the proxy passes everything on this long after its time, should nobody end it


def find_link(target: Target, name: str) -> Link:
    """The link called *name*, a callee or CALLER->CALLEE. Raises TargetLacks."""
    link = target.links.get(ARROW.sub("->", name))
    if link is None:
        raise TargetLacks(f"the target has no link {name!r}.{nearest(name, target.links)}")
    return link


def callee(name: str) -> str:
    return ARROW.split(name)[-1].strip()


def prepare(target: Target, name: str) -> Undo:
    """The address file is given back before the proxy ends: the last primitive is taken back first."""
    link = find_link(target, name)
    original = read(link.address_file)
    if _proxies(original or _upstream(target, link)):
        raise TargetError(f"{link.name}: another network fault is on this link already")
    _this_machine(_upstream(target, link))
    folder = link.address_file.parent
    if not folder.is_dir():
        raise TargetError(f"{link.name}: there is no folder {folder}")
    looks = Looks.of(_existing(target, link))
    ours = f"tcp:127.0.0.1:{_free_port()}\n"
    return Undo(
        primitives=(kill_marked("", TERM_S), restore_address(link.address_file, original, ours, looks)),
    )


def _existing(target: Target, link: Link) -> Path:
    """The address file that holds for the link's callers now: its own, or the one for all who call that callee."""
    common = target.links.get(link.callee)
    if not link.address_file.exists() and common is not None:
        return common.address_file
    return link.address_file


def _upstream(target: Target, link: Link) -> str:
    found = read(_existing(target, link))
    if not found or not found.strip():
        raise TargetError(f"{link.name}: {_existing(target, link)} has no address")
    return found.strip()


def _this_machine(address: str) -> None:
    kind, _, where = address.partition(":")
    try:
        if kind == "unix" and where.startswith("/"):
            return
        host, _, port = where.rpartition(":")
        if kind == "tcp" and port.isdigit() and ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    raise TargetError(f"{address!r} is not an address on this machine (unix:/PATH or tcp:127.0.0.1:PORT)")


def _free_port() -> int:
    """A port that nobody listens on now. Should another take it first, the proxy says so and the fault is lost."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _proxies(address: str) -> list[int]:
    """The living proxies of this kind that listen at *address*."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if PROXY.encode() in words:
                arguments = json.loads(words[words.index(PROXY.encode()) + 1])
                if address.strip() == f"tcp:127.0.0.1:{arguments['listen_port']}":
                    found.append(int(entry.name))
        except (OSError, ValueError, KeyError, IndexError):
            continue
    return found


def witness(target: Target, name: str, undo: Undo, kind: str, field: str = "", jitter: float = 0.0) -> LinkProbe:
    """The harness's own caller on the link; see link_probe.py for *kind*, *field* and *jitter*."""
    link = find_link(target, name)
    return LinkProbe(link, _upstream(target, link), undo, kind, field, jitter)


def inject(
    target: Target, name: str, undo: Undo, hands: Hands, duration_s: float, arguments: Mapping[str, Any]
) -> Effect:
    """Starts the proxy, waits until it listens, and leads the callers to it."""
    link, way = find_link(target, name), _way(undo)
    upstream = _upstream(target, link)
    helper = hands.start_helper(
        PROXY,
        {
            "listen_port": int(str(way["ours"]).rsplit(":", 1)[1]),
            "upstream": upstream,
            "framing": link.framing,
            "limit_s": duration_s + BELT_S,
            **arguments,
        },
    )
    deadline = time.monotonic() + LISTEN_LIMIT_S
    while not (told := rows(helper.output)):
        if time.monotonic() > deadline or not hands.alive(helper):
            raise TargetError(f"{link.name}: the proxy does not listen; see {helper.output}.err")
        time.sleep(0.01)
    if "error" in told[-1]:
        raise TargetError(f"{link.name}: {told[-1]['error']}")
    if read(link.address_file) != way["original"]:
        raise TargetError(f"{link.name}: {link.address_file} has changed since this fault was prepared")
    replace_file(link.address_file, str(way["ours"]).encode(), Looks(**way["looks"]))
    facts = {"mechanism": "proxy", "link": link.name, "address": str(way["ours"]).strip(), "upstream": upstream}
    return Effect(facts={**facts, "framing": link.framing, **helper_facts(helper)})


def _way(undo: Undo) -> Mapping[str, Any]:
    return next(one for one in undo.primitives if one["op"] == RESTORE_ADDRESS)


def sample(undo: Undo, effect: Effect, hands: Hands, field: str) -> Sample:
    """What the proxy measured in the last second; nothing when it tells that no request has come for QUIET_S."""
    way = _way(undo)
    now = read(Path(way["path"]))
    if now != way["ours"]:
        told = "gone" if now is None else f"now {now.strip()!r}, which this harness has not written"
        return Sample(achieved=None, hold=Hold.TARGET, because=f"the link's address file is {told}")
    measured = sample_mean(effect, hands, field, window_s=1.0)
    since_s = time.monotonic() - QUIET_S
    quiet = measured.achieved is None or measured.detail.get("at", since_s) < since_s
    if measured.hold is Hold.HOLDS and quiet:
        return Sample(achieved=None, because=f"no request on this link for {QUIET_S:.0f} s")
    return measured
