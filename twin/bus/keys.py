"""The CURVE keys of the bus: one an actor, and spare ones for actors that enrol later."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import zmq

from twin.kernels import KERNELS

SPARE_KEYS = 8
# Kernels that sign with another name than their own.
SIGNS_AS = {"governance": "governance_engine", "secret_manager": "crypto_service"}
CONTROL_ACTORS = ("orchestrator", "control_plane", "control_center")


def actor_of(kernel: str) -> str:
    return SIGNS_AS.get(kernel, kernel)


def reserved_actors() -> frozenset[str]:
    """The names that no spare key may take."""
    return frozenset(KERNELS) | frozenset(SIGNS_AS.values()) | frozenset(CONTROL_ACTORS)


def make_keys(path: Path) -> dict[str, Any]:
    """The keys at *path*, made when there are none: {server, actors: {name: pair}, spare: [pair]}."""
    if path.exists():
        return read_keys(path)
    actors = [actor_of(kernel) for kernel in KERNELS] + list(CONTROL_ACTORS)
    keys = {
        "server": _pair(),
        "actors": {actor: _pair() for actor in actors},
        "spare": [_pair() for _ in range(SPARE_KEYS)],
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(keys, file)
    return keys


def read_keys(path: Path) -> dict[str, Any]:
    keys: dict[str, Any] = json.loads(path.read_text())
    return keys


def _pair() -> dict[str, str]:
    public, secret = zmq.curve_keypair()
    return {"public_key": public.decode(), "secret_key": secret.decode()}
