"""The programs and libraries in a living process's memory: where a symbol is, and room for a few bytes of code.

All is read from the memory itself: the file on the disk may have been replaced, stripped or deleted. Only the dynamic
symbol table is needed, which no `strip` takes away.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ELF64_X86_64 = (2, 62)  # EI_CLASS, e_machine
PT_LOAD, PT_DYNAMIC = 1, 2
EXECUTABLE = 1
SHARED = 3  # ET_DYN: its addresses count from where it was loaded
DT_STRTAB, DT_SYMTAB, DT_GNU_HASH = 5, 6, 0x6FFFFEF5
PAGE = 4096
SYMBOL = struct.Struct("<IBBHQQ")
NAME_BYTES_MAX = 256


class Unreadable(Exception):
    """The process cannot be looked into; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """A line of /proc/PID/maps."""

    start: int
    end: int
    rights: str
    offset: int
    path: str


def mappings(pid: int) -> list[Mapping]:
    """Raises OSError."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
        where, rights, offset, _, _, *path = line.split(maxsplit=5)
        start, end = (int(one, 16) for one in where.split("-"))
        found.append(Mapping(start=start, end=end, rights=rights, offset=int(offset, 16), path="".join(path)))
    return found


class Memory:
    """Reads and writes a process's memory. Opening it takes the right to trace the process. Raises Unreadable."""

    def __init__(self, pid: int, mode: str = "rb") -> None:
        try:
            self.file = Path(f"/proc/{pid}/mem").open(mode, buffering=0)  # noqa: SIM115
        except PermissionError:
            words = "this user may not trace it (root, its own user and a kernel.yama.ptrace_scope of 0 are ways)"
            raise Unreadable(words) from None
        except OSError as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from None

    def read(self, address: int, count: int) -> bytes:
        try:
            self.file.seek(address)
            data = self.file.read(count)
        except (OSError, ValueError, OverflowError) as error:
            raise Unreadable(f"its memory at {address:#x} cannot be read: {error}") from None
        if data is None or len(data) != count:
            raise Unreadable(f"its memory at {address:#x} ends too soon")
        return bytes(data)

    def words(self, address: int, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.read(address, struct.calcsize(f"<{form}")))

    def text(self, address: int) -> bytes:
        """Up to the next zero byte, in bites that cross no page."""
        found = b""
        while b"\0" not in found and len(found) < NAME_BYTES_MAX:
            here = address + len(found)
            found += self.read(here, min(64, PAGE - here % PAGE))
        return found.split(b"\0")[0]


@dataclass(frozen=True, kw_only=True)
class Image:
    """A program or library as it lies in memory."""

    memory: Memory
    path: str
    start: int
    bias: int  # what is added to the addresses that its headers tell
    segments: tuple[tuple[int, int, int, int], ...]  # type, flags, address in memory, bytes

    def room(self) -> tuple[int, int]:
        """(address, bytes): what is left of the last page of its code, where nothing of it is."""
        ends = [start + size for kind, flags, start, size in self.segments if kind == PT_LOAD and flags & EXECUTABLE]
        return max(((end, -end % PAGE) for end in ends), key=lambda one: one[1], default=(0, 0))

    def symbol(self, name: str) -> tuple[int, int]:
        """(address, bytes) of *name*, by the table that the dynamic linker uses; (0, 0): it is not defined here."""
        tables = self._tables()
        if not {DT_STRTAB, DT_SYMTAB, DT_GNU_HASH} <= set(tables):
            return 0, 0
        hashes, symbols, strings = tables[DT_GNU_HASH], tables[DT_SYMTAB], tables[DT_STRTAB]
        buckets, first, blooms, _ = self.memory.words(hashes, "4I")
        wanted = gnu_hash(name)
        bucket_at = hashes + 16 + 8 * blooms
        (index,) = self.memory.words(bucket_at + 4 * (wanted % buckets), "I")
        for at in itertools.count(index) if index >= first else ():
            (hashed,) = self.memory.words(bucket_at + 4 * buckets + 4 * (at - first), "I")
            if hashed | 1 == wanted | 1:
                entry = self.memory.read(symbols + SYMBOL.size * at, SYMBOL.size)
                named, _, _, section, value, size = SYMBOL.unpack(entry)
                if section and self.memory.text(strings + named) == name.encode():
                    return self.bias + value, size
            if hashed & 1:
                break
        return 0, 0

    def _tables(self) -> dict[int, int]:
        """The dynamic section: tag → address. glibc has made them addresses in memory, other linkers have not."""
        found: dict[int, int] = {}
        for kind, _, start, size in self.segments:
            for at in range(start, start + size, 16) if kind == PT_DYNAMIC else ():
                tag, value = self.memory.words(at, "qQ")
                if tag == 0:
                    break
                found[tag & 0xFFFFFFFF] = value if value >= self.start else value + self.bias
        return found


def gnu_hash(name: str) -> int:
    value = 5381
    for one in name.encode():
        value = (value * 33 + one) & 0xFFFFFFFF
    return value


def images(pid: int, memory: Memory) -> Iterator[Image]:
    """The 64-bit ELF images of *pid*, its program first. Raises Unreadable, OSError."""
    for one in mappings(pid):
        if one.offset == 0 and one.path.startswith("/") and one.end - one.start >= 64:
            image = _image(memory, one)
            if image is not None:
                yield image


def _image(memory: Memory, where: Mapping) -> Image | None:
    if "r" not in where.rights:
        return None
    head = memory.read(where.start, 64)
    if head[:4] != b"\x7fELF" or (head[4], *struct.unpack_from("<H", head, 18)) != ELF64_X86_64:
        return None
    kind = struct.unpack_from("<H", head, 16)[0]
    (table,), (entry_bytes, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
    bias = where.start if kind == SHARED else 0
    segments = []
    for number in range(count):
        row = memory.words(where.start + table + number * entry_bytes, "IIQQQQ")
        segments.append((row[0], row[1], row[3] + bias, row[5]))
    loaded = [start for kind, _, start, _ in segments if kind == PT_LOAD]
    if not loaded or min(loaded) // PAGE * PAGE != where.start:
        return None  # a file that is merely read, or one that is loaded in another way
    return Image(memory=memory, path=where.path, start=where.start, bias=bias, segments=tuple(segments))
