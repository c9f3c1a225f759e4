"""The performatives of AMQP 1.0, and what lies in them: one class each, made from bytes and made into bytes.

Each is written with all its fields, the last ones as null too: the Python SDK reads them by position, without a look at how many
came. What clients leave out is read as None. Source: AMQP 1.0, parts 2 (transport), 3 (messaging) and 5 (security).
"""

# ruff: noqa: RUF009 - `_of` is dataclasses.field with metadata, not a default that is shared

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

from streamkit_sandbox.eventhubs.amqp_codec import decode, encode
from streamkit_sandbox.eventhubs.amqp_types import Array, DecodeError, Described, Symbol, Timestamp, Ubyte, Uint, Ulong, Ushort, Value

__all__ = [
    "ACCEPTED",
    "Attach",
    "Begin",
    "Close",
    "Detach",
    "Disposition",
    "End",
    "Error",
    "Flow",
    "Open",
    "Performative",
    "Properties",
    "SaslInit",
    "SaslMechanisms",
    "SaslOutcome",
    "Source",
    "Target",
    "Transfer",
    "accepted",
    "decode_performative",
    "rejected",
]

ACCEPTED = Described(Ulong(0x24), [])
"""The outcome of a delivery that was taken."""


def _of(kind: type | None, *, required: bool = False) -> Any:
    """A field of the AMQP type `kind`; None: of any type."""
    return field(default=None, metadata={"kind": kind, "required": required})


def _many() -> Any:
    """A field that holds a symbol, an array of symbols or nothing; here always a tuple."""
    return field(default=(), metadata={"kind": tuple, "required": False})


def _written(kind: type | None, value: Any) -> Value:
    if kind is tuple:
        return Array(tuple(Symbol(item) for item in value)) if value else None
    if value is None or kind is None or isinstance(value, bool):
        return value  # type: ignore[no-any-return]  # fields hold values
    return value.described() if isinstance(value, Composite) else kind(value)


_READ_AS: Mapping[type, type] = {bytes: bytes, bool: bool, dict: dict, str: str, Symbol: str, Timestamp: int}
_LARGEST: Mapping[type, int] = {Ubyte: 2**8 - 1, Ushort: 2**16 - 1, Uint: 2**32 - 1, Ulong: 2**64 - 1}


def _read(composite: str, name: str, kind: type | None, value: Value) -> Any:
    if kind is tuple:
        items = value.items if isinstance(value, Array) else () if value is None else (value,)
        if all(isinstance(item, str) for item in items):
            return items
    elif kind is None or value is None:
        return value
    elif issubclass(kind, Composite):
        if isinstance(value, Described) and value.descriptor in (kind.CODE, kind.SYMBOL):
            return kind.from_fields(value.value)
    elif kind in _LARGEST:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST[kind]:
            return kind(value)  # type: ignore[call-arg]  # one of the classes of int
    elif isinstance(value, _READ_AS[kind]):
        return value
    raise DecodeError(f"the field {name} of {composite} cannot be {value!r}"[:200])


@dataclass(slots=True)
class Composite:
    """A list of fields with a descriptor."""

    CODE: ClassVar[int]
    SYMBOL: ClassVar[str]

    def described(self) -> Described:
        """All fields, as a value to encode."""
        return Described(Ulong(self.CODE), [_written(each.kind, getattr(self, each.name)) for each in _fields(type(self))])

    def encode(self) -> bytes:
        """The bytes of it."""
        return encode(self.described())

    @classmethod
    def from_fields(cls, values: Value) -> Self:
        """Reads the list of fields. Raises DecodeError for wrong types, too many fields and missing mandatory ones."""
        fields = _fields(cls)
        if not isinstance(values, list) or len(values) > len(fields):
            raise DecodeError(f"{cls.SYMBOL} needs a list of at most {len(fields)} fields, not {values!r}"[:200])
        # Most fields are nothing, or of the very type that is expected.
        found = [
            value if type(value) is each.kind else each.nothing if value is None else _read(cls.SYMBOL, each.name, each.kind, value)
            for each, value in zip(fields, values, strict=False)
        ]
        for place, each in enumerate(fields):
            if each.is_required and (place >= len(found) or found[place] is None):
                raise DecodeError(f"{cls.SYMBOL} came without {each.name}")
        return cls(*found)


class _Field(NamedTuple):
    name: str
    kind: type | None
    is_required: bool
    nothing: Any
    """What it is if the client left it out."""


_FIELDS: dict[type, list[_Field]] = {}


def _fields(cls: type[Composite]) -> list[_Field]:
    found = _FIELDS.get(cls)
    if found is None:
        found = _FIELDS[cls] = [
            _Field(each.name, each.metadata["kind"], each.metadata["required"], each.default) for each in dataclasses.fields(cls)
        ]
    return found


