"""What a user writes: a function with a decorator, or a `Processor`. Pure declarations; the engine calls them.

Facts of the code stand in the code (arguments of the decorators, attributes of the class); facts of the deployment stand
in settings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeVar, overload

from streamkit.model import Batch, Partition, Position, Record, StartPosition
from streamkit.outcome import Outcome

__all__ = [
    "CheckpointFuture",
    "CheckpointLink",
    "Context",
    "Facts",
    "LostContext",
    "PreparedCheckpoint",
    "PreparedFuture",
    "Processor",
    "Running",
    "facts_of",
    "processor",
    "record_processor",
]

F = TypeVar("F", bound=Callable[..., object])
BatchResult = Outcome | None | Mapping[Record, Outcome]

_MARK = "__streamkit_facts__"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the code says about itself."""

    by: Literal["record", "batch"]
    checkpoint: Literal["automatic", "manual"] = "automatic"
    """manual: only `context.checkpoint` moves the position; the engine still writes it."""
    reentrant: bool = False
    """May be called for several partitions (functions) or records at once. Such code must be thread-safe."""
    reject_on: tuple[type[BaseException], ...] = ()
    """Exceptions that no further attempt can mend: the failure policy takes the record at once."""
    prepares: bool = False
    """Uses `context.prepare_checkpoint`: a store that keeps no prepared checkpoints refuses to start."""


class CheckpointFuture(ABC):
    """The fate of one submitted checkpoint. Waiting for it makes it be written at once; not waiting costs nothing."""

    @abstractmethod
    def done(self) -> bool:
        """Whether it is decided: written, replaced by a later one that is written, or failed."""

    @abstractmethod
    def result(self, timeout: float | None = None) -> None:
        """Wait until it is in the store; `timeout` in seconds, then TimeoutError.

        Raises `FencedError`, `PartitionLostError` or another `CheckpointError`. On the user loop's own thread it raises
        RuntimeError, because waiting there would block what it waits for: `await` it instead.
        """

    @abstractmethod
    def __await__(self) -> Generator[object, None, None]: ...


class PreparedCheckpoint(ABC):
    """A checkpoint that is durable but pending: the position has not moved, and a new owner is told of it in `initialize`."""

    @property
    @abstractmethod
    def position(self) -> Position:
        """Where the checkpoint will be once it is committed."""

    @property
    @abstractmethod
    def state(self) -> bytes:
        """What was prepared with it."""

    @abstractmethod
    def commit(self) -> CheckpointFuture:
        """Move the checkpoint to `position`, unless it is further already, and forget what was pending, in one save.

        A second call returns the same future. Raises `CheckpointPositionError` if a newer one has been prepared since;
        `PartitionLostError` after a loss.
        """


class PreparedFuture(ABC):
    """The fate of one prepared checkpoint. Waiting for it makes it be written at once."""

    @abstractmethod
    def done(self) -> bool:
        """Whether it is decided: durable, or failed."""

    @abstractmethod
    def result(self, timeout: float | None = None) -> PreparedCheckpoint:
        """Wait until it is durable; `timeout` in seconds, then TimeoutError.

        Raises `FencedError`, `PartitionLostError` or another `CheckpointError` (also if a newer one took its place before it was
        written); RuntimeError on the user loop's own thread: `await` it there.
        """

    @abstractmethod
    def __await__(self) -> Generator[object, None, PreparedCheckpoint]: ...


class CheckpointLink(Protocol):
    """The engine's side of a context. Not for users."""

    def submit(self, position: Position | None, metadata: str) -> CheckpointFuture: ...
    def follow(self, position: Position | None, metadata: str, on_wait: Callable[[], None]) -> CheckpointFuture: ...
    def prepare(self, position: Position | None, state: bytes) -> PreparedFuture: ...
    def remaining(self) -> float | None: ...


class Running:
    """A call of the processor that is under way. Written by the thread that makes it, read by the checkpointer."""

    __slots__ = ("batch", "by_record", "done")

    def __init__(self, batch: Batch, by_record: bool) -> None:
        self.batch = batch
        self.by_record = by_record
        self.done = 0
        """How many of its records are done so far; only counted for handlers of records."""


