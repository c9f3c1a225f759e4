"""A program of its own that the KCL's daemon starts for each shard that it holds; `kcl.KclDaemon` reads what it notes.

It speaks the daemon's protocol, one JSON object a line: a message comes in, `status` goes out, and between the two it may
ask for checkpoints. Every record and everything that happens is a line of `<folder>/<process id>.jsonl`, written before
the daemon is answered, so what was delivered is known however this process ends. `time` is the machine's monotonic clock, in
nanoseconds. Standard library only: it runs with -I -S.

Its argument is a file with an order: `folder`; `every`, how many records lie between two checkpoints (0: one at the end
of each batch); `freeze_after`, after how many records of this shard it stops saying checkpoints (null: never); and
`freeze_inside`, which lets it stop inside an aggregate only.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]


class Child:
    """One shard's process. `hear` returns the daemon's next message, None at the end; `say` sends one; `note` keeps a line."""

    def __init__(
        self, order: Message, hear: Callable[[], Message | None], say: Callable[[Message], None], note: Callable[[list[Message]], None]
    ) -> None:
        self._order, self._hear, self._say, self._note = order, hear, say, note
        self._shard = ""
        self._seen = 0
        self._unsaid = 0
        self._frozen = False

    def run(self) -> None:
        """Answers until the daemon closes the pipe or is gone."""
        while (message := self._hear()) is not None:
            action = message["action"]
            if action == "processRecords":
                self._records(message["records"])
            elif action == "initialize":
                self._shard = message["shardId"]
                self._event("initialize", sequence=message["sequenceNumber"], sub_sequence=message["subSequenceNumber"])
            else:
                self._event({"shardEnded": "shard_ended", "shutdownRequested": "shutdown_requested"}.get(action, "lease_lost"))
                # Without a checkpoint of its end a shard would not be over, so this one is not kept back.
                if action == "shardEnded" or (action == "shutdownRequested" and not self._frozen):
                    self._checkpoint(None)
            self._say({"action": "status", "responseFor": action})

    def _records(self, records: list[Message]) -> None:
        every = self._order["every"]
        for index, record in enumerate(records):
            self._note([self._line(record)])
            self._seen += 1
            self._unsaid += 1
            if self._frozen:
                continue
            freeze = self._freezes(record, records[index + 1] if index + 1 < len(records) else None)
            if freeze or (every and self._unsaid >= every):
                self._checkpoint(record)
            self._frozen = freeze
        if not every and not self._frozen and self._unsaid:
            self._checkpoint(records[-1])

    def _freezes(self, record: Message, following: Message | None) -> bool:
        after = self._order["freeze_after"]
        if after is None or self._seen < after:
            return False
        inside = following is not None and following["sequenceNumber"] == record["sequenceNumber"]
        return inside or not self._order["freeze_inside"]

    def _checkpoint(self, record: Message | None) -> None:
        """Asks for one up to `record`, or up to everything that was delivered, and waits for its answer."""
        sequence, sub_sequence = (record["sequenceNumber"], record["subSequenceNumber"]) if record else (None, None)
        # Not one field more: the daemon passes over such a request without an answer.
        self._say({"action": "checkpoint", "sequenceNumber": sequence, "subSequenceNumber": sub_sequence})
        answer = self._hear()
        if answer is None:
            return
        error = answer.get("error") if answer["action"] == "checkpoint" else f"answered by {answer['action']}"
        self._event("checkpoint", sequence=sequence, sub_sequence=sub_sequence, error=error)
        if error is None:
            self._unsaid = 0

    def _line(self, record: Message) -> Message:
        return {
            "time": time.monotonic_ns(),
            "event": "record",
            "shard": self._shard,
            "sequence": record["sequenceNumber"],
            "sub_sequence": record["subSequenceNumber"],
            "key": record["partitionKey"],
            "data": record["data"],
        }

    def _event(self, name: str, **more: object) -> None:
        self._note([{"time": time.monotonic_ns(), "event": name, "shard": self._shard, **more}])


def main() -> None:
    """Serves the daemon on standard input and output."""
    with open(sys.argv[1], encoding="utf-8") as file:
        order: Message = json.load(file)
    log = os.open(os.path.join(order["folder"], f"{os.getpid()}.jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    lines = sys.stdin.buffer

    def hear() -> Message | None:
        # The daemon pads with empty lines.
        for line in lines:
            if line.strip():
                message: Message = json.loads(line)
                return message
        return None

    def say(message: Message) -> None:
        os.write(1, b"\n" + json.dumps(message).encode() + b"\n")

    def note(written: list[Message]) -> None:
        os.write(log, b"".join(json.dumps(line).encode() + b"\n" for line in written))

    with contextlib.suppress(BrokenPipeError):  # the daemon was killed
        Child(order, hear, say, note).run()


def data_of(line: Message) -> bytes:
    """What a noted record carried."""
    return base64.b64decode(line["data"])


if __name__ == "__main__":
    main()
