"""An exception as data of bounded size: itself, its causes and contexts, and the last frames of each traceback. Pure.

It keeps no exception alive and reads no source file. The messages are the user's data: they go into dead letters, not into logs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from traceback import walk_tb
from types import TracebackType

__all__ = ["ChainedError", "chain_of"]

MAX_ERRORS = 6
"""Of one chain, members of groups included: below 64 KiB whatever the texts hold, and usually a few hundred bytes."""
MAX_MESSAGE = 500
MAX_NAME = 150
MAX_FRAMES = 5
MAX_FRAME = 150


@dataclass(frozen=True, slots=True)
class ChainedError:
    """One exception of a chain."""

    type: str
    """With its module, unless it is Python's own."""
    message: str
    link: str = ""
    """How it belongs to the one before it: `cause`, `context`, `member` (of a group); empty: it is what was raised."""
    frames: tuple[str, ...] = ()
    """`file:line in function`, the innermost last."""

    def to_json(self) -> dict[str, object]:
        """What `from_json` reads; empty parts are left out."""
        body: dict[str, object] = {"type": self.type, "message": self.message, "link": self.link, "frames": list(self.frames)}
        return {name: value for name, value in body.items() if value}

    @classmethod
    def from_json(cls, body: object) -> ChainedError:
        """Raises ValueError or TypeError for anything else; unknown names are passed over."""
        if not isinstance(body, dict):
            raise ValueError("an error is not an object")
        frames = body.get("frames", [])
        if not isinstance(frames, list):
            raise ValueError("frames are not a list")
        return cls(str(body.get("type", "")), str(body.get("message", "")), str(body.get("link", "")), tuple(map(str, frames)))


def chain_of(error: BaseException) -> tuple[ChainedError, ...]:
    """What was raised first, then what led to it, the nearest first."""
    return tuple(_described(one, link) for one, link in _walk(error))


def _walk(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """Each exception once, though chains may be circles; breadth first, so that the bound cuts off what is farthest."""
    waiting: deque[tuple[BaseException, str]] = deque([(error, "")])
    seen: set[int] = set()
    while waiting and len(seen) < MAX_ERRORS:
        one, link = waiting.popleft()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one, link
        if one.__cause__ is not None:
            waiting.append((one.__cause__, "cause"))
        elif one.__context__ is not None and not one.__suppress_context__:
            waiting.append((one.__context__, "context"))
        if isinstance(one, BaseExceptionGroup):
            waiting.extend((member, "member") for member in one.exceptions[:MAX_ERRORS])


def _described(error: BaseException, link: str) -> ChainedError:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    return ChainedError(_cut(name, MAX_NAME), _cut(_message(error), MAX_MESSAGE), link, _frames(error.__traceback__))


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as unprintable:  # its own __str__ is wrong; the letter must be written all the same
        return f"(no text: __str__ raised {type(unprintable).__name__})"


def _frames(trace: TracebackType | None) -> tuple[str, ...]:
    """Of the innermost frames only: a recursion has a thousand."""
    last = deque(walk_tb(trace), MAX_FRAMES)
    return tuple(_cut(f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}", MAX_FRAME, keep_end=True) for frame, line in last)


def _cut(text: str, limit: int, *, keep_end: bool = False) -> str:
    if len(text) <= limit:
        return text
    return f"…{text[1 - limit :]}" if keep_end else f"{text[: limit - 1]}…"
