"""A process that saves rising positions for ever and prints each that was acknowledged. Tests kill it at any moment.

python -m tests.conformance.saver sqlite /tmp/where
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from tests.conformance.stores import after, opened, partition


async def main(kind: str, where: Path) -> None:
    async with opened(kind, where) as store:
        claim = await store.claim(partition(), "saver", 0)
        found = claim.checkpoint.at.position if claim.checkpoint else None
        for sequence in count((found.sequence or 0) + 1 if found else 0):
            (answer,) = await store.save([(after(sequence, metadata="x" * (sequence * 97 % 4096)), claim.grant)])
            if answer != claim.grant:
                raise SystemExit(f"refused: {answer!r}")
            print(sequence, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
