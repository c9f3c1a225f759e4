"""Whether a setting of order and concurrency fits the code: what runs beside itself must have said that it can.

Pure; called once, when an app is put together, and by the test harness.
"""

from __future__ import annotations

from streamkit.engine.delivery.call import Caller, Code
from streamkit.errors import ConfigurationError
from streamkit.settings import Settings

__all__ = ["check_order"]

ORDERING = "STREAMKIT_ORDERING"


def check_order(settings: Settings, code: Code) -> None:
    """Raises `ConfigurationError` that names what does not fit, and the way out."""
    if settings.ordering == "partition":
        if settings.concurrency > 1:
            raise ConfigurationError(
                f"{settings.concurrency} calls at once cannot keep the order of a partition",
                setting="STREAMKIT_CONCURRENCY",
                fix=f"set {ORDERING}=key if the order of each key is enough, or unset it and run more workers",
            )
        return
    facts, name = code.facts, code.name or "this processor"
    if not facts.reentrant:
        raise ConfigurationError(
            f"{name} is not reentrant, and with order by key it is called for several keys at once",
            setting=ORDERING,
            fix="declare reentrant=True in the code if several threads may call it at once, or set it to partition",
        )
    if facts.checkpoint == "manual":
        raise ConfigurationError(
            f"{name} checkpoints manually: its position says that everything before it is done, which keys do not do in order",
            setting=ORDERING,
            fix="let checkpoints be automatic, or set it to partition",
        )
    if Caller(code).flushes:
        raise ConfigurationError(
            f"{name} has a flush, which is never called beside process, and with order by key there is always a call",
            setting=ORDERING,
            fix="make each record durable before process returns, or set it to partition",
        )
    if facts.prepares:
        raise ConfigurationError(
            f"{name} prepares checkpoints, which need one order for all records of a partition",
            setting=ORDERING,
            fix="set it to partition",
        )
