"""What happens in one simulated life: the world it is lived in, and each thing that is done to it, at which second. Pure.

A plan is text and back: the text of one that failed is all that it takes to see it fail again. `chance.py` makes plans from seeds,
`shrink.py` makes smaller ones, `world.py` carries them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, cast, get_args

__all__ = ["ANYBODY", "Ownership", "Plan", "Shape", "Step"]

Ownership = Literal["lease", "group", "static"]
Shape = Literal["kinesis", "kafka"]

TITLE = "streamkit simulation 1"
"""The first line; the number rises when older texts would mean something else."""
ANYBODY = "*"
"""In place of a worker's name: whoever comes first."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done: `words` such as `("crash", "w2")` or `("fail", "save", "unavailable", "3", "*")`."""

    at: float
    """Virtual seconds since the beginning."""
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.at:.3f} {' '.join(self.words)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """One life. The seed alone decides who goes first where several could go on."""

    seed: int
    ownership: Ownership = "lease"
    shape: Shape = "kinesis"
    """kinesis: partitions split and merge. kafka: they are only added, and groups can read them."""
    own_store: bool = False
    """A group keeps its checkpoints itself; else a store beside it does."""
    partitions: int = 4
    changes: int = 3
    """So many changes of owner there are at least: crashes and new workers are added at the end until it is so."""
    settings: tuple[tuple[str, str], ...] = ()
    steps: tuple[Step, ...] = ()

    def to_text(self) -> str:
        """Lines that `from_text` reads."""
        world = {
            "seed": self.seed,
            "ownership": self.ownership,
            "shape": self.shape,
            "own_store": "yes" if self.own_store else "no",
            "partitions": self.partitions,
            "changes": self.changes,
        }
        lines = [TITLE, _pairs(world.items()), _pairs(self.settings), *map(str, self.steps)]
        return "\n".join(line for line in lines if line) + "\n"

    @staticmethod
    def from_text(text: str) -> Plan:
        """Raises ValueError, which names the line that cannot be read."""
        lines = [line.strip() for line in text.strip().splitlines()]
        if not lines or lines[0] != TITLE:
            raise ValueError(f"a replay begins with the line {TITLE!r}: give the whole text that was printed")
        pairs: dict[str, str] = {}
        steps: list[Step] = []
        for number, line in enumerate(lines[1:], 2):
            try:
                if line[:1].isdigit():
                    at, *words = line.split()
                    steps.append(Step(float(at), tuple(words)))
                elif line:
                    pairs.update(_pair(word) for word in line.split())
            except ValueError as error:
                raise ValueError(f"line {number} of the replay cannot be read: {line!r}") from error
        world = _world(pairs)
        return replace(world, settings=tuple(pairs.items()), steps=tuple(steps))

    def with_steps(self, steps: Sequence[Step]) -> Self:
        return replace(self, steps=tuple(steps))


def _pairs(items: object) -> str:
    return " ".join(f"{name}={value}" for name, value in items)  # type: ignore[attr-defined]


def _pair(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError(word)
    return name, value


def _world(pairs: dict[str, str]) -> Plan:
    """What `pairs` says of the world; taken out, so that settings are left."""
    try:
        ownership, shape = pairs.pop("ownership"), pairs.pop("shape")
        if ownership not in get_args(Ownership) or shape not in get_args(Shape):
            raise ValueError(f"a replay has no ownership={ownership} with shape={shape}")
        return Plan(
            int(pairs.pop("seed")),
            cast("Ownership", ownership),
            cast("Shape", shape),
            own_store=pairs.pop("own_store") == "yes",
            partitions=int(pairs.pop("partitions")),
            changes=int(pairs.pop("changes")),
        )
    except KeyError as error:
        raise ValueError(f"the replay does not say {error.args[0]}=…") from None
