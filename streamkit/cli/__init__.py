"""The command line: `streamkit run`, `explain`, `plugins`, `partitions`, `checkpoints`, `sandbox`, `demo`.

One file a command, put together in `application.py`, which is loaded when `main` is called. Importing this package loads
neither typer nor rich.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """The entry point of the program. Ends the process with the code that the command deserves."""
    from streamkit.cli.application import execute

    sys.exit(execute(sys.argv[1:]))
