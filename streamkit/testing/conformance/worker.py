"""A contestant in a process of its own: `python -m streamkit.testing.conformance.worker`. Started by `contest.py`, and by nobody else."""

from __future__ import annotations

import asyncio
import base64
import importlib
import importlib.util
import json
import pickle
import sys
from types import ModuleType
from typing import Any, cast

from streamkit.testing.conformance.contestants import ROLES
from streamkit.testing.conformance.kit import StoreKit

__all__ = ["main"]


def main() -> None:
    packed, role, worker = sys.stdin.readline().split()
    asyncio.run(ROLES[role](_unpacked(packed), worker, _go, _say))


def _go() -> bool:
    """False: nobody waits for anything more."""
    return bool(sys.stdin.readline())


def _say(what: Any) -> None:
    print(json.dumps(what), flush=True)


def _unpacked(packed: str) -> StoreKit:
    path, module, file, name, state = pickle.loads(base64.b64decode(packed))  # noqa: S301 - our own parent wrote it
    sys.path[:] = path
    kind: Any = _imported(module, file)
    for part in name.split("."):
        kind = getattr(kind, part)
    kit = kind.__new__(kind)
    vars(kit).update(state)
    return cast(StoreKit, kit)


def _imported(module: str, file: str) -> ModuleType:
    """By its name, or else from its file: test modules need not be importable."""
    try:
        return importlib.import_module(module)
    except ImportError:
        spec = importlib.util.spec_from_file_location(module, file)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[module] = made
        spec.loader.exec_module(made)
        return made


if __name__ == "__main__":
    main()
