"""Turns what pydantic says about a wrong value into words of ours: cause and fix, without pydantic's text and without secrets.

Called by `sections.py`. The table knows the errors that a person can cause; a new one reads «is not valid» and its kind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, core_schema

from streamkit.assembly.masking import holds, scrub, shown
from streamkit.assembly.sources import Given
from streamkit.assembly.suggestions import closest
from streamkit.errors import ConfigurationError
from streamkit.settings import duration_text, variable_of

__all__ = ["missing_error", "section_error", "value_error"]

Explained = tuple[str, str]
"""Cause, going on where the value was named; and fix."""

_KINDS: Mapping[str, Explained] = {
    "int": ("is not a whole number", "write digits only"),
    "float": ("is not a number", "write a number, such as 0.5"),
    "decimal": ("is not a number", "write a number, such as 0.5"),
    "bool": ("is neither true nor false", "write true or false"),
    "dict": ("is not a JSON object", 'write one, such as {"name": "value"}'),
    "mapping": ("is not a JSON object", 'write one, such as {"name": "value"}'),
    "model": ("is not a JSON object", 'write one, such as {"name": "value"}'),
    "list": ("is not a JSON list", 'write one, such as ["a", "b"]'),
    "tuple": ("is not a JSON list", 'write one, such as ["a", "b"]'),
    "set": ("is not a JSON list", 'write one, such as ["a", "b"]'),
    "string": ("is not text", "write it in quotes"),
    "path": ("is not a path", "write the path of a file or folder"),
    "url": ("is not a URL", "write one with its scheme, such as http://localhost:4566"),
    "time": ("is not a duration", "write it as HH:MM:SS, such as 00:00:05"),
    "datetime": ("is not a time", "write an ISO time such as 2025-01-31T09:00:00Z"),
}
"""By the first word of pydantic's error type: `int_parsing`, `int_type`, … (docs.pydantic.dev, «Validation Errors»)."""

_PYDANTIC = frozenset(get_args(core_schema.ErrorType))
"""Any other kind is of a validator's own making, and so is its text."""

_BOUNDS: Mapping[str, tuple[str, str, str]] = {
    "greater_than_equal": ("ge", "is below {}", "give {} or more"),
    "greater_than": ("gt", "is not above {}", "give more than {}"),
    "less_than_equal": ("le", "is above {}", "give {} or less"),
    "less_than": ("lt", "is not below {}", "give less than {}"),
    "too_short": ("min_length", "has fewer than {} parts", "give {} or more"),
    "too_long": ("max_length", "has more than {} parts", "give {} or fewer"),
    "string_too_short": ("min_length", "is shorter than {} characters", "give {} or more"),
    "string_too_long": ("max_length", "is longer than {} characters", "give {} or fewer"),
    "multiple_of": ("multiple_of", "is not a multiple of {}", "give a multiple of {}"),
    "string_pattern_mismatch": ("pattern", "does not look like {}", "give text that fits this regular expression"),
    "url_scheme": ("expected_schemes", "has another scheme than {}", "begin it with one of these"),
}


def missing_error(variable: str, field: FieldInfo) -> ConfigurationError:
    """A required setting that nothing sets."""
    return ConfigurationError("nothing sets it, and it has no default", setting=variable, fix=f"set it. {field.description or ''}".strip())


def value_error(variable: str, field: FieldInfo, given: Given, details: Sequence[ErrorDetails], secrets: set[str]) -> ConfigurationError:
    """Everything that is wrong with one value, in one error. `secrets` are the texts that must not appear in it."""
    explained = dict.fromkeys(_explain(detail, field, given.value, secrets) for detail in details)
    cause = "; ".join(dict.fromkeys(cause for cause, _ in explained))
    fix = ", or ".join(dict.fromkeys(fix for _, fix in explained if fix))
    return ConfigurationError(f"{shown(given.value, field)} {cause}", setting=variable, origin=given.origin, fix=fix)


def section_error(plugin: str, details: Sequence[ErrorDetails], secrets: set[str]) -> ConfigurationError:
    """What a plugin says about several of its settings at once."""
    texts = (detail.get("ctx", {}).get("error") or (detail["type"] if detail["type"] in _PYDANTIC else detail["msg"]) for detail in details)
    cause = "; ".join(dict.fromkeys(_one_line(text, secrets) for text in texts))
    fix = "mend one of them; `streamkit explain` says where each comes from"
    return ConfigurationError(f"these settings do not go together: {cause}", setting=variable_of("…", plugin), fix=fix)


def _explain(detail: ErrorDetails, field: FieldInfo, value: object, secrets: set[str]) -> Explained:
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "streamkit":
        explained = (str(context["cause"]), str(context["fix"]))
    elif kind in ("value_error", "assertion_error"):
        explained = (f"is refused: {_one_line(context.get('error', ''), secrets)}", field.description or "")
    elif kind not in _PYDANTIC:
        explained = (f"is refused: {_one_line(detail['msg'], secrets)}", field.description or "")
    elif kind in ("literal_error", "enum"):
        explained = _explain_choice(field, value, context)
    elif kind in _BOUNDS:
        name, cause, fix = _BOUNDS[kind]
        bound = _bound_text(name, field, context)
        explained = (cause.format(bound), fix.format(bound))
    elif kind == "missing":
        explained = ("is missing", "add it")
    elif kind == "extra_forbidden":
        explained = ("is not known", "remove it")
    else:
        explained = _KINDS.get(kind.split("_")[0], (f"is not valid ({kind})", field.description or ""))
    return _inside(detail, field, explained)


def _inside(detail: ErrorDetails, field: FieldInfo, explained: Explained) -> Explained:
    """Say which part of a JSON value is meant."""
    path = ".".join(str(part) for part in detail["loc"][1:] if part != "[key]")
    if not path or not holds(field.annotation, Mapping, list, tuple, set, frozenset, BaseModel):
        return explained
    return (f"is wrong at {path!r}, which {explained[0]}", explained[1])


def _explain_choice(field: FieldInfo, value: object, context: Mapping[str, object]) -> Explained:
    choices = list(dict.fromkeys(str(choice) for choice in _choices(field.annotation)))
    if not choices:
        return (f"is not one of {context.get('expected', 'the choices')}", "choose one of them")
    near = closest(str(value), choices)
    return (f"is not one of {', '.join(choices)}", f"did you mean {near}?" if near else "choose one of them")


def _choices(annotation: object) -> Iterator[object]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        yield from (member.value for member in annotation)
    else:
        for argument in get_args(annotation):
            yield from _choices(argument)


def _bound_text(name: str, field: FieldInfo, context: Mapping[str, object]) -> str:
    """The bound as a user writes it. Pydantic has it as a number, or as its own text (`0 seconds`): then the field knows it."""
    found = next(_constraints(name, (*field.metadata, field.annotation)), context.get(name, ""))
    return duration_text(found) if isinstance(found, timedelta) else str(found)


def _constraints(name: str, holders: Collection[object]) -> Iterator[object]:
    for holder in holders:
        if getattr(holder, name, None) is not None:
            yield getattr(holder, name)
        if isinstance(holder, FieldInfo):
            yield from _constraints(name, holder.metadata)
        yield from _constraints(name, get_args(holder))


def _one_line(error: object, secrets: set[str]) -> str:
    """What somebody else's validator says, without the secrets that it may repeat."""
    return " ".join(scrub(str(error), secrets).split())
