"""Three workers on a hub of 32 partitions, and what befalls them: kill -9, SIGSTOP, an emulator that errs, a store that fails.

    python -m tests.promise.chaos.chaos --on eventhubs --kills 30 --faults

does it for long; `test_under_fire.py` for half a minute. What must hold is in `proof.py`.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from azure.storage.blob import ContainerClient
from streamkit_sandbox.azurite import AzuriteServer
from streamkit_sandbox.eventhubs.faults import every_fault
from streamkit_sandbox.eventhubs.server import EventHubsServer

from streamkit.errors import FencedError
from tests.promise.eventhubs.proof import Watch, prove_epochs, prove_nothing_lost, prove_order, prove_readers, prove_silence_after_loss
from tests.promise.eventhubs.running import EventHubsPlace
from tests.promise.eventhubs.twin import Twin
from tests.promise.eventhubs.writing import KeyedWriter

__all__ = ["PARTITIONS", "WORKERS", "Figures", "Fire", "on_eventhubs", "on_eventhubs_of_its_own"]

PARTITIONS = 32
WORKERS = ("one", "two", "three")
KEYS = 200
RATE = 60.0
"""Records a second, of all keys together."""
LEASE_SECONDS = 8.0
"""Much shorter than an outage, and longer than a machine stands still while a twin of who was frozen is made."""
PAST_LEASE_SECONDS = LEASE_SECONDS + 1.5
CHANCE = 0.01
"""Of each kind of fault, each time that it can happen."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was seen; a test prints it."""

    kills: int
    freezes: int
    faults: int
    outages: int
    records: int
    events: int
    calls: int
    begins: int
    losses: int
    looks: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.freezes} freezes, {self.faults} faults, {self.outages} outages of the store in "
            f"{self.seconds:.0f} s: {self.records} records written as {self.events} events, none lost, in order; {self.calls} finished "
            f"calls, {self.begins} assignments with rising epochs, {self.losses} losses; {self.looks} looks at the blobs, none went back"
        )


