"""Reads records from outside, for people to look at: no membership, no claim. Runs on the carrier that the reader wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streamkit.cli.output import remark
from streamkit.engine.runtime import Signal
from streamkit.errors import BrokerError
from streamkit.model import Batch, Partition, Record, StartPosition
from streamkit.plugin import Budget, CaughtUp, Ended, Failed, Idle, Reader

__all__ = ["read_records"]

_BUDGET = Budget(max_records=500, max_bytes=8 << 20, max_wait_seconds=0.05)
PATIENCE_SECONDS = 30.0
"""How long a broker may fail in a way that passes."""
QUIET_SECONDS = 15.0
"""After so long without a failure the next one is the first: a client says some ten seconds apart that it is cut off."""
AGAIN_SECONDS = 0.5


async def read_records(
    reader: Reader,
    signal: Signal,
    now: Callable[[], float],
    starts: Mapping[Partition, StartPosition],
    see: Callable[[Record], bool],
) -> None:
    """Show `see` each record from `starts` on, until it answers False or everything that is there has been read. Raises BrokerError."""
    unread = set(starts)
    failing_since = failed_at = float("-inf")
    try:
        for partition, start in starts.items():
            await reader.add(partition, start)
        while unread:
            try:
                events = await reader.poll(_BUDGET)
            except BrokerError as error:
                if now() - failed_at > QUIET_SECONDS:
                    failing_since = now()
                failed_at = now()
                if not error.retryable or failed_at - failing_since > PATIENCE_SECONDS:
                    raise
                await signal.wait(AGAIN_SECONDS)
                continue
            if not all(isinstance(event, Idle) for event in events):
                failed_at = float("-inf")
            for event in events:
                if isinstance(event, Batch):
                    if not all(map(see, event)):
                        return
                elif isinstance(event, CaughtUp | Ended):
                    unread.discard(event.partition)
                elif isinstance(event, Idle):
                    await signal.wait(event.seconds)
                elif isinstance(event, Failed):
                    if event.resume is None:
                        raise event.error
                    remark(str(event.error))
                    await reader.add(event.partition, event.resume)
    finally:
        await reader.close()