@dataclass(slots=True)
class Error(Composite):
    """Why a link, a session or a connection ended, or a delivery was refused."""

    CODE, SYMBOL = 0x1D, "amqp:error:list"
    condition: str = _of(Symbol, required=True)
    description: str | None = _of(str)
    info: dict[Value, Value] | None = _of(dict)


_ACCEPTED_DISPOSITION = struct.Struct(">8s I B I 6s")


def accepted(delivery_id: int) -> bytes:
    """The bytes of `Disposition(True, id, id, True, ACCEPTED)`, which is said of every delivery that goes well."""
    return _ACCEPTED_DISPOSITION.pack(b"\x00\x53\x15\xc0\x12\x06\x41\x70", delivery_id, 0x70, delivery_id, b"\x41\x00\x53\x24\x45\x40")


def rejected(condition: str, description: str) -> Described:
    """The outcome of a delivery that was refused; its error has three fields, which the Python SDK needs."""
    return Described(Ulong(0x25), [Error(condition, description).described()])


@dataclass(slots=True)
class Source(Composite):
    """Where a link takes its messages from."""

    CODE, SYMBOL = 0x28, "amqp:source:list"
    address: str | None = _of(str)
    durable: int | None = _of(Uint)
    expiry_policy: str | None = _of(Symbol)
    timeout: int | None = _of(Uint)
    dynamic: bool | None = _of(bool)
    dynamic_node_properties: dict[Value, Value] | None = _of(dict)
    distribution_mode: str | None = _of(Symbol)
    filter: dict[Value, Value] | None = _of(dict)
    default_outcome: Value = _of(None)
    outcomes: tuple[str, ...] = _many()
    capabilities: tuple[str, ...] = _many()


@dataclass(slots=True)
class Target(Composite):
    """Where a link's messages go."""

    CODE, SYMBOL = 0x29, "amqp:target:list"
    address: str | None = _of(str)
    durable: int | None = _of(Uint)
    expiry_policy: str | None = _of(Symbol)
    timeout: int | None = _of(Uint)
    dynamic: bool | None = _of(bool)
    dynamic_node_properties: dict[Value, Value] | None = _of(dict)
    capabilities: tuple[str, ...] = _many()


@dataclass(slots=True)
class Properties(Composite):
    """The section `properties` of a message."""

    CODE, SYMBOL = 0x73, "amqp:properties:list"
    message_id: Value = _of(None)
    user_id: bytes | None = _of(bytes)
    to: str | None = _of(str)
    subject: str | None = _of(str)
    reply_to: str | None = _of(str)
    correlation_id: Value = _of(None)
    content_type: str | None = _of(Symbol)
    content_encoding: str | None = _of(Symbol)
    absolute_expiry_time: int | None = _of(Timestamp)
    creation_time: int | None = _of(Timestamp)
    group_id: str | None = _of(str)
    group_sequence: int | None = _of(Uint)
    reply_to_group_id: str | None = _of(str)


@dataclass(slots=True)
class Open(Composite):
    """Begins a connection. Times in milliseconds."""

    CODE, SYMBOL = 0x10, "amqp:open:list"
    container_id: str = _of(str, required=True)
    hostname: str | None = _of(str)
    max_frame_size: int | None = _of(Uint)
    channel_max: int | None = _of(Ushort)
    idle_time_out: int | None = _of(Uint)
    outgoing_locales: tuple[str, ...] = _many()
    incoming_locales: tuple[str, ...] = _many()
    offered_capabilities: tuple[str, ...] = _many()
    desired_capabilities: tuple[str, ...] = _many()
    properties: dict[Value, Value] | None = _of(dict)


@dataclass(slots=True)
class Begin(Composite):
    """Begins a session."""

    CODE, SYMBOL = 0x11, "amqp:begin:list"
    remote_channel: int | None = _of(Ushort)
    next_outgoing_id: int = _of(Uint, required=True)
    incoming_window: int = _of(Uint, required=True)
    outgoing_window: int = _of(Uint, required=True)
    handle_max: int | None = _of(Uint)
    offered_capabilities: tuple[str, ...] = _many()
    desired_capabilities: tuple[str, ...] = _many()
    properties: dict[Value, Value] | None = _of(dict)


