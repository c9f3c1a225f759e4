"""What the tests of the documentation share: the pages, their code blocks, and the files that blocks show."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
SNIPPETS = DOCS / "snippets"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "CHANGELOG.md",
    *sorted(DOCS.rglob("*.md")),
    *sorted(EXAMPLES.glob("*/README.md")),
]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_INCLUDE = re.compile(r'--8<-- "([^":]+)(?::(\w+))?"\n')
_SECTION = r"^[^\n]*--8<-- \[start:{0}\]\n(.*?)^[^\n]*--8<-- \[end:{0}\]"


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def include(self) -> tuple[Path, str] | None:
        """The file and the section that it shows, if it is an include and nothing else."""
        found = _INCLUDE.fullmatch(self.text)
        return None if found is None else (ROOT / found[1], found[2] or "")

    @property
    def shown(self) -> str:
        """What a reader sees."""
        return self.text if self.include is None else region(*self.include)


def blocks(*languages: str, pages: list[Path] | None = None) -> Iterator[Block]:
    for page in PAGES if pages is None else pages:
        text = page.read_text("utf-8")
        for found in _FENCE.finditer(text):
            if not languages or found["language"] in languages:
                yield Block(page, text.count("\n", 0, found.start()) + 1, found["language"], found["text"])


def region(path: Path, section: str) -> str:
    """A file, or a section of it, as pymdownx.snippets shows it (unindented)."""
    text = path.read_text("utf-8")
    if not section:
        return text
    found = re.search(_SECTION.format(section), text, re.MULTILINE | re.DOTALL)
    assert found, f"{path} has no section {section}"
    return found[1]


def environment(**variables: str) -> dict[str, str]:
    """The environment of a subprocess: none of our variables but these, and this interpreter's programs first."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMKIT_")}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | variables


def variables_of(text: str) -> dict[str, str]:
    """The `NAME=value` lines of an env file."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)  # type: ignore[arg-type]  # pairs
