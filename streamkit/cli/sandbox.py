"""`streamkit sandbox`: a real or faithful server on loopback, its settings ready to paste. It lives until Ctrl-C.

The servers are those of the distribution streamkit-sandbox, which is no dependency: it is imported when the command runs.
"""

from __future__ import annotations

import importlib
import logging
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer

from streamkit.assembly.suggestions import closest
from streamkit.cli.output import JsonFlag, examples, print_json, print_table, remark
from streamkit.errors import ConfigurationError

__all__ = ["EXAMPLES", "sandbox"]

EXAMPLES = examples("streamkit sandbox --list", "streamkit sandbox kafka --stream orders --partitions 12")

LOOK_UP_SECONDS = 0.5
_INSTALL = "pip install 'streamkit[sandbox]'"


def sandbox(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which server: see --list.", show_default=False)] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the servers.")] = False,
    stream: Annotated[str | None, typer.Option(help="Make this stream (a topic of Kafka, an event hub).", show_default=False)] = None,
    partitions: Annotated[int, typer.Option(min=1, max=1000, help="How many partitions that stream gets.")] = 4,
    folder: Annotated[Path | None, typer.Option(help="Keep its data in this folder, for a later start.", show_default=False)] = None,
    as_json: JsonFlag = False,
) -> None:
    """Start a local server, print its settings, and keep it until Ctrl-C. The first start may download it."""
    servers = _servers()
    if show_list or name is None:
        _show(servers, as_json)
        return
    if name not in servers:
        near = closest(name, servers)
        fix = f"did you mean {near}?" if near else "`streamkit sandbox --list` shows the servers"
        raise ConfigurationError(f"there is no server {name!r} in the sandbox", fix=fix)
    server_kind = servers[name]
    if stream is not None and server_kind.create_stream is None:
        raise ConfigurationError(f"--stream={stream}: {name} holds no streams", fix="leave it out")
    if folder is not None and server_kind.start_in is None:
        raise ConfigurationError(f"--folder={folder}: {name} keeps no data", fix="leave it out")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, with the server
    _show_progress()
    with _told_as_ours(), server_kind.start() if folder is None else server_kind.start_in(folder.absolute()) as server:
        settings = dict(server.settings())
        if server_kind.store is not None:
            settings |= server_kind.store(server)
        if stream is not None:
            server_kind.create_stream(server, stream, partitions)
            settings |= {"STREAMKIT_STREAM": stream, "STREAMKIT_GROUP": "sandbox"}
        _show_settings(settings, as_json)
        remark(f"{name} runs until Ctrl-C; paste these lines into another terminal")
        if server_kind.store is not None:
            file = "a file that ends with it" if folder is None else "a file in that folder"
            remark(
                f"checkpoints go to {file}; for others, paste a store's lines after these (`streamkit sandbox {server_kind.other_store}`)"
            )
        told = Event()
        with suppress(KeyboardInterrupt):
            while True:  # a signal that comes just before a wait begins is seen when it ends
                told.wait(LOOK_UP_SECONDS)
        remark(f"stopping {name}")


def _servers() -> Mapping[str, Any]:
    """The catalogue of streamkit-sandbox. Raises ConfigurationError if it is not installed."""
    try:
        catalog = importlib.import_module("streamkit_sandbox.catalog")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("streamkit_sandbox"):
            raise ConfigurationError("the sandbox is not installed", fix=_INSTALL) from None
        raise ConfigurationError(f"the sandbox cannot be loaded: {error}", fix=_INSTALL) from error
    servers: Mapping[str, Any] = catalog.SERVERS
    return servers


def _show(servers: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json([{"name": server.name, "description": server.description} for server in servers.values()])
    else:
        print_table(("server", "what it is"), [(server.name, server.description) for server in servers.values()])


def _show_settings(settings: Mapping[str, str], as_json: bool) -> None:
    if as_json:
        print_json(dict(settings))
    else:
        for variable, value in settings.items():
            print(f"export {variable}={shlex.quote(value)}")
    sys.stdout.flush()


def _show_progress() -> None:
    """The first start fetches files for up to a minute: what the sandbox says about it goes to stderr."""
    logger = logging.getLogger("streamkit_sandbox")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("streamkit: %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)


@contextmanager
def _told_as_ours() -> Iterator[None]:
    """The sandbox has errors of its own, because it can be used without streamkit."""
    errors = importlib.import_module("streamkit_sandbox.errors")
    try:
        yield
    except errors.ServerUnavailableError as error:
        raise ConfigurationError(f"{error.server} is not available here: {error.cause}", fix=error.fix) from error
    except errors.SandboxError as error:
        raise ConfigurationError(str(error)) from error
