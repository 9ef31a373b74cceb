"""Who may add to the immutable log from outside: the holder of a token, under one name, in bounds."""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twin.rpc import KernelError

ACTOR = "external_auditor"  # whatever the holder calls itself: nobody writes under the name of another
SUBSYSTEM = "external"
ENTRIES_MAX = 100
PAYLOAD_BYTES_MAX = 8192
TEXTS = {"action": 100, "resource": 200, "result": 100, "reference": 200}  # the longest of each
FILE = "outsider.json"


def make_token(run_dir: Path) -> str:
    """The token, made when there is none; only the owner of its file can read it."""
    path = run_dir / FILE
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"actor": ACTOR, "token": secrets.token_urlsafe(32)}, file)
    return read_token(run_dir)


def read_token(run_dir: Path) -> str:
    return str(json.loads((run_dir / FILE).read_text())["token"])


class Outsiders:
    """admit() before anything is read, then entries() of what was sent."""

    def __init__(self, token: str) -> None:
        self.token = token.encode()

    def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises KernelError 401 for whoever does not show the token."""
        shown = [value for name, value in headers if name == b"authorization"]
        scheme, _, token = shown[0].partition(b" ") if len(shown) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self.token):
            raise KernelError(401, "unauthorized", expected="a bearer token of the owner")

    def entries(self, payload: dict[str, Any]) -> dict[str, Any]:
        """What immutable_log appends: all of it, or KernelError 422 for the first that cannot be."""
        sent = payload.get("entries")
        if not isinstance(sent, list) or not 0 < len(sent) <= ENTRIES_MAX:
            raise KernelError(422, "invalid_field", field="entries", expected=f"a list of 1 to {ENTRIES_MAX}")
        return {"entries": [self._entry(number, one) for number, one in enumerate(sent)]}

    def _entry(self, number: int, one: Any) -> dict[str, Any]:
        what = f"entries[{number}]"
        if not isinstance(one, dict) or set(one) != {*TEXTS, "payload"}:
            raise KernelError(422, "invalid_field", field=what, expected=", ".join((*TEXTS, "payload")))
        for key, longest in TEXTS.items():
            if not isinstance(one[key], str) or not 0 < len(one[key]) <= longest:
                raise KernelError(422, "invalid_field", field=f"{what}.{key}", expected=f"1 to {longest} characters")
        content = one["payload"]
        if not isinstance(content, dict) or len(json.dumps(content)) > PAYLOAD_BYTES_MAX:
            expected = f"an object of at most {PAYLOAD_BYTES_MAX} bytes"
            raise KernelError(422, "invalid_field", field=f"{what}.payload", expected=expected)
        # a reference of its own kind: it can neither repeat nor take that of an entry of the platform's
        reference = f"{ACTOR}/{one['reference']}"
        return {**one, "actor": ACTOR, "subsystem": SUBSYSTEM, "reference": reference}