@dataclass(slots=True)
class Attach(Composite):
    """Begins a link. `role` is True for who receives."""

    CODE, SYMBOL = 0x12, "amqp:attach:list"
    name: str = _of(str, required=True)
    handle: int = _of(Uint, required=True)
    role: bool = _of(bool, required=True)
    snd_settle_mode: int | None = _of(Ubyte)
    rcv_settle_mode: int | None = _of(Ubyte)
    source: Source | None = _of(Source)
    target: Target | None = _of(Target)
    unsettled: dict[Value, Value] | None = _of(dict)
    incomplete_unsettled: bool | None = _of(bool)
    initial_delivery_count: int | None = _of(Uint)
    max_message_size: int | None = _of(Ulong)
    offered_capabilities: tuple[str, ...] = _many()
    desired_capabilities: tuple[str, ...] = _many()
    properties: dict[Value, Value] | None = _of(dict)


@dataclass(slots=True)
class Flow(Composite):
    """Windows of the session and, with a handle, credit of a link."""

    CODE, SYMBOL = 0x13, "amqp:flow:list"
    next_incoming_id: int | None = _of(Uint)
    incoming_window: int = _of(Uint, required=True)
    next_outgoing_id: int = _of(Uint, required=True)
    outgoing_window: int = _of(Uint, required=True)
    handle: int | None = _of(Uint)
    delivery_count: int | None = _of(Uint)
    link_credit: int | None = _of(Uint)
    available: int | None = _of(Uint)
    drain: bool | None = _of(bool)
    echo: bool | None = _of(bool)
    properties: dict[Value, Value] | None = _of(dict)


@dataclass(slots=True)
class Transfer(Composite):
    """A message or a part of one; its bytes follow."""

    CODE, SYMBOL = 0x14, "amqp:transfer:list"
    handle: int = _of(Uint, required=True)
    delivery_id: int | None = _of(Uint)
    delivery_tag: bytes | None = _of(bytes)
    message_format: int | None = _of(Uint)
    settled: bool | None = _of(bool)
    more: bool | None = _of(bool)
    rcv_settle_mode: int | None = _of(Ubyte)
    state: Value = _of(None)
    resume: bool | None = _of(bool)
    aborted: bool | None = _of(bool)
    batchable: bool | None = _of(bool)


@dataclass(slots=True)
class Disposition(Composite):
    """What became of deliveries. `role` is True if the receiver says it."""

    CODE, SYMBOL = 0x15, "amqp:disposition:list"
    role: bool = _of(bool, required=True)
    first: int = _of(Uint, required=True)
    last: int | None = _of(Uint)
    settled: bool | None = _of(bool)
    state: Value = _of(None)
    batchable: bool | None = _of(bool)


@dataclass(slots=True)
class Detach(Composite):
    """Ends a link."""

    CODE, SYMBOL = 0x16, "amqp:detach:list"
    handle: int = _of(Uint, required=True)
    closed: bool | None = _of(bool)
    error: Error | None = _of(Error)


@dataclass(slots=True)
class End(Composite):
    """Ends a session."""

    CODE, SYMBOL = 0x17, "amqp:end:list"
    error: Error | None = _of(Error)


@dataclass(slots=True)
class Close(Composite):
    """Ends a connection."""

    CODE, SYMBOL = 0x18, "amqp:close:list"
    error: Error | None = _of(Error)


@dataclass(slots=True)
class SaslMechanisms(Composite):
    """The server's ways to log in."""

    CODE, SYMBOL = 0x40, "amqp:sasl-mechanisms:list"
    sasl_server_mechanisms: tuple[str, ...] = _many()


@dataclass(slots=True)
class SaslInit(Composite):
    """The client's choice."""

    CODE, SYMBOL = 0x41, "amqp:sasl-init:list"
    mechanism: str = _of(Symbol, required=True)
    initial_response: bytes | None = _of(bytes)
    hostname: str | None = _of(str)


@dataclass(slots=True)
class SaslOutcome(Composite):
    """0: the client is in; 1: it is not."""

    CODE, SYMBOL = 0x44, "amqp:sasl-outcome:list"
    code: int = _of(Ubyte, required=True)
    additional_data: bytes | None = _of(bytes)


Performative = Open | Begin | Attach | Flow | Transfer | Disposition | Detach | End | Close | SaslInit
"""What a client may send."""

_BY_DESCRIPTOR: Mapping[int | str, Callable[[Value], Performative]] = {
    descriptor: kind.from_fields
    for kind in (Open, Begin, Attach, Flow, Transfer, Disposition, Detach, End, Close, SaslInit)
    for descriptor in (kind.CODE, kind.SYMBOL)
}


def decode_performative(body: bytes) -> tuple[Performative, int]:
    """The performative at the start of a frame's body, and where its payload begins. Raises DecodeError."""
    value, end = decode(body)
    if not isinstance(value, Described) or not isinstance(value.descriptor, (int, str)) or value.descriptor not in _BY_DESCRIPTOR:
        raise DecodeError(f"a frame holds {value!r}"[:160] + ", which is no performative of a client")
    return _BY_DESCRIPTOR[value.descriptor](value.value), end
