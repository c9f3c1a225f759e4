"""One librdkafka consumer, and which partitions it reads: shared by the group's member and the static reader.

Every call comes from the reader's thread: confluent-kafka 2.16 locks a Consumer for the whole of poll, so a call from
elsewhere would starve. `poll` returns batches in runs of one partition, and drops what belongs to nobody any more.

The rules about assigning are measured (tests/integration/test_assigning.py and test_rebalancing.py):

* A partition is assigned locally when it is added, at an exact offset, never inside the rebalance callback.
* Outside the callbacks nothing is unassigned in a group: that would count as the answer to a pending revoke, and the next
  owner would start before we have saved. Removing is pausing, forgetting and filtering; adding again is seeking.
* A pause survives unassigning, so every added partition is resumed unless the engine has paused it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, cast

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamkit.errors import BrokerError, BrokerUnavailableError, ConfigurationError, StreamkitError
from streamkit.model import Partition, StartPosition
from streamkit.plugin import AdapterContext, Budget, Event, Failed
from streamkit_kafka.client import Config, ErrorWatch, OnCommit, new_consumer
from streamkit_kafka.errors import BROKER, code_of, translated, translation
from streamkit_kafka.record import KafkaBatch
from streamkit_kafka.tokens import TokenSource

__all__ = ["Assignment", "ConsumerCore", "Key", "key_of", "offset_of"]

Key = tuple[str, int]
"""Topic and partition number."""

_LONG_PAUSE_SECONDS = 2.0
_LAG_SECONDS = 1.0
_SEEK_SECONDS = 5.0
# librdkafka's poll does not return when it has run a rebalance callback; an assignment waits so long at most.
_LONGEST_WAIT_SECONDS = 0.1
_FIRST_SIZE_GUESS = 1024.0

_error = Message.error
_number = Message.partition
_topic = Message.topic


def key_of(partition: Partition) -> Key:
    return partition.stream, int(partition.id)


@dataclass(slots=True, eq=False)
class Assignment:
    """One partition for as long as it is ours without a break."""

    partition: Partition
    serial: int
    """Counts assignments in this process: the grant that a checkpoint must show."""
    committed: TopicPartition | Exception | None = None
    """What the group's coordinator said a moment ago, for the first claim; None: nothing, or that claim has taken it."""
    looked_up: float = float("-inf")
    is_claimed: bool = False
    assigned_locally: bool = False
    start: TopicPartition | None = None
    """Where the next poll begins to read it."""
    reading: bool = False
    paused: bool = False
    broken: bool = False
    """librdkafka has stopped fetching it and takes no seek: only assigning it anew starts it again."""
    floor: int = 0
    """Older offsets are left over from before a seek; 0 once the first record from there has been seen."""
    asked: float = 0.0
    high: int | None = None
    high_read: float = float("-inf")


