"""One app as the status page sees it: from before its start to after its end. Made by `App`; asked from any thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamkit.assembly.loaded import Loaded
from streamkit.assembly.masking import secret_texts
from streamkit.engine.health import Health
from streamkit.engine.runtime import Runtime
from streamkit.engine.status import AppStatus
from streamkit.engine.supervisor import Parts
from streamkit.engine.tally import Totals
from streamkit.errors import ConfigurationError
from streamkit.model import Partition
from streamkit.settings import Settings
from streamkit.telemetry.metrics import EventCounts

__all__ = ["AppView", "page_address"]


class AppView:
    """Empty until the app has a supervisor."""

    def __init__(self, loaded: Loaded, parts: Parts, counts: EventCounts, runtime: Runtime) -> None:
        self.counts = counts
        self.health: Health | None = None
        """Set when the supervisor is there."""
        self.is_over = False
        """Set when the app has ended."""
        self.secrets = _secrets(loaded)
        """What no answer may hold."""
        self._parts = parts
        self._runtime = runtime
        self._made_at = runtime.monotonic()
        counts.monotonic = runtime.monotonic

    def status(self) -> AppStatus:
        """How it stands now."""
        if self.health is not None and not self.is_over:
            return self.health.status()
        settings = self._parts.settings
        return AppStatus(
            broker=settings.broker,
            streams=settings.stream,
            group=settings.group,
            worker=self._parts.worker_name,
            ownership=self._parts.ownership,
            phase="over" if self.is_over else "starting",
            uptime_seconds=self._runtime.monotonic() - self._made_at,
            silent_seconds=0.0,
            partitions=(),
        )

    @property
    def drain_seconds(self) -> float:
        """What its drain may take."""
        return self._parts.settings.drain_timeout.total_seconds()

    def totals(self) -> Mapping[Partition, Totals]:
        """What has been done so far."""
        return self.health.totals() if self.health is not None else {}

    def saves(self) -> tuple[int, float]:
        """How many saves of checkpoints have ended, and the seconds that they took."""
        return self.health.saves() if self.health is not None else (0, 0.0)

    @property
    def control_thread(self) -> int | None:
        """Whose stack is of interest when the engine hangs."""
        return self.health.watchdog.control_thread if self.health is not None else None


def page_address(several: Iterable[Settings]) -> str | None:
    """Where the page of these apps is; None: nobody wants one. Raises ConfigurationError if they do not agree."""
    addresses = {settings.status_address for settings in several if settings.status_address is not None}
    if len(addresses) > 1:
        raise ConfigurationError(
            f"apps of one run share one status page, but they name {' and '.join(sorted(addresses))}",
            setting="STREAMKIT_STATUS_ADDRESS",
            fix="give all of them the same, or only one of them",
        )
    return addresses.pop() if addresses else None


def _secrets(loaded: Loaded) -> frozenset[str]:
    """Every secret text of the settings that are in use."""
    found: set[str] = set()
    for section in (loaded.settings, *loaded.sections.values()):
        for name, field in type(section).model_fields.items():
            found |= secret_texts(getattr(section, name), field)
    return frozenset(found)
