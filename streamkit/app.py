"""An app: a processor, what it reads, and its life in this process. `run` for programs, `App.serve` for somebody else's loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import cast

from streamkit.assembly.parts import Assembled, assemble, load_settings
from streamkit.assembly.registry import Registry
from streamkit.engine.delivery.call import Code
from streamkit.engine.runtime import Promise, Runtime, ThreadRuntime
from streamkit.engine.status import PartitionStatus
from streamkit.engine.supervisor import Supervisor
from streamkit.errors import ConfigurationError, DrainTimeoutError, StreamkitError
from streamkit.plugin import Observer
from streamkit.processing import Processor, facts_of
from streamkit.settings import Settings
from streamkit.telemetry.logs import LogObserver, set_up_logs

__all__ = ["App", "code_of", "complain", "importing", "run"]

LOOK_UP_SECONDS = 0.2

Lifespan = Callable[..., object]

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
        lifespan: Lifespan | object | None = None,
        **overrides: object,
    ) -> None:
        self.code = code_of(target)
        self.overrides: dict[str, object] = {}
        """Settings that were given in code, by name."""
        if settings is not None:
            self.overrides.update({name: getattr(settings, name) for name in settings.model_fields_set})
        self.overrides.update(overrides)
        self._lifespan = lifespan
        self._observers: list[Observer] = [LogObserver()]
        self._supervisor: Supervisor | None = None
        self._stop_reason: str | None = None

    def observe(self, observer: Observer) -> None:
        """Tell `observer` what happens; before the start."""
        self._observers.append(observer)

    def stop(self, reason: str = "app.stop()") -> None:
        """Drain and end, from any thread; before the start it prevents it."""
        self._stop_reason = reason
        if self._supervisor is not None:
            self._supervisor.stop(reason)

    def abandon(self) -> None:
        """End as if this process had died: nothing saved, no hook called, the group not told. For demos and tests."""
        if self._supervisor is not None:
            self._supervisor.abandon()

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
        """Run in the caller's loop until `stop`; no signal handlers are installed. Cancelling it drains first.

        `async def` hooks run in this loop, `def` hooks in threads. Raises what `run` would turn into an exit code.
        """
        runtime = ThreadRuntime(user_loop=asyncio.get_running_loop())
        try:
            promise = runtime.control.call("app", self.live(self.assemble(runtime), runtime))
            try:
                await asyncio.shield(_as_future(promise))
            except asyncio.CancelledError:
                self.stop("cancelled")
                await promise
                raise
        finally:
            await asyncio.to_thread(runtime.stop)

    def assemble(
        self, runtime: Runtime, *, dotenv: Path | None = None, config: Path | None = None, registry: Registry | None = None
    ) -> Assembled:
        """Read the settings and make the adapters. Raises `ConfigurationError`; nothing is connected yet."""
        registry = registry or Registry()
        loaded = load_settings(registry, overrides=self.overrides, dotenv=dotenv, config=config)
        return assemble(loaded, registry, self.code, self._observers, runtime)

    async def live(self, assembled: Assembled, runtime: Runtime) -> None:
        """From the lifespan's entry to its exit, on the control carrier of `runtime`."""
        if self._stop_reason is not None:
            return
        state, leave = await self._enter_lifespan(runtime)
        assembled.parts.state = state
        supervisor = Supervisor(assembled.parts, runtime)
        self._supervisor = supervisor
        self._pass_on_stop(supervisor)
        try:
            await supervisor.run()
        finally:
            assembled.stop()
            await leave()

    def _pass_on_stop(self, supervisor: Supervisor) -> None:
        """`stop` may have come while the lifespan was being entered."""
        if self._stop_reason is not None:
            supervisor.stop(self._stop_reason)

    async def _enter_lifespan(self, runtime: Runtime) -> tuple[object, Callable[[], Promise[object]]]:
        manager = self._lifespan
        if manager is not None and not hasattr(manager, "__enter__") and not hasattr(manager, "__aenter__"):
            function = cast("Lifespan", manager)
            manager = function(self) if inspect.signature(function).parameters else function()
        carrier = runtime.user("lifespan") if manager is not None else runtime.control
        if hasattr(manager, "__aenter__"):
            entered = cast("contextlib.AbstractAsyncContextManager[object]", manager)
            state = await carrier.call("lifespan", entered.__aenter__())
            return state, lambda: carrier.call("lifespan", entered.__aexit__(None, None, None))
        if manager is None:
            return None, lambda: carrier.call("lifespan", _nothing())
        if not hasattr(manager, "__enter__"):
            raise ConfigurationError(f"lifespan gave {type(manager).__name__}, which is no context manager")
        plain = cast("contextlib.AbstractContextManager[object]", manager)
        state = await carrier.call("lifespan", carrier.call_def(plain.__enter__))
        return state, lambda: carrier.call("lifespan", carrier.call_def(plain.__exit__, None, None, None))