class ConsumerCore:
    """The consumer, its assignments and its polls. Not thread-safe, on purpose."""

    def __init__(self, config: Config, context: AdapterContext, *, only_topic: str | None, grouped: bool) -> None:
        """`only_topic`: no message can be of another one, which saves a look at each. `grouped`: a group deals out partitions."""
        self._config = config
        self._context = context
        self.monotonic = context.monotonic
        self._only_topic = only_topic
        self._grouped = grouped
        self._made: Consumer | None = None
        self._serial = 0
        self._waiting: list[Assignment] = []
        self._problem: StreamkitError | None = None
        self._polled = context.monotonic()
        self._size = _FIRST_SIZE_GUESS
        self.assignments: dict[Key, Assignment] = {}
        self.is_busy = False
        """Whether the last poll brought as much as it was to: the next one is soon, and does not wait."""
        self.leaving: frozenset[Key] = frozenset()
        """Those that a running callback gives back."""
        self.notices: list[Event] = []
        """What callbacks have seen since the last poll."""
        self.explain: Callable[[Message], Iterable[Event]] = lambda message: ()
        """Turns a message that is an error into events."""
        self.on_commit: OnCommit | None = None
        """Gets the client's reports of commits, inside polls; set before the first of them."""
        self.watch = ErrorWatch()

    @property
    def consumer(self) -> Consumer:
        """Made by its first use, so on the reader's thread."""
        if self._made is None:
            self._made = new_consumer(self._config, self.watch, self.on_commit)
        return self._made

    def fail(self, error: BaseException, doing: str) -> None:
        """Keep an error until no event is left to be returned before it; then the poll raises it. The first one stands."""
        if self._problem is None:
            if not isinstance(error, BrokerError | ConfigurationError):
                cause, error = error, BrokerError(f"Kafka, {doing}: {error}", broker=BROKER)
                error.__cause__ = cause
            self._problem = error

    # -- which partitions ---------------------------------------------------------------------------------------------

    def own(self, partition: Partition) -> Assignment:
        """From now on it is ours, under a new serial."""
        self._serial += 1
        assignment = Assignment(partition, self._serial)
        self.assignments[key_of(partition)] = assignment
        return assignment

    def disown(self, keys: Iterable[Key]) -> None:
        """No longer ours: nothing more is returned of them, and nothing more is saved."""
        for key in keys:
            assignment = self.assignments.pop(key, None)
            if assignment is not None:
                assignment.reading = False
                assignment.start = None

    def begin(self, assignment: Assignment, start: StartPosition) -> None:
        """Read it from `start`, beginning with the next poll (which first hears whether it is still ours)."""
        assignment.start = self._offset_at(assignment.partition, start)
        assignment.floor = max(0, assignment.start.offset)
        assignment.asked = self._context.monotonic()
        assignment.reading = assignment.paused = False
        self._waiting.append(assignment)

    def stop(self, partitions: Iterable[Partition]) -> None:
        """Return nothing more of these, but keep them."""
        silenced = []
        for partition in partitions:
            assignment = self.assignments.get(key_of(partition))
            if assignment is None:
                continue
            assignment.reading = assignment.paused = False
            assignment.start = None
            if assignment.assigned_locally and key_of(partition) not in self.leaving:
                silenced.append(assignment)
        if self._grouped:
            self._tell("pause", silenced)
            return
        self._tell("incremental_unassign", silenced)
        self.disown([key_of(a.partition) for a in silenced])

    def hold(self, partitions: Iterable[Partition], paused: bool) -> None:
        """Pause or resume those that are not so already: resuming what runs would fetch it twice (librdkafka #5343)."""
        changed = [a for p in partitions if (a := self.assignments.get(key_of(p))) is not None and a.paused != paused]
        for assignment in changed:
            assignment.paused = paused
        self._tell("pause" if paused else "resume", [a for a in changed if a.reading])

    def _tell(self, what: Literal["pause", "resume", "incremental_unassign"], assignments: Sequence[Assignment]) -> None:
        if assignments:
            try:
                getattr(self.consumer, what)([TopicPartition(*key_of(a.partition)) for a in assignments])
            except (KafkaException, RuntimeError) as error:
                self.fail(translation(error, f"{what} of {', '.join(str(a.partition) for a in assignments)}"), what)

    # -- polling ------------------------------------------------------------------------------------------------------

    def poll(self, budget: Budget) -> list[Event]:
        """Batches and events; at most `budget.max_records`, and about `budget.max_bytes` by the sizes seen so far."""
        events: list[Event] = []
        if self._context.monotonic() - self._polled > _LONG_PAUSE_SECONDS:
            # Assigning before a loss is served would turn it into an orderly revoke.
            self._sort(self._receive(1, 0.0), events)
        if self._problem is None:
            self._start_waiting(events)
            room = max(1, min(budget.max_records, int(budget.max_bytes / self._size)))
            wait = 0.0 if events else min(budget.max_wait_seconds, _LONGEST_WAIT_SECONDS)
            messages = self._receive(room, wait)
            self.is_busy = len(messages) == room
            self._sort(messages, events)
        self._polled = self._context.monotonic()
        if self.watch.down and not events:
            self._lost_cluster()
        if self._problem is not None and not events:
            problem, self._problem = self._problem, None
            raise problem
        return events

    def _lost_cluster(self) -> None:
        """librdkafka says once that no broker answers, and goes on trying; so do we, and so does the poll."""
        source = self._config.get("oauth_cb")
        said = (source.failure if isinstance(source, TokenSource) else "") or self.watch.reason()
        self.watch.clear()  # it is not the reason of the next outage
        reason = f": {said}" if said else ""
        self.fail(BrokerUnavailableError(f"no broker of the cluster answers{reason}; tried again for ever", broker=BROKER), "polling")

    def _receive(self, limit: int, wait_seconds: float) -> list[Message]:
        # consume(n, timeout) waits for its whole timeout unless it fills up, so poll waits for the first of a quiet topic. Of a
        # busy one everything comes by one call: each costs a hand-over of the interpreter's lock, and that a tenth of the speed.
        first = None
        try:
            messages = self.consumer.consume(limit, 0)
            if messages or wait_seconds <= 0:
                return messages
            first = self.consumer.poll(wait_seconds)
            if first is None:
                return []
            messages = self.consumer.consume(limit - 1, 0) if limit > 1 else []
            messages.insert(0, first)
            return messages
        except (KafkaException, RuntimeError) as error:
            self.fail(translation(error, "polling"), "polling")
            return [] if first is None else [first]

    def _sort(self, messages: list[Message], events: list[Event]) -> None:
        """Append events for `messages`, after what the callbacks saw meanwhile: that decides whose messages still count."""
        events.extend(self.notices)
        self.notices.clear()
        errors: list[Message] = []
        if next(filter(_error, messages), None) is not None:  # of all ways to look at each message the quickest
            errors = [message for message in messages if _error(message) is not None]
            messages = [message for message in messages if _error(message) is None]
        if messages:
            self._append_batches(messages, events)
        for message in errors:
            events.extend(self.explain(message))

    def _append_batches(self, messages: list[Message], events: list[Event]) -> None:
        received, now = self._context.unix_time(), self._context.monotonic()
        size = count = 0
        for key, run in self._runs(messages).items():
            assignment = self.assignments.get(key)
            if assignment is None or not assignment.reading:
                continue
            if assignment.floor:
                run = [message for message in run if (message.offset() or 0) >= assignment.floor]
                if not run:
                    continue
                assignment.floor = 0
            if now - assignment.high_read >= _LAG_SECONDS:
                assignment.high_read, assignment.high = now, self._high_watermark(key)
            batch = KafkaBatch(assignment.partition, run, received, assignment.high)
            size += batch.bytes
            count += len(run)
            events.append(batch)
        if count:
            # Falls slowly and rises at once: a few large records must not be taken for many small ones.
            self._size = max(1.0, size / count, self._size * 0.9)

    def _runs(self, messages: list[Message]) -> dict[Key, list[Message]]:
        topic = self._only_topic
        if topic is not None and (long := _long_runs(topic, messages)) is not None:
            return long
        runs: dict[Key, list[Message]] = {}
        by_topic = [(topic, messages)] if topic is not None else groupby(messages, _topic)
        for name, of_topic in by_topic:
            for number, run in groupby(of_topic, _number):
                key = cast("Key", (name, number))
                if key in runs:
                    runs[key].extend(run)
                else:
                    runs[key] = list(run)
        return runs

    def _high_watermark(self, key: Key) -> int | None:
        _, high = self.consumer.get_watermark_offsets(TopicPartition(*key), cached=True)
        return high if high >= 0 else None

    # -- beginning to read --------------------------------------------------------------------------------------------

    def _start_waiting(self, events: list[Event]) -> None:
        if any(assignment.broken for assignment in self._waiting):
            self._restart_broken(events)
        waiting = [a for a in self._waiting if a.start is not None]
        self._waiting.clear()
        if not waiting:
            return
        begun: list[Assignment] = []
        fresh = [a for a in waiting if not a.assigned_locally]
        try:
            if fresh:
                self.consumer.incremental_assign([a.start for a in fresh if a.start is not None])
                begun += fresh
            for assignment in waiting:
                if assignment.assigned_locally and self._seek(assignment):
                    begun.append(assignment)
        except (KafkaException, RuntimeError) as error:
            for assignment in [a for a in waiting if a not in begun]:
                assignment.start = None
                known = translation(error, "assigning", str(assignment.partition))
                events.append(Failed(assignment.partition, known if isinstance(known, BrokerError) else _failed(known)))
        for assignment in begun:
            assignment.assigned_locally = assignment.reading = True
            assignment.start = None
        self._tell("resume", [a for a in begun if not a.paused])
        self._tell("pause", [a for a in begun if a.paused])

    def _restart_broken(self, events: list[Event]) -> None:
        """The one place where a group's partition is unassigned outside a callback: straight after a poll that would have
        served a pending revoke, because unassigning would answer it before we have saved."""
        self._sort(self._receive(1, 0.0), events)
        broken = [a for a in self._waiting if a.broken and a.start is not None]
        self._tell("incremental_unassign", [a for a in broken if a.assigned_locally])
        for assignment in broken:
            assignment.broken = assignment.assigned_locally = False

    def _seek(self, assignment: Assignment) -> bool:
        assert assignment.start is not None
        try:
            self.consumer.seek(assignment.start)
        except KafkaException as error:
            if code_of(error) != KafkaError._STATE:  # assigned a moment ago and not yet fetching: the next poll tries again
                raise
            assignment.broken = self._context.monotonic() - assignment.asked > _SEEK_SECONDS
            self._waiting.append(assignment)
            return False
        return True

    def _offset_at(self, partition: Partition, start: StartPosition) -> TopicPartition:
        topic, number = key_of(partition)
        if start.kind == "time":
            assert start.time is not None
            wanted = TopicPartition(topic, number, int(start.time.timestamp() * 1000))
            with translated("looking up a time", str(partition)):
                found = self.consumer.offsets_for_times([wanted], timeout=self.request_seconds)[0]
                if found.error is not None:
                    raise KafkaException(found.error)
            return TopicPartition(topic, number, found.offset)
        if start.position is None:
            return TopicPartition(topic, number, OFFSET_BEGINNING if start.kind == "earliest" else OFFSET_END)
        return offset_of(partition, start)

    @property
    def request_seconds(self) -> float:
        return float(self._config["socket.timeout.ms"]) / 1000

    def close(self) -> None:
        """Leave the group if in one (the revoke callback is called) and close every connection."""
        if self._made is not None:
            with translated("closing"):
                self._made.close()
        self.disown(list(self.assignments))


