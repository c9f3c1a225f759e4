"""What measures and traces the engine's work from inside, as the engine sees it: beside the call of the user's code, in its thread.

An observer is told later, on a thread of its own, so it can neither make a span current nor time a call. The engine asks for an
`Instrumentation` once for each assignment, save and dead letter, and none of it if there is none: then nothing is done for a record.
`streamkit.telemetry` has one for OpenTelemetry; the app puts it in. What is called here must not raise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from streamkit.model import Checkpoint, Partition, Record
from streamkit.outcome import Outcome

__all__ = ["CallInstrumentation", "Instrumentation", "Process"]

Process = Callable[..., object]
"""The user's `process`, or a decorated function: `def` or `async def`, of a record or a batch, and the context."""


class CallInstrumentation(Protocol):
    """Of one assignment."""

    def around(self, process: Process, by: Literal["record", "batch"]) -> Process:
        """What is called in place of `process`: `def` for `def`, `async def` for `async def`. It returns and raises the same."""

    def called(self, seconds: float, failure: Outcome | BaseException | None) -> None:
        """A call is over: of a batch, or of a run of records. On any carrier."""


class Instrumentation(Protocol):
    """Of one app."""

    def assigned(self, partition: Partition) -> CallInstrumentation:
        """The partition's assignment begins. On the control thread."""

    def saved(self, answers: Sequence[tuple[Checkpoint, Exception | None]], began: float, ended: float) -> None:
        """The store has answered for these checkpoints; None: it is saved. Unix seconds. On the control thread."""

    def context_of(self, record: Record) -> Sequence[tuple[str, bytes]]:
        """Headers that the dead letter of this record is given besides its own: none if it carries a trace context already. On the
        control thread."""

    def sent(self, target: str, records: Sequence[Record], began: float, ended: float, error: BaseException | None) -> None:
        """Their dead letters were written to `<plugin>:<stream>`; None: acknowledged. Unix seconds. On the control thread."""
