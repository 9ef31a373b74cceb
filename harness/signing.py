"""Ed25519 signatures of run folders: signature.json holds what is signed, and the signature of its canonical JSON.

The signed statement names the run, the head of the timeline's chain and the SHA-256 of findings.json. The head covers
every file that the run hashed, so whoever chains an edited folder anew cannot keep the signature.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from harness.record import Record
from harness.required import FORMAT_KEY
from harness.seal import SIGNATURE, hash_of

PrivateKey = Ed25519PrivateKey
PublicKey = Ed25519PublicKey
KEY_BYTES_MAX = 16 << 10
SIGNATURE_BYTES_MAX = 64 << 10
FINDINGS = "findings.json"


class KeyRefused(Exception):
    """A key file that cannot be used; the text names the option, the file and the reason."""


def load_private(path: Path) -> PrivateKey:
    """The key that --sign-key names. Raises KeyRefused."""
    where = f"--sign-key: {str(path)!r}"
    content = _key_file(path, where, private=True)
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise KeyRefused(f"{where} is encrypted: a key without a passphrase is expected") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefused(f"{where} is not a private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyRefused(f"{where} is not an Ed25519 key")
    return key


def load_public(path: Path) -> PublicKey:
    """The key that --key names. Raises KeyRefused."""
    where = f"--key: {str(path)!r}"
    try:
        key = load_pem_public_key(_key_file(path, where))
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefused(f"{where} is not a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyRefused(f"{where} is not an Ed25519 key")
    return key


def _key_file(path: Path, where: str, private: bool = False) -> bytes:
    """The content of a small regular file; a pipe is never waited for. Raises KeyRefused."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeyRefused(f"{where} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL byte in its name
        raise KeyRefused(f"{where} cannot be read: {error}") from None
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise KeyRefused(f"{where} is not a regular file")
        if status.st_size > KEY_BYTES_MAX:
            raise KeyRefused(f"{where} has {status.st_size} bytes, a key has at most {KEY_BYTES_MAX}")
        if private and status.st_mode & stat.S_IROTH:
            raise KeyRefused(f"{where} can be read by everybody: chmod 600")
        return os.read(file, KEY_BYTES_MAX + 1)
    except OSError as error:
        raise KeyRefused(f"{where} cannot be read: {error.strerror}") from None
    finally:
        os.close(file)


def statement_of(folder: Path, record: Record) -> dict[str, Any]:
    """What is signed of a run."""
    run_format = record.events[0].detail.get(FORMAT_KEY, 1) if record.events else 1
    return {
        "run": f"{record.plan.scenario_id}/{folder.resolve().name}",
        "run_format": run_format,
        "timeline_head": record.head,
        "findings_sha256": hash_of(folder / FINDINGS),
    }


def canonical(statement: Any) -> bytes:
    """The bytes that are signed: sorted keys, no spaces."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sign(folder: Path, record: Record, key: PrivateKey) -> Path:
    """Writes signature.json into *folder*, whose reports must be there."""
    statement = statement_of(folder, record)
    signature = base64.b64encode(key.sign(canonical(statement))).decode()
    path = folder / SIGNATURE
    content = {"algorithm": "Ed25519", "statement": statement, "signature": signature}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def untrusted(folder: Path, record: Record, key: PublicKey) -> str:
    """Why *folder* is not shown to be the run that was signed with the other half of *key*; "" when it is."""
    path = folder / SIGNATURE
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > SIGNATURE_BYTES_MAX:
            return f"{SIGNATURE} is not a regular file of at most {SIGNATURE_BYTES_MAX} bytes"
        told = json.loads(path.read_bytes())
        statement, signature = told["statement"], base64.b64decode(told["signature"], validate=True)
        key.verify(signature, canonical(statement))
    except FileNotFoundError:
        return f"the run is not signed: {SIGNATURE} is missing"
    except InvalidSignature:
        return f"{SIGNATURE} was not made with this key, or was changed"
    except (OSError, ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        return f"{SIGNATURE} cannot be read: {type(error).__name__}: {error}"
    return _differs(statement, statement_of(folder, record))


def _differs(signed: Any, now: dict[str, Any]) -> str:
    """What the folder is not, of what was signed."""
    if not isinstance(signed, dict):
        return f"{SIGNATURE} signs no statement of a run"
    if signed.get("timeline_head") != now["timeline_head"]:
        head = str(signed.get("timeline_head"))[:16]
        return f"the timeline ends with {now['timeline_head'][:16]}, and {head} was signed: it was written anew"
    if signed.get("run") != now["run"]:
        return f"the folder is {now['run']}, and {str(signed.get('run'))[:200]} was signed"
    others = [name for name in now if signed.get(name) != now[name]]
    return f"not what was signed: {', '.join(others)}" if others else ""
