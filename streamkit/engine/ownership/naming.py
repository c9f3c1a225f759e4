"""How the owner of a lease is named in its row, and what people call it. Pure; used by lease ownership and whoever shows its rows."""

from __future__ import annotations

import re

__all__ = ["is_another_program", "owner_name", "worker_name"]

_OURS = re.compile(r".*#[0-9a-f]{8}", re.DOTALL)


def owner_name(worker: str, chance: float) -> str:
    """Of one process; `chance` is from 0 to 1. One that comes back must not believe to hold what its predecessor of that name held."""
    return f"{worker}#{int(chance * 2**32):08x}"


def worker_name(owner: str) -> str:
    """People know a worker by its name; what follows tells one process from another."""
    return owner.partition("#")[0]


def is_another_program(owner: str) -> bool:
    """Whether an owner takes no part in our balance, such as a worker of the Kinesis Client Library: nothing can be asked of it."""
    return bool(owner) and _OURS.fullmatch(owner) is None
