"""What damage does to bytes: pure functions of the bytes and a seed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from harness.catalog import nearest


class NoDamage(ValueError):
    """These bytes cannot be damaged in this way; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Wound:
    """How much, and where: each kind of damage reads what it needs."""

    seed: int = 1
    keep_percent: float = 50.0  # truncate
    corrupt_bytes: int = 1024  # random_bytes: how many in a row; bit_flip: in so many bytes a bit each, at most
    corrupt_keys: Sequence[str] = ()  # key_overwrite: dotted names
    corrupt_value: Any = None  # key_overwrite: what they become; None: a text of random digits


def truncate(data: bytes, wound: Wound) -> bytes:
    """The first keep_percent of it, as after a crash in mid-write; always shorter than it was."""
    return data[: min(len(data) - 1, int(len(data) * wound.keep_percent / 100))]


def bit_flip(data: bytes, wound: Wound) -> bytes:
    """One bit flipped in each of corrupt_bytes different bytes, as by bad memory; the length stays."""
    generator, damaged = random.Random(wound.seed), bytearray(data)
    for place in generator.sample(range(len(data)), min(len(data), wound.corrupt_bytes)):
        damaged[place] ^= 1 << generator.randrange(8)
    return bytes(damaged)


def random_bytes(data: bytes, wound: Wound) -> bytes:
    """A run of corrupt_bytes random bytes somewhere in it, as by a misdirected write; the length stays."""
    generator = random.Random(wound.seed)
    count = min(len(data), wound.corrupt_bytes)
    start = generator.randrange(len(data) - count + 1)
    run = bytearray(generator.randbytes(count))
    run[0] ^= run[0] == data[start]  # a short run might be what was there
    return data[:start] + bytes(run) + data[start + count :]


def overwrite(data: bytes, wound: Wound) -> bytes:
    """Every byte another, as of a file that somebody else's was written over; the length stays."""
    generator = random.Random(wound.seed)
    return bytes(byte ^ generator.randrange(1, 256) for byte in data)


def zero(data: bytes, wound: Wound) -> bytes:
    """All zeros, as of blocks that were never written; the length stays."""
    return bytes(len(data))


def key_overwrite(data: bytes, wound: Wound) -> bytes:
    """The values of corrupt_keys (`a.b` is b within a) in a JSON or YAML document become another; it stays readable."""
    if not wound.corrupt_keys:
        raise NoDamage("key_overwrite needs corrupt_keys")
    document, write = _parsed(data)
    for key, value in _values(wound).items():
        holder, last = _holder(document, key)
        if holder[last] == value:
            raise NoDamage(f"{key} is {value!r} already")
        holder[last] = value
    return write(document)


def _values(wound: Wound) -> dict[str, Any]:
    """{key: what it becomes}."""
    generator, value = random.Random(wound.seed), wound.corrupt_value
    return {key: f"{generator.getrandbits(64):016x}" if value is None else value for key in wound.corrupt_keys}


def _holder(document: Any, key: str) -> tuple[dict[str, Any], str]:
    """The mapping that holds *key*, and its name there. Raises NoDamage."""
    path = key.split(".")
    holder = document
    for depth, name in enumerate(path):
        if not isinstance(holder, dict) or name not in holder:
            known = holder if isinstance(holder, dict) else ()
            raise NoDamage(f"it has no key {'.'.join(path[: depth + 1])!r}.{nearest(name, map(str, known))}")
        if depth < len(path) - 1:
            holder = holder[name]
    return holder, path[-1]


def still_wounded(data: bytes, kind: str, wound: Wound, damaged_bytes: int, damaged_sha256: str) -> bool:
    """Whether *data*, which was written over damaged bytes or after them, still carries the damage.

    A log grows on after it, and a document may be saved again with its wrong values: neither has mended anything.
    What begins like a truncated file says nothing: so does a whole one.
    """
    if kind == "key_overwrite":
        try:
            document, _ = _parsed(data)
        except NoDamage:
            return False
        return any(_holds(document, key, value) for key, value in _values(wound).items())
    grown = kind != "truncate" and len(data) > damaged_bytes
    return grown and hashlib.sha256(data[:damaged_bytes]).hexdigest() == damaged_sha256


def _holds(document: Any, key: str, value: Any) -> bool:
    try:
        holder, last = _holder(document, key)
    except NoDamage:
        return False
    return bool(holder[last] == value)


def _parsed(data: bytes) -> tuple[Any, Callable[[Any], bytes]]:
    """The document, and how one of its kind is written."""
    try:
        text = data.decode()
    except ValueError:
        raise NoDamage("it is no text: it has no keys") from None
    indent = 2 if "\n" in text.strip() else None
    try:
        return json.loads(text), lambda document: json.dumps(document, indent=indent).encode()
    except ValueError:
        pass
    try:
        return yaml.safe_load(text), lambda document: yaml.safe_dump(document, sort_keys=False).encode()
    except yaml.YAMLError:
        raise NoDamage("it is neither JSON nor YAML: it has no keys") from None


KINDS: dict[str, Callable[[bytes, Wound], bytes]] = {
    "truncate": truncate,
    "bit_flip": bit_flip,
    "random_bytes": random_bytes,
    "key_overwrite": key_overwrite,
    "overwrite": overwrite,
    "zero": zero,
}


def damage(data: bytes, kind: str, wound: Wound) -> bytes:
    """*data*, damaged; never the same. Raises NoDamage."""
    if not data:
        raise NoDamage("it is empty")
    damaged = KINDS[kind](data, wound)
    if damaged == data:
        raise NoDamage(f"{kind} changes nothing in it")
    return damaged
