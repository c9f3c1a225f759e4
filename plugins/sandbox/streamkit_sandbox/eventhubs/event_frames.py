"""The frames of events as they go to a receiver, put together from bytes: this is where the emulator spends its time.

A frame is `Transfer` and `messages.delivered` in one; the tests hold them to be the same. For events whose sender used nothing
unusual, all before the message is one call of `struct`, whose layout depends on the lengths of offset and key alone.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from streamkit_sandbox.eventhubs.amqp_codec import encode
from streamkit_sandbox.eventhubs.amqp_types import Symbol
from streamkit_sandbox.eventhubs.log import Event
from streamkit_sandbox.eventhubs.messages import delivered

__all__ = ["OVERHEAD_BYTES", "event_frames"]

_BYTES_AT_ONCE = 262_144

# Frame header (size, doff 2, type 0, channel), the descriptor of transfer, list32 with 11 fields: handle uint, delivery-id uint,
# delivery-tag of 4 bytes (the id again), format 0, settled, not more, and five nulls.
_UP_TO_ID = struct.Struct(">BBH 3s BII BI B")
_TAIL = b"\x43\x41\x42\x40\x40\x40\x40\x40"
OVERHEAD_BYTES = 4 + _UP_TO_ID.size + 4 + 2 + 4 + len(_TAIL)
"""Of a frame before the message."""
_LIST_SIZE = OVERHEAD_BYTES - 8 - 3 - 5

_SEQUENCE_NAME = encode(Symbol("x-opt-sequence-number")) + b"\x81"
_OFFSET_NAME = encode(Symbol("x-opt-offset")) + b"\xa1"
_TIME_NAME = encode(Symbol("x-opt-enqueued-time")) + b"\x83"
_KEY_NAME = encode(Symbol("x-opt-partition-key")) + b"\xa1"
_PLAIN_BYTES = len(_SEQUENCE_NAME) + 8 + len(_OFFSET_NAME) + 1 + len(_TIME_NAME) + 8
_LONGEST = 120  # of an offset and a key: all annotations then fit into the short form of a map


@lru_cache(maxsize=1024)
def _layout(offset_bytes: int, key_bytes: int, metrics_bytes: int) -> tuple[struct.Struct, bytes, bytes, int]:
    """How all before the key is laid out; what stands between id and sequence number; before the offset; the bytes in all."""
    size = _PLAIN_BYTES + offset_bytes + (0 if key_bytes < 0 else len(_KEY_NAME) + 1 + key_bytes)
    before_sequence = b"\x00\x53\x72\xc1" + bytes((size + 1, 6 if key_bytes < 0 else 8)) + _SEQUENCE_NAME
    before_offset = _OFFSET_NAME + bytes((offset_bytes,))
    middle = len(_TAIL) + metrics_bytes + len(before_sequence)
    layout = struct.Struct(f">I {_UP_TO_ID.size}s I 2s I {middle}s q {len(before_offset)}s {offset_bytes}s {len(_TIME_NAME)}s q")
    return layout, before_sequence, before_offset, layout.size + (0 if key_bytes < 0 else len(_KEY_NAME) + 1 + key_bytes)


def event_frames(
    events: Sequence[Event], channel: int, handle: int, number: int, *, max_frame: int, metrics: bytes = b""
) -> tuple[list[bytes], int]:
    """The bytes of frames for the first of `events`, and for how many: up to one that needs several frames, or to a good helping.

    `number` is the delivery id of the first; `metrics` are delivery annotations for each.
    """
    up_to_id = _UP_TO_ID.pack(2, 0, channel, b"\x00\x53\x14", 0xD0, _LIST_SIZE, 11, 0x70, handle, 0x70)
    before_metrics, tag = _TAIL + metrics, b"\xa0\x04"
    parts: list[bytes] = []
    sent = total = 0
    for event in events:
        message, offset, key = event.message, event.offset.encode(), event.partition_key
        key_data = b"" if key is None else key.encode()
        if message[2] <= 0x72 or message[1] != 0x53 or len(offset) > _LONGEST or len(key_data) > _LONGEST:
            message = delivered(event, metrics)  # its sender used annotations of its own, or a header
            size = OVERHEAD_BYTES + len(message)
            head = b"".join((size.to_bytes(4, "big"), up_to_id, number.to_bytes(4, "big"), tag, number.to_bytes(4, "big"), _TAIL))
        else:
            layout, before_sequence, before_offset, size = _layout(len(offset), -1 if key is None else len(key_data), len(metrics))
            size += len(message)
            middle = before_metrics + before_sequence
            head = layout.pack(
                size, up_to_id, number, tag, number, middle, event.sequence, before_offset, offset, _TIME_NAME, event.enqueued_ms
            )
        if size > max_frame:
            break
        parts.append(head)
        if key is not None and message is event.message:
            parts.append(_KEY_NAME + bytes((len(key_data),)) + key_data)
        parts.append(message)
        number = (number + 1) & 0xFFFF_FFFF
        sent += 1
        total += size
        if total > _BYTES_AT_ONCE:
            break
    return parts, sent
