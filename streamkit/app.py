"""An app: a processor, what it reads, and its life in this process. `run` for programs, `App.serve` for somebody else's loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from streamkit.assembly.parts import Assembled, assemble, load_settings
from streamkit.assembly.registry import Registry
from streamkit.assembly.targets import code_of
from streamkit.assembly.telemetry import flush_seconds, flush_telemetry, instrument
from streamkit.assembly.view import AppView, page_address
from streamkit.engine.lifespan import Lifespan
from streamkit.engine.runtime import Promise, Runtime, Task, ThreadRuntime
from streamkit.engine.status import PartitionStatus
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.errors import ConfigurationError, DrainTimeoutError, StreamkitError
from streamkit.plugin import Observer
from streamkit.settings import Settings
from streamkit.telemetry.logs import LogObserver, set_up_logs
from streamkit.telemetry.metrics import EventCounts, check_installed

if TYPE_CHECKING:  # its packages are an extra
    from streamkit.status import StatusPage

__all__ = ["App", "code_of", "complain", "importing", "run"]

LOOK_UP_SECONDS = 0.2

_log = logging.getLogger("streamkit")

_DEFAULT_THRESHOLD = 2000
"""CPython's own is 700, or 2000 from 3.13 on."""
_CALM_THRESHOLD = 50_000

_importing = threading.local()
"""Set while `streamkit run` imports a user's module: `run()` called there would start it twice."""


class App:
    """One processor on the streams of one group.

    `settings` or keyword `overrides` win over the environment: `App(handle, stream="orders", kafka={"bootstrap_servers": …})`.
    `lifespan` is a context manager, or a function that takes the app (or nothing) and returns one, sync or async; its value is
    `context.state`, one for the whole process. Settings are read when the app starts, never before.
    """

    def __init__(
        self,
        target: object,
        /,
        *,
        settings: Settings | None = None,
        lifespan: Callable[..., object] | object | None = None,
        **overrides: object,
    ) -> None:
        self.code = code_of(target)
        self.overrides: dict[str, object] = {}
        """Settings that were given in code, by name."""
        if settings is not None:
            self.overrides.update({name: getattr(settings, name) for name in settings.model_fields_set})
        self.overrides.update(overrides)
        self._lifespan = lifespan
        self._counts = EventCounts()
        self._observers: list[Observer] = [LogObserver(), self._counts]
        self.renew()

    def renew(self) -> None:
        """Let it run once more, as if it had never run; not while it runs."""
        self._has_run = False
        self._stop_reason: str | None = None
        self._told_at: float | None = None
        self._entering: Lifespan | None = None
        self._supervisor: Supervisor | None = None
        self._view: AppView | None = None
        self._is_abandoned = self._is_cut = False
        self._cut: Callable[[], None] | None = None

    @property
    def was_told_to_stop(self) -> bool:
        """By `stop` or a signal; not by its own STOP setting."""
        return self._stop_reason is not None

    def observe(self, observer: Observer) -> None:
        """Tell `observer` what happens; before the start."""
        self._observers.append(observer)

    def stop(self, reason: str = "app.stop()") -> None:
        """Drain and end, from any thread; before the start it prevents it."""
        self._stop_reason = self._stop_reason or reason
        self._told_at = self._told_at or time.monotonic()
        if self._entering is not None:
            self._entering.stop()
        if self._supervisor is not None:
            self._supervisor.stop(reason)

    def abandon(self) -> None:
        """End as if this process had died: nothing saved, no hook called, the group not told. For demos and tests."""
        self._is_abandoned = True
        self._stop_reason = self._stop_reason or "abandoned"
        if self._entering is not None:
            self._entering.stop()
        if self._cut is not None:
            self._cut()

    def _flush_seconds(self) -> float:
        """How long telemetry may keep the process from ending, now that this app has ended."""
        draining = time.monotonic() - self._told_at if self._told_at is not None else 0.0
        return flush_seconds(self._view.drain_seconds if self._view is not None else 0.0, draining)

    def snapshot(self) -> list[PartitionStatus]:
        """The partitions of this worker as they stand; empty before the start."""
        return self._supervisor.snapshot() if self._supervisor is not None else []

    @property
    def exit_code(self) -> int:
        """0 drained, 1 a failure policy halted or stopped."""
        return self._supervisor.exit_code if self._supervisor is not None else 0

    @property
    def is_started(self) -> bool:
        """Whether broker and store have answered: an error before that is one of the set-up."""
        return self._supervisor is not None and self._supervisor.is_started

    async def serve(self) -> None:
        """Run in the caller's loop until `stop`; no signal handlers are installed. Once for each App.

        `async def` hooks run in this loop, `def` hooks in threads. Raises what `run` would turn into an exit code. Cancelling it
        drains first; cancelling it again ends at once: nothing more is saved, `async def` code that still runs is cancelled.
        (anyio's scopes cancel again and again; there, call `stop` and let it return.)
        """
        self._begin(look_only=True)
        runtime = ThreadRuntime(user_loop=asyncio.get_running_loop())
        page: StatusPage | None = None
        try:
            assembled = self.assemble(runtime)
            if (page := _open_page([self], [assembled])) is not None:
                _log.info("status page on %s", page.url)
            self._begin()
            life = runtime.control.call("app", self.live(assembled, runtime))
            cancelled = await _outlast(life, lambda times: self.stop("cancelled") if times == 1 else self.abandon())
        finally:
            stopped = runtime.thread("stop").call("stop", _stop(runtime, page))
            cancelled_late = await _outlast(stopped, lambda _: None)
        life.result()
        if cancelled := cancelled or cancelled_late:
            raise cancelled

    def _begin(self, *, look_only: bool = False) -> None:
        """Take the one run that an App has: `ConfigurationError` if it is taken."""
        if self._has_run:
            raise ConfigurationError("an App runs once, and this one has run", fix="make a new App for each run")
        self._has_run = not look_only

    def assemble(
        self, runtime: Runtime, *, dotenv: Path | None = None, config: Path | None = None, registry: Registry | None = None
    ) -> Assembled:
        """Read the settings and make the adapters. Raises `ConfigurationError`; nothing is connected yet."""
        registry = registry or Registry()
        loaded = load_settings(registry, overrides=self.overrides, dotenv=dotenv, config=config)
        assembled = assemble(loaded, registry, self.code, self._observers, runtime)
        self._view = AppView(loaded, assembled.parts, self._counts, runtime)
        return assembled

    async def live(self, assembled: Assembled, runtime: Runtime) -> None:
        """From the lifespan's entry to its exit, on the control carrier of `runtime`."""
        try:
            await self._live(assembled, runtime)
        finally:
            if self._view is not None:
                self._view.is_over = True
            await assembled.observers.close()

    async def _live(self, assembled: Assembled, runtime: Runtime) -> None:
        parts = assembled.parts
        self._entering = lifespan = Lifespan(self._lifespan, self, runtime, parts.observer.on_problem)
        if self._stop_reason is not None or not await lifespan.enter():
            return
        failed = True
        try:
            parts.state = lifespan.state
            await self._supervise(parts, runtime)
            failed = False
        finally:
            assembled.stop()
            await runtime.vacate()  # late code first: it may use what the lifespan is about to close
            await lifespan.leave(quietly=failed)

    async def _supervise(self, parts: Parts, runtime: Runtime) -> None:
        if self._view is not None:
            instrument(parts, self._view)  # now, because the lifespan may have set up OpenTelemetry
        supervisor = Supervisor(parts, runtime)
        task, life = runtime.control.begin("supervisor", supervisor.run())
        self._cut = lambda: runtime.control.post(self._cut_off, supervisor, task)
        self._supervisor = supervisor
        if self._view is not None:
            self._view.health = supervisor.health
        if self._stop_reason is not None:  # it came a moment ago, and found no supervisor
            supervisor.stop(self._stop_reason)
        if self._is_abandoned:
            self._cut()
        try:
            await life
        except asyncio.CancelledError:
            if not self._is_cut:
                raise

    def _cut_off(self, supervisor: Supervisor, task: Task) -> None:
        """Abandoned: there is nothing to wait for, neither running code nor a broker that does not answer. Closing goes on."""
        if self._is_cut:
            return
        self._is_cut = True
        supervisor.abandon()
        if supervisor.assignments or not supervisor.is_started:  # else it closes already, or is about to
            task.cancel()


