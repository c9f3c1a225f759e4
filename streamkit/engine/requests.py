"""What operators ask of the owners of partitions: to call parked keys again whose letters have been replayed.

A request waits in the store, so it reaches the owner wherever it runs, now or later. It is answered by doing what it asks for
and forgetting it, or by forgetting it: whoever has asked looks at the checkpoint. Runs on the control thread.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from streamkit.engine.checkpoint.checkpointer import StoreCalls
from streamkit.engine.markers import Markers
from streamkit.engine.runtime import Runtime
from streamkit.errors import PartitionLostError, StreamkitError
from streamkit.model import Partition
from streamkit.settings import Settings

__all__ = ["Asked", "Requests", "release_request", "released_keys"]

_VERSION = 1


class Asked(Protocol):
    """An assignment, as far as it is looked at here."""

    partition: Partition

    @property
    def markers(self) -> Markers | None:
        """What is parked, while it is ours."""


class Requests:
    """One for each app. With another policy than `park` it has nothing to do."""

    def __init__(
        self,
        runtime: Runtime,
        store: StoreCalls,
        settings: Settings,
        assignments: Mapping[Partition, Asked],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._store = store
        self._is_used = settings.on_failure == "park"
        self._interval = settings.checkpoint_interval.total_seconds()
        self._assignments = assignments
        self._report = report
        self._signal = runtime.control.signal()
        self._stopped = not self._is_used
        self._is_failing = False

    def stop(self) -> None:
        self._stopped = True
        self._signal.set()

    async def run(self) -> None:
        while not self._stopped:
            await self._signal.wait(self._interval)
            if not self._stopped:
                await self._look()

    async def look_for(self, one: Asked) -> None:
        """Before the first record: what was asked while nobody owned it comes before what would be put behind."""
        if self._is_used and one.markers is not None and one.markers.count:
            await self._look(one)

    async def _look(self, only: Asked | None = None) -> None:
        failed: StreamkitError | None = None
        try:
            requests = await self._store.requests()
        except StreamkitError as error:
            requests, failed = {}, error
        for partition, text in requests.items():
            one = self._assignments.get(partition)
            if one is None or (only is not None and one is not only) or (markers := one.markers) is None:
                continue
            try:
                await markers.release(released_keys(text))
                await self._store.answered(partition, text)
            except PartitionLostError:
                pass  # the next owner is asked
            except StreamkitError as error:  # the other partitions are asked all the same
                failed = error
        if failed is not None and not self._is_failing:
            self._report("looking for requests", failed)
        self._is_failing = failed is not None


def release_request(replayed: Mapping[bytes, Collection[str]]) -> str:
    """For each key the names of the last letters that were replayed, one of each partition that wrote any."""
    keys = {base64.b64encode(key).decode(): sorted(letters) for key, letters in replayed.items()}
    return json.dumps({"version": _VERSION, "release": keys}, sort_keys=True, separators=(",", ":"))


def released_keys(text: str) -> dict[bytes, list[str]]:
    """What `release_request` made. One that cannot be read asks for nothing."""
    try:
        body = json.loads(text)
        if not 1 <= body["version"] <= _VERSION + 1:
            return {}
        return {base64.b64decode(key): [str(letter) for letter in letters] for key, letters in body["release"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