class Fire:
    """Made by `on_eventhubs`, with its writer and its watch; the workers are started by `light`."""

    def __init__(
        self, server: EventHubsServer, azurite: AzuriteServer, store: Mapping[str, str], place: EventHubsPlace, chance: random.Random
    ) -> None:
        """`store`: what a worker is told of Blob Storage."""
        self.server, self.azurite, self.place, self.chance = server, azurite, place, chance
        self._store = store
        self.watch = Watch(place)
        self.writer = KeyedWriter(server.connection_string(), place.stream, keys=KEYS, rate=RATE, seed=chance.randrange(10**6))
        self._counts: Counter[str] = Counter()
        self._started_at: dict[str, int] = {}
        self._began = time.monotonic()

    def light(self) -> None:
        """Start the workers; returns when each has a share."""
        for name in WORKERS:
            self.start(name)
        self.place.until(self._is_shared, "each has its share", 60)

    def start(self, name: str) -> None:
        self._started_at[name] = time.monotonic_ns()
        more = {"PACE_SECONDS": "0.005", "eventhubs__request_timeout": "2s", "checkpoint_interval": "500ms"}
        self.place.start(name, lease_duration=f"{LEASE_SECONDS:g}s", **more)

    def kill(self, name: str) -> None:
        """SIGKILL, and begin it again; somebody goes on with what it had."""
        self._counts["kills"] += 1
        self.place.kill(name)
        self.start(name)

    def freeze(self, name: str) -> None:
        """SIGSTOP until its partitions are elsewhere, an attempt to save with what it knows, SIGCONT; returns when it knows."""
        place = self.place
        self._counts["freezes"] += 1
        place.freeze(name)
        frozen_at = time.monotonic_ns()
        mine = {partition: row for partition, row in place.leases().items() if row.owner == name}
        assert mine, f"{name} has nothing that it could lose"
        twin = Twin(self._store, place.group, place.stream, mine)
        try:
            place.until(lambda: self._moved(mine, frozen_at), f"what {name} had is elsewhere", 60)
            time.sleep(max(0.0, PAST_LEASE_SECONDS - (time.monotonic_ns() - frozen_at) / 1e9))
            tried = twin.save()
            assert all(isinstance(answer, FencedError) for answer in tried), tried
        finally:
            twin.close()
            woken = place.thaw(name)
        epochs = {partition: row.epoch for partition, row in mine.items()}

        def ended() -> set[str]:
            """Revoked is what it had given back just before, and could not say any more."""
            over = [line for what in ("lost", "revoked") for line in place.lines(what, name, frozen_at)]
            return {line.partition for line in over if epochs.get(line.partition) == line.epoch}

        begun = {line.partition for line in place.lines("begin", name) if epochs.get(line.partition) == line.epoch}
        place.until(lambda: ended() >= begun, f"{name} knows that it has lost {begun}", 60)
        late = [line for line in place.lines("record", name, woken) if epochs.get(line.partition) == line.epoch]
        assert max(Counter(line.partition for line in late).values(), default=0) <= 1, f"more than the call that ran: {late}"

    def fail_store(self, seconds: float, *, kill: bool = False) -> None:
        """Nobody answers for so long; `kill`: and then it is another process, with what was on its disk."""
        self._counts["outages"] += 1
        if kill:
            self.azurite.kill()
            self.watch.forget_places()
        else:
            self.azurite.pause()
        until = time.monotonic() + seconds
        try:
            self.place.until(lambda: time.monotonic() > until, "the outage", seconds + 10)
        finally:
            if kill:
                self.azurite.restart()
            else:
                self.azurite.resume()

    def err(self) -> None:
        """The emulator errs from now on: by chance, and see `strike`."""
        self.server.rules = every_fault(CHANCE, delay_seconds=0.3, hub=self.place.stream)

    def strike(self) -> None:
        """One thing that concerns everybody, or one partition."""
        partition = str(self.chance.randrange(PARTITIONS))
        what = self.chance.choice(["drop", "detach", "throttle", "slow", "quick"])
        self._counts["strikes"] += 1
        if what == "drop":
            self.server.drop_connections()
        elif what == "detach":
            self.server.detach(self.place.stream, partition)
        elif what == "throttle":
            self.server.throttle(self.chance.uniform(0.5, 3.0))
        else:
            self.server.set_pace(5.0 if what == "slow" else None)

    def calm(self) -> None:
        """No more faults."""
        self._counts["faults"] += sum(self.server.fault_counts.values()) + self._counts.pop("strikes", 0)
        self.server.rules = ()
        self.server.set_pace(None)
        self.server.throttle(0)

    def prove(self) -> Figures:
        """End the writer, wait until all is done, stop the workers, and prove. Raises AssertionError with the workers' words."""
        place = self.place
        self.writer.end()
        log = {str(id): [event.sequence for event in self.server.events(place.stream, str(id))] for id in range(PARTITIONS)}
        everything = {(partition, sequence) for partition, sequences in log.items() for sequence in sequences}
        place.until(lambda: {(line.partition, line.sequence) for line in place.lines("record")} >= everything, "all is done", 90)
        for name in WORKERS:
            place.stop(name)
        lines = place.lines()
        try:
            prove_nothing_lost(lines, log, self.writer.written)
            prove_order(lines)
            prove_epochs(lines)
            prove_silence_after_loss(lines)
            prove_readers(lines, self.server.admissions(place.stream))
            self.watch.check()
            saved = {partition: row.sequence for partition, row in place.leases().items()}
            assert saved == {partition: sequences[-1] if sequences else None for partition, sequences in log.items()}
        except AssertionError as error:
            raise AssertionError(f"{error}\n{place.errors()}") from error
        counts = Counter(line.what for line in lines)
        return Figures(
            self._counts["kills"],
            self._counts["freezes"],
            self._counts["faults"],
            self._counts["outages"],
            len(self.writer.written),
            len(everything),
            counts["record"],
            counts["begin"],
            counts["lost"],
            self.watch.looks,
            time.monotonic() - self._began,
        )

    def run(self, kills: int, *, faults: bool, outage_seconds: float = 20.0) -> Figures:
        """A long run: random kills and freezes, with faults all the while and two outages of the store, or without."""
        self.light()
        if faults:
            self.err()
        for number in range(kills):
            time.sleep(self.chance.uniform(0.2, 3.0))
            if faults and self.chance.random() < 0.5:
                self.strike()
            if number % 5 == 3:
                self.place.until(self._is_shared, "each has a share again", 60)
                self.freeze(self.chance.choice(WORKERS))
            if faults and number in (kills // 3, 2 * kills // 3):
                self.place.until(self._is_shared, "each has a share again", 60)
                self.fail_store(outage_seconds, kill=number != kills // 3)
            self.kill(self.chance.choice(WORKERS))
        self.calm()
        return self.prove()

    def _is_shared(self) -> bool:
        """As the blobs say, and each has begun since it was started: who starts while the store fails ends with an error."""
        shares = Counter(row.owner for row in self.place.leases().values())
        has_begun = all(self.place.lines("begin", name, since) for name, since in self._started_at.items())
        return has_begun and set(shares) == set(WORKERS) and min(shares.values()) >= PARTITIONS // len(WORKERS) - 1

    def _moved(self, partitions: Collection[str], since: int) -> bool:
        return {line.partition for line in self.place.lines("begin", after=since)} >= set(partitions)


@contextlib.contextmanager
def on_eventhubs(folder: Path, server: EventHubsServer, azurite: AzuriteServer, seed: int) -> Iterator[Fire]:
    """A hub and a container of their own; what is left at the end is ended."""
    hub = server.create_hub(f"fire-{token_hex(4)}", PARTITIONS)
    container = azurite.create_container()
    store = azurite.settings() | {"STREAMKIT_AZUREBLOB__CONTAINER": container}
    options: dict[str, Any] = {"retry_total": 0, "connection_timeout": 15, "read_timeout": 15}
    with contextlib.ExitStack() as stack:
        seen = stack.enter_context(ContainerClient.from_connection_string(azurite.connection_string, container, **options))
        place = EventHubsPlace(server, store, hub, folder, seen)
        stack.callback(place.end)
        fire = Fire(server, azurite, store, place, random.Random(seed))
        stack.callback(fire.writer.end)
        stack.callback(fire.calm)
        with fire.watch:
            yield fire


@contextlib.contextmanager
def on_eventhubs_of_its_own(folder: Path, seed: int) -> Iterator[Fire]:
    """With servers of its own, because harm is done to them; Azurite keeps on disk what it has."""
    with AzuriteServer(persist=True) as azurite, EventHubsServer(seed=seed) as server, on_eventhubs(folder, server, azurite, seed) as fire:
        yield fire
