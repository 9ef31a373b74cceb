"""Lines of a manifest: dotted key → the line that it stands in."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from harness.yaml_reader import Field

DEPTH = 4  # "workers.htm.processes.htm_worker_1"


def lines_of_keys(found: Mapping[str, Field]) -> dict[str, int]:
    """Lines of "processes.api", "routes[3]", "signals.kernels" and of all other keys down to DEPTH."""
    lines: dict[str, int] = {}

    def walk(key: str, node: yaml.Node, line: int, depth: int) -> None:
        lines.setdefault(key, line)
        if depth >= DEPTH:
            return
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                walk(f"{key}.{getattr(name, 'value', '')}", value, name.start_mark.line + 1, depth + 1)
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                walk(f"{key}[{number}]", item, item.start_mark.line + 1, depth + 1)

    for key, field in found.items():
        walk(key, field.value, field.line, 1)
    return lines
