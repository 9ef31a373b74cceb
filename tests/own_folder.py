"""A folder of somebody's own parts, known to this process for the length of one test."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import catalog, own_parts


def environment(folder: Path | None = None) -> dict[str, str]:
    """For a process that shall know the parts in *folder*, and no others."""
    others = {name: value for name, value in os.environ.items() if name != own_parts.VARIABLE}
    return {**others, own_parts.VARIABLE: str(folder)} if folder else others


@contextmanager
def named(*folders: Path) -> Iterator[None]:
    """As if GRACE_PARTS had named *folders* when Python began. What they brought along is gone afterwards."""
    packages = {kind: importlib.import_module(package) for kind, (package, _, _) in own_parts.KINDS.items()}
    before, paths = set(sys.modules), {kind: list(package.__path__) for kind, package in packages.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(own_parts.VARIABLE, ":".join(map(str, folders)))
        for kind, package in packages.items():
            package.__path__ = own_parts.extended(paths[kind], kind)
        catalog.parts.cache_clear()
        try:
            yield
        finally:
            for kind, package in packages.items():
                package.__path__ = paths[kind]
                brought = [name for name in set(sys.modules) - before if name.startswith(f"{package.__name__}.")]
                for name in brought:
                    del sys.modules[name]
                    vars(package).pop(name.rpartition(".")[2], None)
            catalog.parts.cache_clear()
