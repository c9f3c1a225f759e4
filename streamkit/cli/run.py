"""`streamkit run`: import a processor and run it until it is told to stop. Everything after the import is `streamkit.app.run`."""

from __future__ import annotations

from typing import Annotated

import typer

from streamkit import app
from streamkit.assembly.telemetry import export_if_asked
from streamkit.cli.output import DOTENV, ConfigFile, examples
from streamkit.cli.target import app_of, raised_by_user_code
from streamkit.errors import StreamkitError

__all__ = ["EXAMPLES", "Target", "run"]

EXAMPLES = examples(
    "streamkit run orders:handle",
    "STREAMKIT_BROKER=memory STREAMKIT_STREAM=orders STREAMKIT_GROUP=billing streamkit run orders:handle",
    "streamkit run billing.orders:app --config production.toml",
)

Target = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:NAME",
        help="A decorated function, a Processor class, a factory without parameters, or an App; the current folder is importable.",
        show_default=False,
    ),
]


def run(context: typer.Context, target: Target, config: ConfigFile = None) -> None:
    """Run a processor. SIGTERM and Ctrl-C drain it, a second one stops at once.

    Exit code 0: drained; 1: a failure policy halted or stopped it; 2: the configuration; 3: the drain timed out.
    """
    pipeline = app_of(target)
    export_if_asked(target.partition(":")[0])
    try:
        app.run(pipeline, dotenv=DOTENV, config=config, debug=bool(context.obj))
    except StreamkitError:
        raise
    except Exception as error:  # a lifespan that raises
        raise raised_by_user_code(f"{target} failed", error) from error
