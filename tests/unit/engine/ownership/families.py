"""Streams that have split and merged, written as tables: the input of the tests of lineage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition

__all__ = ["EARLIEST", "GRAPH_A", "GRAPH_B", "GRAPH_C", "LATEST", "STARTED", "Graph", "all_of", "ids", "lease", "open_of", "some_of"]

EARLIEST, LATEST = StartPosition.EARLIEST, StartPosition.LATEST
STARTED = datetime(2026, 1, 1, tzinfo=UTC)

Graph = Mapping[str, tuple[int, int, str]]
"""For each partition: where its keys begin and end, in thousandths of all keys, and its parents."""

# Time goes down; 4, 8, 9 and 10 are open.
#   0 1 2 3 4   5
#    6   7  |   |
#      8    | 9  10
GRAPH_A: Graph = {
    "0": (0, 100, ""),
    "1": (100, 200, ""),
    "2": (200, 300, ""),
    "3": (300, 400, ""),
    "4": (400, 500, ""),
    "5": (500, 1000, ""),
    "6": (0, 200, "0 1"),
    "7": (200, 400, "2 3"),
    "8": (0, 400, "6 7"),
    "9": (500, 800, "5"),
    "10": (800, 1000, "5"),
}

# Merged into one and split into two, again and again.
#   0   3   6   9
#     2   5   8
#   1   4   7   10
GRAPH_B: Graph = {
    "0": (0, 500, ""),
    "1": (500, 1000, ""),
    "2": (0, 1000, "0 1"),
    "3": (0, 500, "2"),
    "4": (500, 1000, "2"),
    "5": (0, 1000, "3 4"),
    "6": (0, 500, "5"),
    "7": (500, 1000, "5"),
    "8": (0, 1000, "6 7"),
    "9": (0, 500, "8"),
    "10": (500, 1000, "8"),
}

# Split only, to different depths; 2, 5, 6 and 4 are open.
#        0
#     1     2
#   3   4
#  5 6
GRAPH_C: Graph = {
    "0": (0, 1000, ""),
    "1": (0, 500, "0"),
    "2": (500, 1000, "0"),
    "3": (0, 250, "1"),
    "4": (250, 500, "1"),
    "5": (0, 125, "3"),
    "6": (125, 250, "3"),
}


def all_of(graph: Graph, stream: str = "s") -> list[Partition]:
    """The whole listing."""

    def partition(name: str) -> Partition:
        low, high, parents = graph[name]
        children = tuple(child for child, (_, _, its) in graph.items() if name in its.split())
        key_range = ((low << 128) // 1000, (high << 128) // 1000 - 1)
        return Partition(stream, name, parents=tuple(parents.split()), children=children, key_range=key_range, ended=bool(children))

    return [partition(name) for name in graph]


def open_of(graph: Graph, stream: str = "s") -> list[Partition]:
    return [partition for partition in all_of(graph, stream) if not partition.ended]


def some_of(graph: Graph, names: str, stream: str = "s") -> list[Partition]:
    return [partition for partition in all_of(graph, stream) if partition.id in names.split()]


def lease(partition: Partition, at: StartPosition | int | None = None, *, children: str = "", count: int | None = 2) -> Lease:
    """A row as a store lists it: children only where they were named. `at`: a sequence number, or what the checkpoint says."""
    at = StartPosition.after(Position(at)) if isinstance(at, int) else at
    checkpoint = Checkpoint(partition, at, partitions_at_start=count, group_started=STARTED) if at is not None else None
    return Lease(replace(partition, ended=False, children=tuple(children.split())), checkpoint=checkpoint)


def ids(leases: Iterable[Lease]) -> str:
    return " ".join(sorted((row.partition.id for row in leases), key=int))