class Context:
    """What a hook is told, and what it may do. One object per assignment; attributes change between calls."""

    __slots__ = (
        "_link",
        "attempt",
        "children",
        "delivered",
        "ending",
        "epoch",
        "lost",
        "partition",
        "pending",
        "reason",
        "running",
        "start",
        "state",
    )

    def __init__(self, partition: Partition, *, epoch: int, start: StartPosition, state: object, link: CheckpointLink) -> None:
        self.partition = partition
        self.epoch = epoch
        """Rises with every owner of this partition, as far as the store has epochs: a fencing token for your own writes."""
        self.start = start
        """Where this assignment began."""
        self.pending: tuple[Position, bytes] | None = None
        """In `initialize`: a prepared checkpoint that an earlier owner did not commit, as position and state; else None."""
        self.children: tuple[Partition, ...] = ()
        """In `partition_ended`: the partitions that go on where this one ended."""
        self.reason = ""
        """In `partition_revoked`: why (`shutdown`, `rebalance`, …)."""
        self.attempt = 1
        """Which attempt at the current batch or record this call is, from 1."""
        self.lost = False
        """True as soon as the partition is no longer ours: a long handler should look at it and give up. Cheap, thread-safe."""
        self.state = state
        """What the app's `lifespan` gave: one for the whole process."""
        self.ending = False
        """True as soon as this assignment is about to end: the handler that runs is the last one."""
        self.running: Running | None = None
        """The engine's note of the running call. Not for users."""
        self.delivered: Position | None = None
        """The engine's note of the highest position that any call was given. Not for users."""
        self._link = link

    @property
    def remaining(self) -> float | None:
        """Seconds until the running call is given up (the deadline of a revoke or a drain), else None."""
        return self._link.remaining()

    def checkpoint(self, position: Position | None = None, metadata: str = "") -> CheckpointFuture:
        """Say that `position` and everything before it is done; without it: all that has returned, and the running call's batch.

        Asynchronous: the latest wins, and it is written at every interval and before revoke, end and stop. `await` the
        future or call `.result()` to have it written at once.
        Raises `CheckpointPositionError` outside [last checkpoint, highest delivered]; `PartitionLostError` after a loss.
        """
        return self._link.submit(position, metadata)

    def prepare_checkpoint(self, position: Position | None = None, state: bytes = b"") -> PreparedFuture:
        """Write down that `position` is about to be done, with `state`, and move nothing yet; `commit()` of the result does.

        For effects in two phases: prepare, let the effect happen, commit. A crash in between redelivers from the last
        checkpoint as usual, and the next owner finds (position, state) as `context.pending` in `initialize`; to commit it there,
        prepare the same again and commit that. Other checkpoints keep it; a newer prepare replaces it.
        The bounds and errors of `checkpoint` hold. Raises `UnsupportedError` if the store keeps no prepared checkpoints,
        `CheckpointError` if `state` is longer than it takes.
        """
        return self._link.prepare(position, state)


@dataclass(frozen=True, slots=True)
class LostContext:
    """What `partition_lost` is told. There is no checkpoint: it would be refused."""

    partition: Partition
    epoch: int
    reason: str


class Processor:
    """Code with hooks. One object per (partition, assignment), made by calling the class (or a factory) without arguments.

    Each hook may be `def` or `async def`. `def` hooks run in a thread of this assignment, `async def` hooks in the user's
    loop; never two at once. Exactly one of `partition_ended`, `partition_revoked` and `partition_lost` ends an assignment.
    """

    checkpoint: ClassVar[Literal["automatic", "manual"]] = "automatic"
    reentrant: ClassVar[bool] = False
    reject_on: ClassVar[tuple[type[BaseException], ...]] = ()
    prepares: ClassVar[bool] = False

    def initialize(self, context: Context) -> Awaitable[None] | None:
        """Assigned: called before the first record; raising goes through the retry policy."""
        return None

    def process(self, batch: Batch, context: Context) -> Awaitable[BatchResult] | BatchResult:
        """A batch. None: all done. An outcome: none done. A mapping of records: those that are not named are done."""
        raise TypeError(f"{type(self).__name__} has no process method")

    def flush(self, context: Context) -> Awaitable[None] | None:
        """Make durable everything processed so far; a checkpoint is taken only after it returned. Never beside `process`."""
        return None

    def partition_ended(self, context: Context) -> Awaitable[None] | None:
        """Every record of a closed partition has been processed."""
        return None

    def partition_revoked(self, context: Context) -> Awaitable[None] | None:
        """Still the owner, about to give it back (`context.reason`); may checkpoint."""
        return None

    def partition_lost(self, context: LostContext) -> Awaitable[None] | None:
        """No longer the owner."""
        return None

    def close(self) -> Awaitable[None] | None:
        """Always last, also after a failed `initialize`."""
        return None


@overload
def processor(function: F, /) -> F: ...
@overload
def processor(
    *,
    checkpoint: Literal["automatic", "manual"] = "automatic",
    reentrant: bool = True,
    reject_on: tuple[type[BaseException], ...] = (),
    prepares: bool = False,
) -> Callable[[F], F]: ...
def processor(function: F | None = None, /, **facts: object) -> F | Callable[[F], F]:
    """Mark a function `(batch, context)`, def or async def, as a processor of batches. It stays the same plain function."""
    return _mark(function, "batch", facts)


@overload
def record_processor(function: F, /) -> F: ...
@overload
def record_processor(
    *,
    checkpoint: Literal["automatic", "manual"] = "automatic",
    reentrant: bool = True,
    reject_on: tuple[type[BaseException], ...] = (),
    prepares: bool = False,
) -> Callable[[F], F]: ...
def record_processor(function: F | None = None, /, **facts: object) -> F | Callable[[F], F]:
    """Mark a function `(record, context)`, def or async def, as a processor of records. It stays the same plain function."""
    return _mark(function, "record", facts)


def _mark(function: F | None, by: Literal["record", "batch"], facts: Mapping[str, object]) -> F | Callable[[F], F]:
    def mark(target: F) -> F:
        setattr(target, _MARK, Facts(by, **{"reentrant": True, **facts}))  # type: ignore[arg-type]
        return target

    return mark if function is None else mark(function)


def facts_of(target: object) -> Facts | None:
    """The facts of a decorated function, of a `Processor` class or object; None for anything else."""
    if isinstance(target, Processor) or (isinstance(target, type) and issubclass(target, Processor)):
        return Facts("batch", target.checkpoint, target.reentrant, target.reject_on, target.prepares)
    facts = getattr(target, _MARK, None)
    return facts if isinstance(facts, Facts) else None
