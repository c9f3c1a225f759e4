"""Checkpoints as JSON lines: what `export` writes, and what `import` makes of it. One line is what stores keep, with its version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from streamkit.engine.parked import after_a_claim
from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Partition

__all__ = ["adopted", "parsed"]


def parsed(lines: Iterable[str], origin: str) -> list[Checkpoint]:
    """Every line that is not empty. Raises ConfigurationError with the number of the line that is wrong, or that says one twice."""
    found: dict[Partition, Checkpoint] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            checkpoint = Checkpoint.from_text(line)
        except ValueError as error:
            fix = "import what `streamkit checkpoints export` has written, line by line"
            raise ConfigurationError(f"{origin}, line {number}: {error}", fix=fix) from None
        if checkpoint.partition in found:
            raise ConfigurationError(f"{origin}, line {number}: {checkpoint.partition} stands there twice", fix="leave one of them out")
        found[checkpoint.partition] = checkpoint
    return list(found.values())


def adopted(read: Sequence[Checkpoint], there: Iterable[Partition], stored: Mapping[Partition, Checkpoint]) -> list[Checkpoint]:
    """As they are to be stored here: nobody owns them, and the partition is the one that is there now.

    Raises ConfigurationError for a partition that is neither in the stream nor ended, and for one of another stream of that name.
    """
    now = {partition: partition for partition in there}
    result = []
    for checkpoint in read:
        wanted = checkpoint.partition
        known = now.get(wanted) or (stored[wanted].partition if wanted in stored else None)
        if known is None and not checkpoint.at.is_end:
            names = ", ".join(str(partition) for partition in list(now)[:20])
            raise ConfigurationError(f"there is no partition {wanted} in STREAMKIT_STREAM", fix=f"those that there are: {names}")
        known = known or wanted
        if wanted.incarnation and known.incarnation and wanted.incarnation != known.incarnation:
            raise ConfigurationError(
                f"the checkpoint of {wanted} belongs to {wanted.incarnation!r}, but the stream is now {known.incarnation!r}",
                fix="its positions mean nothing there; say where to begin: streamkit checkpoints set",
            )
        partition = replace(known, extra={**wanted.extra, **known.extra}, incarnation=known.incarnation or wanted.incarnation)
        before = stored.get(wanted)
        # Its owner may have died, and nobody will see that any more.
        parked = after_a_claim(checkpoint.parked, partition, checkpoint.epoch) if checkpoint.owner else checkpoint.parked
        result.append(replace(checkpoint, partition=partition, owner="", epoch=before.epoch if before else 0, parked=parked))
    return result