async def _stop(runtime: Runtime, page: StatusPage | None) -> None:
    if page is not None:
        page.close()
    runtime.stop()


def _open_page(apps: Sequence[App], assembled: Sequence[Assembled]) -> StatusPage | None:
    """One page with all of them, if any of them wants one. Raises ConfigurationError if it cannot be had."""
    if (address := page_address([one.parts.settings for one in assembled])) is None:
        return None
    check_installed()
    from streamkit.status import StatusPage

    return StatusPage([app._view for app in apps if app._view is not None], address)


async def _outlast(promise: Promise[None], on_cancel: Callable[[int], None]) -> asyncio.CancelledError | None:
    """Wait for it whatever comes. The caller's cancellations are counted for `on_cancel`; the last of them is returned."""
    times, last = 0, None
    while not promise.done():
        try:
            await promise
        except asyncio.CancelledError as cancelled:
            times, last = times + 1, cancelled
            on_cancel(times)
        except Exception:  # noqa: S110 - the caller looks at the result
            pass
    return last


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """While `streamkit run` imports a user's module."""
    _importing.on = True
    try:
        yield
    finally:
        _importing.on = False


def run(*apps: App, dotenv: Path | None = None, config: Path | None = None, debug: bool = False) -> None:
    """Run apps until they stop or a signal comes: SIGTERM and Ctrl-C drain, a second one stops at once.

    Blocks, and owns the signals. Returns when everything was drained; otherwise raises SystemExit: 1 a failure policy halted
    or stopped, 2 configuration, 3 the drain timed out; of several apps the highest, and the first to fail stops the others.
    Errors go to stderr, one line and a hint; with `debug` a traceback too. What a lifespan raises is raised here in the end.
    """
    if not apps:
        raise ConfigurationError("run() was given no app", fix='run(App(handle, stream="orders"))')
    for app in apps:
        app._begin(look_only=True)
    if getattr(_importing, "on", False):
        raise ConfigurationError(
            "run() was called while `streamkit run` imports this module", fix='put it under `if __name__ == "__main__":`'
        )
    code = _run(apps, dotenv, config, debug)
    if code:
        sys.stdout.flush()
        sys.stderr.flush()
        if code == 3:
            os._exit(3)  # code still runs in a thread, and may keep the interpreter from ending
        raise SystemExit(code)


