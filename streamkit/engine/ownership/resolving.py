"""Where the partitions of a group's first start begin, asked of the broker before their leases are made.

What was resolved is kept until the leases exist: one that is tried again, because the store or the broker was slow, begins where
and when the first try found, and a start with many partitions gets further with each try. Runs on the control thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from streamkit.engine.runtime import Carrier, Promise
from streamkit.errors import StreamkitError
from streamkit.model import Partition, StartPosition

__all__ = ["Resolving"]

AT_ONCE = 16
"""How many questions the broker is asked at once: each costs a round trip, and some brokers count them."""


class Resolving:
    """Of one group."""

    def __init__(self, resolve: Callable[[Partition, StartPosition], Awaitable[StartPosition]], control: Carrier) -> None:
        """`resolve` asks the broker what a start means in a partition, now and tomorrow."""
        self._resolve = resolve
        self._control = control
        self._found: dict[tuple[Partition, StartPosition], StartPosition] = {}
        self._began: datetime | None = None

    def began(self, now: datetime) -> datetime:
        """When the first try was made that has not led to leases yet: nothing that it has found is older."""
        self._began = self._began or now
        return self._began

    async def starts(self, partitions: Sequence[Partition], wish: StartPosition) -> list[StartPosition]:
        """What `wish` means in each of these. Raises the first error, when all that was asked has been answered."""
        if wish == StartPosition.EARLIEST:
            return [wish] * len(partitions)
        missing = deque(partition for partition in partitions if (partition, wish) not in self._found)
        under_way: deque[Promise[None]] = deque()
        failed: StreamkitError | None = None
        while under_way or (missing and failed is None):
            if missing and failed is None and len(under_way) < AT_ONCE:
                under_way.append(self._control.call("resolve", self._keep(missing.popleft(), wish)))
                continue
            try:
                await under_way.popleft()
            except StreamkitError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return [self._found[partition, wish] for partition in partitions]

    async def _keep(self, partition: Partition, wish: StartPosition) -> None:
        self._found[partition, wish] = await self._resolve(partition, wish)

    def used(self) -> None:
        """The leases exist: what is found from now on is of another time."""
        self._found.clear()
        self._began = None
