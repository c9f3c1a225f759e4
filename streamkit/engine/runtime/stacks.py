"""What threads are doing now, as text for people: health and the log show it when a call does not return."""

from __future__ import annotations

import sys
import threading
import traceback
from types import FrameType

__all__ = ["stack_of", "stacks", "this_thread"]

MAX_FRAMES = 25
"""The innermost ones: what a call waits for stands at the end."""


def this_thread() -> int:
    """What `stack_of` wants to know of the thread that runs."""
    return threading.get_ident()


def stack_of(thread: int | None) -> str:
    """The stack of one thread, innermost frame last; empty if there is no such thread (any more)."""
    frame = None if thread is None else sys._current_frames().get(thread)
    return "" if frame is None else _text(frame)


def stacks() -> dict[str, str]:
    """The stacks of all threads but this one, by the thread's name."""
    frames = sys._current_frames()
    own = threading.get_ident()
    threads = [thread for thread in threading.enumerate() if thread.ident != own]
    return {thread.name: _text(frames[thread.ident]) for thread in threads if thread.ident in frames}


def _text(frame: FrameType) -> str:
    return "".join(traceback.format_list(traceback.extract_stack(frame)[-MAX_FRAMES:])).rstrip()
