"""Every error that streamkit raises. Adapters translate the errors of their SDKs into these.

StreamkitError
├─ ConfigurationError(ValueError)
│  ├─ UnknownPluginError
│  ├─ PluginConflictError
│  ├─ PluginVersionError
│  ├─ PluginLoadError
│  └─ UnsupportedError
├─ BrokerError
│  ├─ BrokerUnavailableError
│  ├─ ThrottledError
│  ├─ AccessDeniedError
│  ├─ StreamGoneError
│  ├─ PositionExpiredError
│  └─ PositionInvalidError
├─ OwnershipError
│  └─ PartitionLostError
├─ CheckpointError
│  ├─ StoreUnavailableError
│  ├─ StoreThrottledError
│  ├─ StoreNotReadyError
│  ├─ CheckpointPositionError
│  └─ FencedError (also OwnershipError)
├─ ProcessingError
│  ├─ RetriesExhaustedError
│  └─ DeadLetterError
└─ DrainTimeoutError
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AccessDeniedError",
    "BrokerError",
    "BrokerUnavailableError",
    "CheckpointError",
    "CheckpointPositionError",
    "ConfigurationError",
    "DeadLetterError",
    "DrainTimeoutError",
    "FencedError",
    "OwnershipError",
    "PartitionLostError",
    "PluginConflictError",
    "PluginLoadError",
    "PluginVersionError",
    "PositionExpiredError",
    "PositionInvalidError",
    "ProcessingError",
    "RetriesExhaustedError",
    "StoreNotReadyError",
    "StoreThrottledError",
    "StoreUnavailableError",
    "StreamGoneError",
    "StreamkitError",
    "ThrottledError",
    "UnknownPluginError",
    "UnsupportedError",
]


class StreamkitError(Exception):
    """The base of all of them. `str()` is one line for people; `fix` says what to do about it, or is empty."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


class ConfigurationError(StreamkitError, ValueError):
    """What was asked for cannot be run as it stands; nothing has been read or written yet. Exit code 2.

    `setting` is the variable's full name, `origin` where its value came from (`environment`, `.env`, a file's path, …).
    The value is part of the message only where it is not a secret.
    """

    def __init__(self, message: str, *, setting: str = "", origin: str = "", fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.setting = setting
        self.origin = origin

    def __str__(self) -> str:
        where = f" (from {self.origin})" if self.origin else ""
        subject = f"{self.setting}{where}: " if self.setting else ""
        return f"{subject}{super().__str__()}"


class UnknownPluginError(ConfigurationError):
    """No installed plugin has that name; `fix` suggests the nearest one or the distribution to install."""


class PluginConflictError(ConfigurationError):
    """Two installed plugins claim one name."""


class PluginVersionError(ConfigurationError):
    """A plugin needs another version of streamkit."""


class PluginLoadError(ConfigurationError):
    """A selected plugin could not be imported or is not what it says; the cause is kept."""


class UnsupportedError(ConfigurationError):
    """A setting or a processor needs a capability that the chosen adapter or store lacks; `fix` lists those that have it."""


class BrokerError(StreamkitError):
    """A broker's answer that is not records. `retryable`: the same call may succeed later without anybody's help."""

    retryable = False

    def __init__(self, message: str, *, broker: str = "", partition: str = "", fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.broker = broker
        self.partition = partition


class BrokerUnavailableError(BrokerError):
    """No answer, or an answer that says «not now»."""

    retryable = True


class ThrottledError(BrokerError):
    """The broker asks for patience: `retry_after` seconds, or None if it did not say how much."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, broker: str = "", partition: str = "", fix: str = "") -> None:
        super().__init__(message, broker=broker, partition=partition, fix=fix)
        self.retry_after = retry_after


class AccessDeniedError(BrokerError):
    """Credentials are wrong or lack a right; `missing` names it where the broker does."""

    def __init__(self, message: str, *, missing: str = "", broker: str = "", partition: str = "", fix: str = "") -> None:
        super().__init__(message, broker=broker, partition=partition, fix=fix)
        self.missing = missing


class StreamGoneError(BrokerError):
    """The stream does not exist, or no longer. Never taken for the end of a partition."""


class PositionExpiredError(BrokerError):
    """The position is older than what the broker still keeps; `earliest` is the oldest one that it has, as text."""

    def __init__(self, message: str, *, earliest: str = "", broker: str = "", partition: str = "", fix: str = "") -> None:
        super().__init__(message, broker=broker, partition=partition, fix=fix)
        self.earliest = earliest


class PositionInvalidError(BrokerError):
    """The position cannot be right: beyond the tip, or of another incarnation of the stream."""


class OwnershipError(StreamkitError):
    """Something was tried that only the owner of a partition may do."""


class PartitionLostError(OwnershipError):
    """The partition has left this worker; what was asked for will not happen here."""


class CheckpointError(StreamkitError):
    """A checkpoint was not written."""


class StoreUnavailableError(CheckpointError):
    """The store did not answer, or its answer is in doubt. The same checkpoint may be tried again."""


class StoreThrottledError(CheckpointError):
    """The store asks for patience."""


class StoreNotReadyError(CheckpointError):
    """The store is there but cannot take it yet (a table being made, a group that is rebalancing). Kept and tried again."""


class CheckpointPositionError(CheckpointError):
    """The position lies outside [low, high]: before the last checkpoint, or beyond what was delivered."""

    def __init__(self, message: str, *, position: object, low: object, high: object, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.position = position
        self.low = low
        self.high = high


class FencedError(CheckpointError, OwnershipError):
    """A newer owner has claimed the partition: `held` is the epoch that was shown, `current` the one that counts (None: unknown)."""

    def __init__(self, message: str, *, held: int | None = None, current: int | None = None, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.held = held
        self.current = current


class ProcessingError(StreamkitError):
    """The user's code did not finish a record: `record` is its id, `attempts` how often it was tried."""

    def __init__(self, message: str, *, record: str = "", attempts: int = 0, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.record = record
        self.attempts = attempts


class RetriesExhaustedError(ProcessingError):
    """Every attempt that the retry policy allows has failed; the last cause is kept."""


class DeadLetterError(ProcessingError):
    """A record could not be written to the dead-letter target."""


class DrainTimeoutError(StreamkitError):
    """Shutting down took longer than DRAIN_TIMEOUT; `unfinished` names the partitions whose code was still running, or whose last
    checkpoint the store had not taken. Exit code 3."""

    def __init__(self, message: str, *, unfinished: Sequence[str] = (), fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.unfinished = tuple(unfinished)
