"""What writes records: dead letters, examples, load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from pydantic import BaseModel

from streamkit.model import Headers
from streamkit.plugin.adapter import Adapter

__all__ = ["NewRecord", "Producer"]

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to be written. `partition` (an id) wins over `key`; without both the broker chooses."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = field(default_factory=Headers)
    partition: str | None = None


class Producer(Adapter[S], ABC):
    """Writes records, and says of each whether the broker has it."""

    keeps_headers: ClassVar[bool] = True
    """False: records keep neither headers nor a value of None. Such records may be refused, and dead letters come as one value, which
    holds all that they say."""

    is_gapless: ClassVar[bool] = False
    """True: of the records of one key in a `send`, none is written after one that is not. Else the letters of a parked key are sent one
    after the other."""

    async def check(self, stream: str) -> None:
        """Whether `send` to this stream can succeed, as far as can be told without writing.

        When: once, after `open`, for the target of dead letters, before the first record is read.
        Where: on the engine's I/O loop.
        Raises: `StreamGoneError` if it does not exist and will not be made by writing; `AccessDeniedError`,
            `BrokerUnavailableError`.
        Afterwards: nothing has changed; a stream that is made by its first record may not exist yet.
        """

    @abstractmethod
    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        """Write them; one answer for each, in the same order: None when the broker has acknowledged it.

        When: any time between `open` and `close`.
        Where: on the engine's I/O loop; may run beside other sends.
        Raises: nothing for a single record (its answer is the `BrokerError`); `BrokerUnavailableError` when none was sent.
        Afterwards: what was answered with None is as durable as the broker makes it; records of one key keep their order.
        """
