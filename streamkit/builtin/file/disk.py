"""What the systems do in their own ways: a lock that dies with its process, and a name that survives a power cut."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["acquire", "sync_folder"]

if sys.platform == "win32":

    def acquire(descriptor: int) -> None:
        """Lock this open file; closing it releases it."""
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # gives up after ten seconds

    def sync_folder(folder: Path) -> None:
        """Windows cannot sync a folder; NTFS keeps a journal of names."""

else:

    def acquire(descriptor: int) -> None:
        """Lock this open file, so two adapters of one process exclude each other too; closing it releases it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def sync_folder(folder: Path) -> None:
        """Make a new name in `folder` survive a power cut."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
