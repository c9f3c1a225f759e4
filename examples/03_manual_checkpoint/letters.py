"""Puts lines together into letters: a letter is done when its last line has come, and only then may the checkpoint move.

`checkpoint = "manual"` says so: what has returned is not yet done, and `context.checkpoint` says what is. After a crash the
lines of an unfinished letter come again, from its first one.
"""

from pathlib import Path
from typing import ClassVar, Literal

from streamkit import Batch, Context, Processor


class Letters(Processor):
    """Writes each letter into a file that is named after its first line, so that writing it twice does no harm."""

    checkpoint: ClassVar[Literal["automatic", "manual"]] = "manual"
    folder = Path("letters")

    def initialize(self, context: Context) -> None:
        self.folder.mkdir(exist_ok=True)
        self.lines: list[bytes] = []
        self.name = ""

    def process(self, batch: Batch, context: Context) -> None:
        for record in batch:
            if not self.lines:
                self.name = record.id.replace("/", "-")
            self.lines.append(record.value or b"")
            if record.value == b"Yours":
                (self.folder / self.name).write_bytes(b"\n".join(self.lines))
                self.lines.clear()
                context.checkpoint(record.position)
