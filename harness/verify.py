"""Verification of a run folder: it is judged again, and what it says of itself is compared with what it shows.

Findings are compared by code, verdict and evidence, never by their words.
"""

from __future__ import annotations

import json
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.model import Finding, Verdict
from harness.reporting import FINDINGS, VERSION, Judged, judged
from harness.required import FORMAT_KEY
from harness.signing import PublicKey, statement_of, untrusted
from harness.suite_result import Result, because

NAMED = 3  # of the findings that differ
BYTES_MAX = 64 << 20  # of a file that is compared


@dataclass(frozen=True, kw_only=True)
class Verification:
    """*differs*: a line for each file that says something else; *distrust*: why the signature does not hold."""

    judged: Judged
    differs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what was not compared, and why
    distrust: str = ""
    signed: str = ""  # the run that was signed, "SCENARIO/UTC", where a key was given and the signature holds

    @property
    def verdict(self) -> Verdict:
        """The verdict as computed, unless the folder contradicts itself or is not the one that was signed."""
        if self.distrust or (self.differs and self.judged.verdict is not Verdict.FAIL):
            return Verdict.INCONCLUSIVE
        return self.judged.verdict

    @property
    def because(self) -> str:
        reasons = [self.distrust] if self.distrust else list(self.differs)
        return "; ".join(reasons) or because(list(self.judged.findings), self.judged.verdict)

    @property
    def lines(self) -> list[str]:
        """What a person must know beside the findings, a line each."""
        lines = [*(f"differs: {one}" for one in self.differs), *(f"not compared: {one}" for one in self.notes)]
        lines += [f"not trusted: {self.distrust}"] if self.distrust else []
        lines += [f"signed: {self.signed}"] if self.signed else []
        if self.verdict is not self.judged.verdict:
            lines.append(f"verdict: {self.verdict.value} (exit {self.verdict.exit_code}): {self.because}")
        return lines


def verify_folder(folder: Path, key: PublicKey | None = None) -> Verification:
    """Raises OSError or ValueError, in words, for what is no run folder."""
    found = judged(folder)
    first = found.record.events[0].detail if found.record.events else {}
    run_format = first.get(FORMAT_KEY, 1)
    differs = [_of_findings(folder, found.findings, with_codes=run_format != 1)]
    notes = []
    if run_format == 1:
        notes.append("the reports: the folder is of format 1, and an older version wrote them")
    elif (version := str(first.get("harness_version", ""))) != VERSION:
        notes.append(f"the reports: version {version or 'unknown'} wrote them, and this is {VERSION}")
    else:
        differs += [_of_report(folder, name, text) for name, text in found.files.items() if name != FINDINGS]
    distrust = untrusted(folder, found.record, key) if key is not None else ""
    signed = statement_of(folder, found.record)["run"] if key is not None and not distrust else ""
    return Verification(
        judged=found, differs=tuple(filter(None, differs)), notes=tuple(notes), distrust=distrust, signed=signed
    )


def verified(folder: Path, key: PublicKey | None = None) -> Result:
    """verify_folder() for a suite: one verdict and one reason."""
    try:
        found = verify_folder(folder, key)
    except (Exception, SystemExit) as error:  # whatever is wrong with it: it shows nothing
        why = f"its run folder cannot be judged: {type(error).__name__}: {error}"
        return Result(verdict=Verdict.INCONCLUSIVE, because=why, folder=folder)
    return Result(verdict=found.verdict, because=found.because, folder=folder, head=found.judged.record.head)


def _content(path: Path) -> bytes:
    """Raises ValueError, in words, for what is no file of a run."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > BYTES_MAX:
            raise ValueError("is not a regular file, or too large")
        return path.read_bytes()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise ValueError("is missing" if missing else f"cannot be read: {error.strerror}") from None


def _of_report(folder: Path, name: str, text: str) -> str:
    """How the report *name* differs from *text*; "" when it does not."""
    try:
        same = _content(folder / name) == text.encode()
    except ValueError as error:
        return f"{name} {error}"
    return "" if same else f"{name} is not what is computed from the run now"


def _of_findings(folder: Path, findings: Sequence[Finding], with_codes: bool) -> str:
    """How findings.json differs from *findings*; "" when it does not. Findings of format 1 have no codes."""
    try:
        told = [_told(row, with_codes) for row in json.loads(_content(folder / FINDINGS))]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        words = str(error) if str(error).startswith(("is ", "cannot")) else "holds no findings"
        return f"{FINDINGS} {words}"
    now = [_computed(one, with_codes) for one in findings]
    if told == now:
        return ""
    extra, lacking = Counter(told) - Counter(now), Counter(now) - Counter(told)
    parts = [f"has {_shown(one)}" for one in list(extra)[:NAMED]]
    parts += [f"lacks {_shown(one)}" for one in list(lacking)[:NAMED]]
    return f"{FINDINGS} {', '.join(parts) or 'has them in another order'}"


Key = tuple[str, ...]


def _told(row: Any, with_codes: bool) -> Key:
    evidence = [str(one) for one in row["evidence"]]
    also = [str(code) for code in row.get("also", ())]
    more = [str(row["code"]), str(row["group"]), *also, *evidence] if with_codes else []
    return (str(row["check"]), str(row["claim"]), str(row["verdict"]), *more)


def _computed(one: Finding, with_codes: bool) -> Key:
    more = [one.code, one.group, *one.also, *one.evidence] if with_codes else []
    return (one.check, one.claim, one.verdict.value, *more)


def _shown(key: Key) -> str:
    code = f" ({key[3]})" if len(key) > 3 else ""
    return f"{key[1]!r} {key[2]}{code}"
