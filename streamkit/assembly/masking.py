"""Keeps secrets out of what people see: values in `explain`, in errors, and in what the validators of plugins say.

Secret are fields whose type holds a SecretStr or SecretBytes, values of mappings (`OPTIONS`) whose key sounds secret, and
passwords inside URLs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from datetime import timedelta
from typing import get_args, get_type_hints, is_typeddict

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from streamkit.settings import duration_text

__all__ = ["MASK", "holds", "is_secret", "masked", "scrub", "secret_texts", "shown", "text_of"]

MASK = "**********"
_SECRET_WORDS = ("password", "secret", "key", "token")
_URL_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+(?=@)")
_LONGEST_SHOWN = 100


def holds(annotation: object, *types: type) -> bool:
    """Whether a value of that type is, or has somewhere inside, one of `types`."""
    return any(isinstance(part, type) and issubclass(part, types) for part in _parts(annotation, set()))


def _parts(annotation: object, seen: set[type]) -> Iterator[object]:
    """The type, and every type inside it: arguments, what an alias stands for, fields of models, dataclasses and TypedDicts."""
    annotation = getattr(annotation, "__value__", annotation)  # `type Alias = …`
    origin = getattr(annotation, "__origin__", annotation)
    yield origin
    inner = list(get_args(annotation))
    if isinstance(origin, type) and origin not in seen:
        seen.add(origin)
        if issubclass(origin, BaseModel):
            inner += [field.annotation for field in origin.model_fields.values()]
        elif is_dataclass(origin) or is_typeddict(origin):
            inner += get_type_hints(origin, include_extras=True).values()
    for part in inner:
        yield from _parts(part, seen)


def is_secret(field: FieldInfo) -> bool:
    """Whether nothing of the field's value may be shown."""
    return holds(field.annotation, SecretStr, SecretBytes)


def _sounds_secret(key: object) -> bool:
    return any(word in str(key).lower() for word in _SECRET_WORDS)


def masked(value: object) -> object:
    """The value with masks in place of whatever is secret in it: mappings, lists and texts in any depth."""
    if isinstance(value, Mapping):
        return {key: MASK if _sounds_secret(key) and item is not None else masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item) for item in value]
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    return _URL_PASSWORD.sub(rf"\1:{MASK}", value) if isinstance(value, str) else value


def text_of(value: object) -> str:
    """A masked value as one would write it: text as it is, nothing for None, all else as JSON."""
    safe = masked(value)
    if safe is None:
        return ""
    return (
        safe
        if isinstance(safe, str)
        else _plain(safe)
        if isinstance(safe, timedelta)
        else json.dumps(safe, default=_plain, ensure_ascii=False)
    )


def _plain(value: object) -> str:
    return duration_text(value) if isinstance(value, timedelta) else str(value)


def shown(value: object, field: FieldInfo) -> str:
    """A value as an error shows it: quoted, masked, and not too long. Text of a mapping that is not JSON is masked whole."""
    unread = isinstance(value, str) and holds(field.annotation, Mapping, BaseModel)
    if is_secret(field) or unread:
        return MASK
    text = text_of(value)
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


def secret_texts(value: object, field: FieldInfo) -> set[str]:
    """Every text of the value that must not be shown."""
    return {text for text in _leaves(value, is_secret(field)) if text}


def _leaves(value: object, secret: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, secret or _sounds_secret(key))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _leaves(item, secret)
    elif isinstance(value, SecretStr | SecretBytes):
        yield from _leaves(value.get_secret_value(), True)
    elif secret and isinstance(value, str | bytes):
        yield value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def scrub(text: str, secrets: set[str]) -> str:
    """The text with masks in place of the secrets, longest first."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text
