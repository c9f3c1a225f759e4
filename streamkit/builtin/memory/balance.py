"""Who should read which partition: level within one, and with as few moves as that takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from streamkit.model import Partition

__all__ = ["balance", "by_number"]


def balance(wants: Mapping[str, frozenset[Partition]], current: Mapping[Partition, str]) -> dict[Partition, str]:
    """A member for each partition that anybody wants.

    `wants` says what each member subscribes to, in the order in which members joined; `current` who has (or is about to
    get) what. A partition stays where it is unless its member is gone or has two more than another member that wants it.
    Members of one subscription end up level within one.
    """
    held: dict[str, list[Partition]] = {member: [] for member in wants}
    orphans: list[Partition] = []
    for partition in sorted(frozenset().union(*wants.values()), key=by_number):
        member = current.get(partition)
        if member is not None and partition in wants.get(member, ()):
            held[member].append(partition)
        else:
            orphans.append(partition)
    for partition in orphans:
        held[min((m for m in wants if partition in wants[m]), key=lambda m: len(held[m]))].append(partition)
    while (move := _next_move(wants, held)) is not None:
        giver, taker, partition = move
        held[giver].remove(partition)
        held[taker].append(partition)
    target = {partition: member for member, partitions in held.items() for partition in partitions}
    return {partition: target[partition] for partition in sorted(target, key=by_number)}


def _next_move(wants: Mapping[str, frozenset[Partition]], held: Mapping[str, list[Partition]]) -> tuple[str, str, Partition] | None:
    """From the fullest member that can give to the emptiest one that wants; None when level. Each move evens out, so it ends."""
    by_load = sorted(held, key=lambda m: len(held[m]))
    for giver in reversed(by_load):
        for taker in by_load:
            if len(held[giver]) - len(held[taker]) < 2:
                break
            for partition in reversed(held[giver]):
                if partition in wants[taker]:
                    return giver, taker, partition
    return None


def by_number(partition: Partition) -> tuple[str, int, str]:
    """The order of people: 9 before 10. Sets of partitions have none, and a simulation must run the same way twice."""
    return (partition.stream, len(partition.id), partition.id)
