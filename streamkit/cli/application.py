"""Puts the commands together, and turns whatever they raise into one line, a hint and an exit code.

0 done; 1 it could not be done; 2 the configuration is wrong, or something is missing or cannot be reached; 3 the drain
timed out; 130 Ctrl-C. A traceback is shown only with `--debug`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from streamkit.app import complain
from streamkit.cli import checkpoints, dead_letters, demo, explain, partitions, plugins, run, sandbox
from streamkit.errors import (
    BrokerError,
    ConfigurationError,
    StoreNotReadyError,
    StoreThrottledError,
    StoreUnavailableError,
    StreamkitError,
)

__all__ = ["application", "execute"]

_SET_UP = (ConfigurationError, BrokerError, StoreUnavailableError, StoreThrottledError, StoreNotReadyError)

application = typer.Typer(
    name="streamkit",
    help="One processor, any partitioned log.",
    epilog="Settings are variables such as STREAMKIT_BROKER=kafka, lines of ./.env, or a TOML file: `streamkit explain` shows them.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
application.command("run", epilog=run.EXAMPLES)(run.run)
application.command("demo", epilog=demo.EXAMPLES)(demo.demo)
application.command("explain", epilog=explain.EXAMPLES)(explain.explain)
application.command("plugins", epilog=plugins.EXAMPLES)(plugins.plugins)
application.command("partitions", epilog=partitions.EXAMPLES)(partitions.partitions)
application.add_typer(checkpoints.application, name="checkpoints")
application.add_typer(dead_letters.application, name="dead-letters")
application.command("sandbox", epilog=sandbox.EXAMPLES)(sandbox.sandbox)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"streamkit {version('streamkit')}")
        raise typer.Exit


@application.callback(invoke_without_command=True)
def _begin(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks. Also understood after the command.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def execute(arguments: Sequence[str]) -> int:
    """Run one command. The exit code."""
    words, debug = _take_debug(arguments)
    try:
        code = application(args=words, prog_name="streamkit", standalone_mode=False, obj=debug)
        sys.stdout.flush()
    except StreamkitError as error:
        complain(error, debug=debug)
        return 2 if isinstance(error, _SET_UP) else 1
    except SystemExit as end:  # `streamkit.app.run` has said everything itself
        return end.code if isinstance(end.code, int) else 1
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:  # `streamkit … | head`: whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _complain_of_usage(error, debug)
    return code if isinstance(code, int) else 0


def _take_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """`--debug` may stand anywhere, but not behind `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = [word for word in arguments[:end] if word != "--debug"]
    return [*words, *arguments[end:]], len(words) < end


def _complain_of_usage(error: Exception, debug: bool) -> int:
    """An option or argument that typer refuses. What is neither that nor ours is a mistake in streamkit, and shown whole."""
    explain_usage = getattr(error, "format_message", None)  # the class has moved between versions of typer
    if explain_usage is None:
        raise error
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "streamkit"
    message = " ".join(str(explain_usage()).split())
    complain(ConfigurationError(message, fix=f"`{command} --help` shows what it takes"), debug=debug)
    return 2
