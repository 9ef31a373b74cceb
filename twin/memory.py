"""How full memory is for this process: of the machine, and of each cgroup that limits it, as in a container."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def limited_groups() -> list[Path]:
    """The memory cgroups that put a limit on this process, the nearest first; [] when none does."""
    found = []
    try:
        top, own = _place()
        while own.is_relative_to(top):
            if limit_bytes(own) is not None:
                found.append(own)
            own = own.parent
    except (OSError, ValueError, LookupError):
        return []
    return found


def _place() -> tuple[Path, Path]:
    """(the folder of all memory cgroups, that of this process's own). Raises LookupError when there is none."""
    lines = (PROC / "self" / "cgroup").read_text().splitlines()
    rows = [line.split(":", 2) for line in lines]
    first = next((path for _, names, path in rows if "memory" in names.split(",")), None)
    second = next((path for number, _, path in rows if number == "0"), None)
    for line in (PROC / "self" / "mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        (root, point), (kind, _, options) = left.split()[3:5], right.split()[:3]
        path = None
        if kind == "cgroup" and "memory" in options.split(","):
            path = first
        elif kind == "cgroup2" and first is None:
            path = second
        if path is not None:
            inside = Path(path).relative_to(root) if Path(path).is_relative_to(root) else Path()
            return Path(point), Path(point) / inside
    raise LookupError("no memory cgroup")


def limit_bytes(group: Path) -> int | None:
    """None when *group* has no limit."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        if (group / name).exists():
            text = (group / name).read_text().strip()
            return int(text) if text != "max" and int(text) < 2**60 else None
    return None


def group_percent(group: Path) -> float:
    """What *group* uses, without the file cache that nobody has asked for lately, in percent of its limit."""
    for usage, inactive in (("memory.current", "inactive_file"), ("memory.usage_in_bytes", "total_inactive_file")):
        if (group / usage).exists():
            rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            used = int((group / usage).read_text()) - int(rows.get(inactive, 0))
            return 100 * max(0, used) / (limit_bytes(group) or 2**63)
    return 0.0


def machine_percent() -> float:
    """What of the machine's memory is not available, in percent."""
    rows = dict(line.split(":") for line in (PROC / "meminfo").read_text().splitlines())
    total, free = (int(rows[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    return 100 * (1 - free / total)


def memory_percent() -> float:
    """The scarcest: whichever of the machine and the limits on this process runs out first ends it."""
    percents = [machine_percent()]
    for group in limited_groups():
        try:
            percents.append(group_percent(group))
        except (OSError, ValueError):
            continue  # it has just gone
    return max(percents)
