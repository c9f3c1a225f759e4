"""What commands write: tables for people, JSON for programs. Both to stdout; remarks go to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DOTENV", "ConfigFile", "JsonFlag", "examples", "print_json", "print_table", "remark"]

DOTENV = Path(".env")
"""Read by the command line only, from the current folder."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Write JSON for programs to stdout.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A TOML file with settings; the environment and .env win over it."),
]


def examples(*lines: str) -> str:
    """An epilog for `--help`, one example a line."""
    return "\n\n".join(("Examples:", *lines))


def print_json(value: object) -> None:
    """One JSON document, indented, in the order of the names given."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def remark(text: str) -> None:
    """Something beside the answer, so that stdout stays clean for programs."""
    print(f"streamkit: {text}", file=sys.stderr)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table that fits a terminal; plain columns, never cut, where stdout is a file or a pipe."""
    if not sys.stdout.isatty():
        _print_columns(columns, rows)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _print_columns(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [columns, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