def _calm_collector() -> None:
    """Let the cyclic collector look less often, unless the program has set it itself.

    Records come and go by the million and form no cycles, yet with CPython's default every 700 of them cost a collection:
    a fifth of the time of a fast consumer (docs/performance.md). Only `run` does this: it owns the process.
    """
    if gc.isenabled() and gc.get_threshold()[0] <= _DEFAULT_THRESHOLD:
        gc.set_threshold(_CALM_THRESHOLD, *gc.get_threshold()[1:])


def _run(apps: tuple[App, ...], dotenv: Path | None, config: Path | None, debug: bool) -> int:
    runtime = ThreadRuntime()
    page: StatusPage | None = None
    _calm_collector()
    try:
        assembled = [app.assemble(runtime, dotenv=dotenv, config=config) for app in apps]
        _check_twice(assembled)
        page = _open_page(apps, assembled)
        for app in apps:
            app._begin()
        set_up_logs(assembled[0].parts.settings.log_format)
        for one in assembled:
            for warning in one.loaded.warnings:
                print(f"streamkit: warning: {warning}", file=sys.stderr)
            print(one.contract, file=sys.stderr)
        if page is not None:
            print(f"streamkit: status page on {page.url}", file=sys.stderr)
        with _signals(apps):
            lives = [runtime.control.call("app", app.live(one, runtime)) for app, one in zip(apps, assembled, strict=True)]
            return _outlive(apps, lives, debug)
    except StreamkitError as error:
        complain(error, debug=debug)
        return 2
    finally:
        if page is not None:
            page.close()
        runtime.stop()
        flush_telemetry(min(app._flush_seconds() for app in apps))


def _check_twice(assembled: list[Assembled]) -> None:
    seen = set()
    for one in assembled:
        settings = one.parts.settings
        for stream in settings.stream:
            key = (settings.broker, stream, settings.group)
            if key in seen:
                raise ConfigurationError(
                    f"two apps read {stream} from {settings.broker} as group {settings.group}", fix="give each its own group"
                )
            seen.add(key)


def _outlive(apps: tuple[App, ...], lives: list[Promise[None]], debug: bool) -> int:
    """Until all have ended, whichever does first: one that fails stops the others. The highest of their codes."""
    over: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number, life in enumerate(lives):
        life.on_done(functools.partial(over.put, number))
    codes: list[int] = []
    strange: list[Exception] = []
    while len(codes) < len(apps):
        # Look up now and then: a signal that comes just before the main thread blocks in a lock would wake nobody.
        with contextlib.suppress(queue.Empty):
            number = over.get(timeout=LOOK_UP_SECONDS)
            try:
                codes.append(_outcome(apps[number], lives[number], debug))
            except Exception as error:
                strange.append(error)
                codes.append(1)
                if len(codes) < len(apps):  # said now: the others may take their time to drain
                    print(f"streamkit: {type(error).__name__}: {error}", file=sys.stderr)
            if codes[-1]:
                for app in apps:
                    if app is not apps[number]:
                        app.stop("another app failed")
    if strange and max(codes) == 1:
        raise strange[0]
    for one in strange:
        traceback.print_exception(one)
    return max(codes)


def _outcome(app: App, life: Promise[None], debug: bool) -> int:
    """The exit code of one that has ended. Raises what is no error of ours."""
    try:
        life.result()
    except DrainTimeoutError as error:
        complain(error, debug=debug)
        return 3
    except StreamkitError as error:
        complain(error, debug=debug)
        return 1 if app.is_started and not isinstance(error, ConfigurationError) else 2
    return app.exit_code


def complain(error: StreamkitError, *, debug: bool = False) -> None:
    """What people are told of an error: one line and a hint on stderr, the traceback only on request."""
    if debug:
        traceback.print_exception(error)
    for line in str(error).splitlines():
        print(f"streamkit: {line}", file=sys.stderr)
    if error.fix:
        print(f"  fix: {error.fix}", file=sys.stderr)


@contextlib.contextmanager
def _signals(apps: tuple[App, ...]) -> Iterator[None]:
    """The first signal drains, the second ends the process at once."""
    came = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal came
        if came:
            os._exit(128 + number)
        came = True
        print(f"streamkit: {signal.Signals(number).name}, draining; once more stops at once", file=sys.stderr)
        for app in apps:
            app.stop("shutdown")

    before: Mapping[signal.Signals, object] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