async def _nothing() -> None:
    return None


def _as_future(promise: Promise[object] | Promise[None]) -> asyncio.Future[object]:
    async def wait() -> object:
        return await promise

    return asyncio.ensure_future(wait())


def code_of(target: object) -> Code:
    """What may be called: a decorated function, a `Processor` class, or a factory of processors.

    Raises `ConfigurationError` that says which decorator is missing.
    """
    name = getattr(target, "__qualname__", f"a value of type {type(target).__name__}")
    facts = facts_of(target)
    if isinstance(target, type) and facts is not None:
        _check_constructor(target, name)
        return Code(facts, factory=cast("Callable[[], Processor]", target), name=name)
    if facts is not None and callable(target) and not isinstance(target, Processor):
        _check_parameters(target, facts.by, name)
        return Code(facts, function=target, name=name)
    if inspect.isfunction(target) and not inspect.signature(target).parameters:
        made = target()
        if isinstance(made, App):
            return made.code
        if (facts := facts_of(made)) is not None and isinstance(made, Processor):
            return Code(facts, factory=target, name=name)
    if isinstance(target, Processor):
        raise ConfigurationError(
            f"{type(target).__name__} is given as one processor object, but every assignment needs its own",
            fix="give the class, or a factory",
        )
    raise ConfigurationError(
        f"{name} is not a processor",
        fix="put @record_processor (one record a call) or @processor (a batch a call) above it, or give a Processor class",
    )


def _check_constructor(factory: type, name: str) -> None:
    try:
        inspect.signature(factory).bind()
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{name} cannot be made without arguments, and every assignment makes one",
            fix=f"give a function without parameters that returns {name}(...)",
        ) from None


def _check_parameters(function: Callable[..., object], by: str, name: str) -> None:
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name} cannot be called with ({by}, context)", fix=f"write def {name}({by}, context)") from None


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
    or stopped, 2 configuration, 3 the drain timed out. Errors go to stderr, one line and a hint; with `debug` a traceback too.
    """
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
    _calm_collector()
    try:
        assembled = [app.assemble(runtime, dotenv=dotenv, config=config) for app in apps]
        _check_twice(assembled)
        if assembled:
            set_up_logs(assembled[0].parts.settings.log_format)
        for one in assembled:
            for warning in one.loaded.warnings:
                print(f"streamkit: warning: {warning}", file=sys.stderr)
            print(one.contract, file=sys.stderr)
        with _signals(apps):
            promises = [runtime.control.call("app", app.live(one, runtime)) for app, one in zip(apps, assembled, strict=True)]
            return max((_outcome(app, apps, promise, debug) for app, promise in zip(apps, promises, strict=True)), default=0)
    except StreamkitError as error:
        complain(error, debug=debug)
        return 2
    finally:
        runtime.stop()


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


def _outcome(app: App, apps: tuple[App, ...], promise: Promise[None], debug: bool) -> int:
    try:
        _wait(promise)
    except StreamkitError as error:
        complain(error, debug=debug)
        for other in apps:
            other.stop("another app failed")
        if isinstance(error, DrainTimeoutError):
            return 3
        return 1 if app.is_started and not isinstance(error, ConfigurationError) else 2
    return app.exit_code


def _wait(promise: Promise[None]) -> None:
    """Wait, and look up now and then: a signal that comes just before the main thread blocks in a lock would wake nobody."""
    while not promise.done():
        with contextlib.suppress(TimeoutError):
            promise.result(LOOK_UP_SECONDS)
    promise.result()


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
