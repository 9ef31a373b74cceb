"""What is installed holds all that a run needs: code, scenarios, templates."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("harness", "faults", "reports", "locustfiles", "twin", "scenarios")


def left_out(data: dict[str, list[str]], include: list[str]) -> list[str]:
    """The files beside the code that no pattern of *data* takes in, and the packages that *include* has not."""
    found = [name for name in CODE if not any(fnmatch(name, one) for one in include)]
    for path in (path for name in CODE for path in sorted((ROOT / name).rglob("*")) if path.is_file()):
        inside = path.relative_to(ROOT)
        if path.suffix in (".py", ".pyc") or inside.parts[0] not in CODE:
            continue
        homes = [(".".join(inside.parts[:end]), "/".join(inside.parts[end:])) for end in range(1, len(inside.parts))]
        if not any(taken(rest, one) for home, rest in homes for one in data.get(home, [])):
            found.append(str(inside))
    return found


def taken(path: str, pattern: str) -> bool:
    """A star stands for a name, not for a path."""
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)


def test_nothing_that_a_run_needs_is_left_out() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    data, include = tools["package-data"], tools["packages"]["find"]["include"]
    assert left_out(data, include) == []
    assert "scenarios" in left_out(data, [one for one in include if one != "scenarios*"])
    planted = {name: patterns for name, patterns in data.items() if name != "scenarios.enhanced"}
    assert "scenarios/enhanced/MF01_triple_threat.yaml" in left_out(planted, include)