def offset_of(partition: Partition, start: StartPosition, metadata: str = "") -> TopicPartition:
    """The next offset to read: p for `at(p)`, p + 1 for `after(p)`; the token is the leader epoch, against truncated logs."""
    position = start.position
    if position is None or position.sequence is None:
        raise BrokerError(f"{start} is no offset", broker=BROKER, partition=str(partition))
    topic, number = key_of(partition)
    offset = position.sequence + (1 if start.kind == "after" else 0)
    if position.token.isdecimal():
        return TopicPartition(topic, number, offset, metadata, leader_epoch=int(position.token))
    return TopicPartition(topic, number, offset, metadata)


def _failed(error: StreamkitError) -> BrokerError:
    failed = BrokerError(str(error), broker=BROKER, fix=error.fix)
    failed.__cause__ = error
    return failed


def _long_runs(topic: str, messages: list[Message]) -> dict[Key, list[Message]] | None:
    """The messages of each partition if they stand together; None if they do not. Nearly always they do: what a poll brings is a few
    long runs, and counting in a list of numbers costs next to nothing beside another look at each message."""
    numbers = list(map(_number, messages))
    runs: dict[Key, list[Message]] = {}
    begin = 0
    while begin < len(numbers):
        number = numbers[begin]
        count = numbers.count(number)
        if count == len(numbers):
            return {(topic, cast("int", number)): messages}
        end = begin + count
        if numbers[begin:end].count(number) < count:
            return None  # there are more of it elsewhere
        runs[topic, cast("int", number)] = messages[begin:end]
        begin = end
    return runs
