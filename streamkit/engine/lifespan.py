"""The user's lifespan: a context manager around an app, entered and left in the user's loop; neither may take for ever.

Not a hook of the processor: there is one for the app, and its value is `context.state`. `App.live` enters and leaves it, on the
control carrier. `async def` parts run in the user's loop, `def` parts in a thread beside it.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TypeVar, cast

from streamkit.engine.runtime import Promise, Runtime, Task, is_being_stopped
from streamkit.errors import ConfigurationError

__all__ = ["LIMIT_SECONDS", "Lifespan"]

T = TypeVar("T")

LIMIT_SECONDS = 5.0
"""How long leaving may take, and entering once somebody has asked to stop."""


class Lifespan:
    """One entry and one exit of what `App(lifespan=...)` was given: a context manager, or a function that returns one."""

    def __init__(self, given: object, app: object, runtime: Runtime, report: Callable[[str, BaseException], None]) -> None:
        """`report` is told what nobody waits for any more."""
        self.state: object = None
        self._given = given
        self._app = app
        self._runtime = runtime
        self._report = report
        self._carrier = runtime.user("lifespan") if given is not None else None
        self._signal = runtime.control.signal()
        self._manager: object = None
        self._stopped = False
        self._is_entered = False
        self._is_in_thread = False
        self._is_given_up = False

    def stop(self) -> None:
        """Do not wait any longer for the entry; from any thread."""
        self._stopped = True
        self._signal.set()

    async def enter(self) -> bool:
        """False if `stop` came first: then it is not entered, or left again. Raises what it raises."""
        if self._carrier is None or self._is_stopped():
            return not self._is_stopped()
        task, entered = self._carrier.begin("lifespan", self._guarded(self._enter()))
        entered.on_done(self._signal.set)
        while not entered.done() and not self._is_stopped():
            await self._signal.wait()
        if not entered.done():
            self._carrier.post(self._interrupt, task)
            await self._see_off(entered)
            return False
        try:
            self.state = entered.result()
        except BaseException:
            self._carrier.release()
            raise
        if self._is_stopped():
            await self.leave(quietly=False)
            return False
        return True

    def _is_stopped(self) -> bool:
        return self._stopped

    async def leave(self, *, quietly: bool) -> None:
        """Raises what it raises, unless `quietly`: then there is a worse error to tell. Not over after LIMIT_SECONDS: reported."""
        if self._carrier is None:
            return
        try:
            if self._is_entered:
                await self._leave_in_time(*self._carrier.begin("lifespan", self._guarded(self._leave())))
        except Exception as error:
            if not quietly:
                raise
            self._report("leaving the lifespan", error)
        finally:
            self._carrier.release()

    async def _leave_in_time(self, task: Task, left: Promise[None]) -> None:
        if await self._is_over_in_time(left):
            left.result()
        else:
            task.cancel()
            self._report("leaving the lifespan", TimeoutError(f"not over after {LIMIT_SECONDS:g}s, given up"))

    async def _see_off(self, entered: Promise[object]) -> None:
        """It was told to stop entering. It may have got there all the same, or may not listen."""
        if not await self._is_over_in_time(entered):
            self._is_given_up = True
            self._report("entering the lifespan", TimeoutError(f"not over {LIMIT_SECONDS:g}s after the stop, given up"))
            return
        try:
            entered.result()
        except Exception as error:
            self._report("entering the lifespan", error)
        except BaseException:  # noqa: S110 - cancelled, as it was told
            pass
        await self.leave(quietly=True)

    async def _is_over_in_time(self, promise: Promise[T]) -> bool:
        signal = self._runtime.control.signal()
        promise.on_done(signal.set)
        until = self._runtime.monotonic() + LIMIT_SECONDS
        while not promise.done() and (left := until - self._runtime.monotonic()) > 0:
            await signal.wait(left)
        return promise.done()

    # -- in the user's loop ---------------------------------------------------------------------------------------

    async def _enter(self) -> object:
        self._manager = manager = self._make()
        if self._stopped:
            return None
        if hasattr(manager, "__aenter__"):
            state = await cast("AbstractAsyncContextManager[object]", manager).__aenter__()
            if self._is_given_up:
                await self._leave()
        else:
            self._is_in_thread = True
            assert self._carrier is not None
            state = await self._carrier.call_def(self._enter_here, manager)
        self._is_entered = True
        return state

    def _enter_here(self, manager: AbstractContextManager[object]) -> object:
        """In the thread: if nobody waits for it any more, nobody else can leave it."""
        state = manager.__enter__()
        if self._is_given_up:
            manager.__exit__(None, None, None)
        return state

    def _make(self) -> object:
        made = self._given
        if not hasattr(made, "__enter__") and not hasattr(made, "__aenter__"):
            function = cast("Callable[..., object]", made)
            made = function(self._app) if inspect.signature(function).parameters else function()
        if not hasattr(made, "__enter__") and not hasattr(made, "__aenter__"):
            raise ConfigurationError(f"lifespan gave {type(made).__name__}, which is no context manager")
        return made

    async def _leave(self) -> None:
        if hasattr(self._manager, "__aenter__"):
            await cast("AbstractAsyncContextManager[object]", self._manager).__aexit__(None, None, None)
        else:
            assert self._carrier is not None
            await self._carrier.call_def(cast("AbstractContextManager[object]", self._manager).__exit__, None, None, None)

    def _interrupt(self, task: Task) -> None:
        """Cancel the entry, unless it is in a thread: that would go on, and nobody would know what it has opened."""
        if not self._is_in_thread:
            task.cancel()

    async def _guarded(self, work: Awaitable[T]) -> T:
        """What is no Exception would end the loop that others use too, or look as if the engine had been cancelled."""
        try:
            return await work
        except Exception:
            raise
        except BaseException as error:
            if isinstance(error, GeneratorExit) or (not isinstance(error, KeyboardInterrupt | SystemExit) and is_being_stopped()):
                raise
            raise RuntimeError(f"the lifespan raised {type(error).__name__}") from error
