"""Health and metrics over HTTP: `/live`, `/ready`, `/status`, `/metrics`, for all apps of one `run`.

Served in a thread of its own, so that it answers when everything else hangs. It only looks: nothing can be changed from here,
and no answer holds a setting's secret, a record, or a key. Needs the extra `streamkit[status]`; imported by the app only when
STREAMKIT_STATUS_ADDRESS is set.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn import Config, Server

from streamkit.assembly.masking import masked, scrub
from streamkit.assembly.samples import samples
from streamkit.assembly.view import AppView
from streamkit.engine.runtime import LoopThread, Promise, stack_of
from streamkit.engine.status import AppStatus, PartitionStatus, not_ready
from streamkit.errors import ConfigurationError
from streamkit.settings import host_and_port
from streamkit.telemetry.metrics import exposition

__all__ = ["LIVE_SECONDS", "PATHS", "StatusPage"]

LIVE_SECONDS = 30.0
"""A control thread that has not been seen at work for so long does not come back: the process is better restarted."""
CLOSE_SECONDS = 2.0
MAX_CONNECTIONS = 100
PATHS = ("/live", "/ready", "/status", "/metrics")

_log = logging.getLogger("streamkit.status")


class StatusPage:
    """Open from its making to `close`."""

    def __init__(self, apps: Sequence[AppView], address: str) -> None:
        """Raises ConfigurationError if the address cannot be had."""
        self._apps = tuple(apps)
        self._secrets = frozenset[str]().union(*(app.secrets for app in apps))
        self._listening = _listen(address)
        host, port = self._listening.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        routes = [Route(path, self._answer(path)) for path in PATHS]
        application = Starlette(routes=routes, exception_handlers={HTTPException: _refuse})
        application.router.redirect_slashes = False
        config = Config(
            application,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        self._server = Server(config)
        self._thread = LoopThread("status")
        self._over: Promise[None] = self._thread.carrier.call("status", self._serve())
        self._over.on_done(self._ended)

    def close(self) -> None:
        """End it, within a few seconds, from any thread but its own."""
        self._server.should_exit = True
        with suppress(Exception):
            self._over.result(CLOSE_SECONDS)
        self._thread.stop(CLOSE_SECONDS)
        self._listening.close()

    async def _serve(self) -> None:
        """In a thread that is not the main one uvicorn leaves the signals alone."""
        try:
            await self._server.serve([self._listening])
        except SystemExit as end:  # its way of giving up; it would go through the loop, and end that
            raise RuntimeError(f"uvicorn exited with {end.code}") from end

    def _ended(self) -> None:
        """The apps go on without it."""
        if not self._server.should_exit:
            try:
                self._over.result(0)
            except BaseException as error:
                _log.error("the status page has ended: %s: %s", type(error).__name__, error)

    # -- answers --------------------------------------------------------------------------------------------------

    def _answer(self, path: str) -> Callable[[Request], object]:
        make: Callable[[], Response] = {
            "/live": self._live,
            "/ready": self._ready,
            "/status": self._status,
            "/metrics": self._metrics,
        }[path]

        async def answer(_: Request) -> Response:
            response = make()
            response.headers["Cache-Control"] = "no-store"
            return response

        return answer

    def _live(self) -> Response:
        """Red when a control thread hangs; its stack is the reason."""
        for app in self._apps:
            silent = app.status().silent_seconds
            if silent >= LIVE_SECONDS:
                stack = stack_of(app.control_thread)
                body = {"live": False, "reasons": [f"the engine has not been seen at work for {silent:.0f}s"], "stack": stack}
                return JSONResponse(self._safe(body), 503)
        return JSONResponse({"live": True})

    def _ready(self) -> Response:
        reasons = [reason for app in self._apps for reason in not_ready(app.status())]
        return JSONResponse(self._safe({"ready": not reasons, "reasons": reasons}), 503 if reasons else 200)

    def _status(self) -> Response:
        apps = [_app(app.status()) for app in self._apps]
        return JSONResponse(self._safe({"version": version("streamkit"), "apps": apps}))

    def _metrics(self) -> Response:
        text, content_type = exposition([sample for app in self._apps for sample in samples(app)])
        return Response(text, media_type=content_type)

    def _safe(self, value: object) -> object:
        """What users' exceptions say may hold what settings keep secret: masked, as everywhere."""
        if isinstance(value, Mapping):
            return {key: self._safe(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._safe(item) for item in value]
        return scrub(str(masked(value)), set(self._secrets)) if isinstance(value, str) else value


def _listen(address: str) -> socket.socket:
    host, port = host_and_port(address)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {address}: {_why(error)}",
            setting="STREAMKIT_STATUS_ADDRESS",
            fix="choose another port, or 0 for any that is free",
        ) from error


def _why(error: OSError) -> str:
    """Without what Python adds, which differs between its versions."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


async def _refuse(_: Request, error: Exception) -> Response:
    """404 with what there is; 405 for whatever would change something."""
    assert isinstance(error, HTTPException)
    said = "there is no such page" if error.status_code == 404 else error.detail
    return JSONResponse({"error": said, "paths": list(PATHS)}, error.status_code, headers=error.headers)


# -- JSON ----------------------------------------------------------------------------------------------------------------


def _app(status: AppStatus) -> dict[str, object]:
    reasons = not_ready(status)
    return {
        "broker": status.broker,
        "streams": list(status.streams),
        "group": status.group,
        "worker": status.worker,
        "ownership": status.ownership,
        "phase": status.phase,
        "ready": not reasons,
        "reasons": reasons,
        "uptime_seconds": round(status.uptime_seconds, 3),
        "partitions": [_partition(one) for one in status.partitions],
    }


def _partition(one: PartitionStatus) -> dict[str, object]:
    return {
        "stream": one.partition.stream,
        "partition": one.partition.id,
        "state": one.state,
        "owner": one.owner,
        "epoch": one.epoch,
        "position": str(one.position) if one.position is not None else None,
        "saved": str(one.saved) if one.saved is not None else None,
        "in_flight": one.in_flight,
        "parked": one.parked,
        "lag_records": one.lag_records,
        "lag_seconds": _rounded(one.lag_seconds),
        "problem": one.problem,
        "reason": None if one.reason is None else {name: _rounded(value) for name, value in asdict(one.reason).items()},
    }


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value
