"""Keeping leases: renews what is held, loses what could not be renewed in time, and gives back what is over.

Three loops on the control thread that wait for nothing but the store and the clock, so that a slow listing or a hand-over
never costs a renewal, and a store that hangs never keeps an expired lease alive.
"""

from __future__ import annotations

from collections.abc import Callable

from streamkit.engine.checkpoint.leased_calls import Held, LeasedStoreCalls
from streamkit.engine.ownership.observation import valid_seconds
from streamkit.engine.ownership.protocol import Owner
from streamkit.engine.runtime import Runtime, Signal
from streamkit.errors import StoreUnavailableError, StreamkitError
from streamkit.model import Partition

__all__ = ["Tenure"]

RENEW_PART = 1 / 4
"""Of a lease's duration: how long after the last renewal the next one is due."""
AGAIN_PART = 1 / 20
"""How long after a renewal that failed the next one is tried."""
MIN_WAIT_SECONDS = 0.01
RELEASE_AGAIN_SECONDS = 0.5


class Tenure:
    """What one worker holds."""

    def __init__(
        self, owner: Owner, calls: LeasedStoreCalls, runtime: Runtime, lease_seconds: float, report: Callable[[str, BaseException], None]
    ) -> None:
        self.releasing: dict[Partition, Held] = {}
        """Over here, and the store has not confirmed yet that it knows."""
        self._owner = owner
        self._calls = calls
        self._runtime = runtime
        self._lease_seconds = lease_seconds
        self._report = report
        self._signal = runtime.control.signal()
        self._release_signal = runtime.control.signal()
        self._waiting: list[Signal] = []
        self._renew_at = 0.0
        self._is_renewing = False
        self._renewal_failed = False
        self._silence_reported = False
        self._release_failed = False
        self._is_over = False
        calls.on_renewed = self._renewed
        calls.on_fenced = lambda held, error: owner.lose([held.partition], f"fenced: {error}")

    def begin(self, on_task_ended: Callable[[BaseException | None], None]) -> None:
        self._runtime.control.spawn("keep-leases", self._keep(), on_task_ended)
        self._runtime.control.spawn("release-leases", self._release(), on_task_ended)

    def valid_until(self, held: Held) -> float:
        """Nobody else can own it before this, and some time after it."""
        return held.renewed_at + valid_seconds(self._lease_seconds)

    def over(self, partition: Partition) -> None:
        """Give it back, if it is still ours."""
        held = self._calls.held.get(partition)
        if held is not None and self._calls.drop(held):
            self.releasing[partition] = held
            self._release_signal.set()

    def look(self) -> None:
        """Something is held that was not."""
        self._signal.set()

    async def stop(self, seconds: float) -> None:
        """Wait until everything is given back, but not longer."""
        until = self._runtime.monotonic() + seconds
        signal = self._runtime.control.signal()
        self._waiting.append(signal)
        while self.releasing and (left := until - self._runtime.monotonic()) > 0:
            await signal.wait(left)
        self.abandon()

    def abandon(self) -> None:
        self._is_over = True
        self._signal.set()
        self._release_signal.set()

    def silence(self) -> StoreUnavailableError | None:
        """The store owes an answer for longer than a lease is good for: perhaps it never comes, and others wait behind it. From any
        thread."""
        call = self._calls.longest_unanswered()
        seconds = 0.0 if call is None else self._runtime.monotonic() - call[1]
        if call is None or seconds < valid_seconds(self._lease_seconds):
            return None
        return StoreUnavailableError(f"no answer to {call[0]!r} for {seconds:.0f}s")

    # -- renewing -------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while not self._is_over:
            now = self._runtime.monotonic()
            self._lose_expired(now)
            self._notice_silence()
            if self._calls.held and not self._is_renewing and now >= self._next_renewal():
                self._is_renewing = True
                self._runtime.control.spawn("renew", self._renew(now), self._renewal_ended)
            await self._signal.wait(self._seconds_to_next(now))

    def _next_renewal(self) -> float:
        oldest = min(held.renewed_at for held in self._calls.held.values())
        return max(oldest + self._lease_seconds * RENEW_PART, self._renew_at)

    def _notice_silence(self) -> None:
        silence = self.silence()
        if silence is not None and not self._silence_reported:
            self._report("waiting for the store", silence)
        self._silence_reported = silence is not None

    def _seconds_to_next(self, now: float) -> float:
        look_again = self._lease_seconds * RENEW_PART  # whether the store still answers
        held = self._calls.held.values()
        if not held:
            return look_again
        times = [now + look_again, min(map(self.valid_until, held))]
        if not self._is_renewing:
            times.append(self._next_renewal())
        return max(MIN_WAIT_SECONDS, min(times) - now)

    def _lose_expired(self, now: float) -> None:
        for held in [held for held in self._calls.held.values() if now >= self.valid_until(held)]:
            if self._calls.drop(held):
                self._owner.lose([held.partition], "its lease could not be renewed in time")

    async def _renew(self, now: float) -> None:
        await self._calls.renew(now - self._lease_seconds * RENEW_PART / 2)

    def _renewal_ended(self, error: BaseException | None) -> None:
        self._is_renewing = False
        if error is not None:
            self._renew_at = self._runtime.monotonic() + self._lease_seconds * AGAIN_PART
            if not self._renewal_failed and not self._is_over:
                self._report("renewing leases", error)
        self._renewal_failed = error is not None
        self._signal.set()

    def _renewed(self, held: Held) -> None:
        self._owner.extend(held.partition, self.valid_until(held))

    # -- giving back ----------------------------------------------------------------------------------------------

    async def _release(self) -> None:
        while not self._is_over:
            if not self.releasing:
                await self._release_signal.wait()
                continue
            given = list(self.releasing.values())
            try:
                await self._calls.release(given)  # an answer that it was no longer ours is as good
            except StreamkitError as error:
                if not self._release_failed:
                    self._report("releasing leases", error)
                self._release_failed = True
                await self._release_signal.wait(RELEASE_AGAIN_SECONDS)
                continue
            self._release_failed = False
            for held in given:
                if self.releasing.get(held.partition) is held:
                    del self.releasing[held.partition]
            for signal in self._waiting:
                signal.set()
