"""Makes one settings object, streamkit's own or a plugin's, from what was given for its fields. Text is read; pydantic checks.

Each model is checked by itself, and not under one root made by `create_model`: then a plugin's settings are an object of its
own class, and an error in one section does not hide those in another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from streamkit.assembly.masking import MASK, secret_texts
from streamkit.assembly.sources import DEFAULT, Given
from streamkit.assembly.translation import missing_error, section_error, value_error
from streamkit.errors import ConfigurationError
from streamkit.settings import variable_of

__all__ = ["build"]

M = TypeVar("M", bound=BaseModel)

_JSON_TYPES = (Mapping, list, tuple, set, frozenset, BaseModel)


def build(model: type[M], given: Mapping[str, Given], plugin: str = "") -> tuple[M | None, list[ConfigurationError]]:
    """The object, or everything that is wrong. `given` holds fields of the model only."""
    read: dict[str, Given] = {}
    errors: list[ConfigurationError] = []
    for name, item in given.items():
        try:
            read[name] = Given(_read(item.value, model.model_fields[name]), item.origin)
        except (ValueError, RecursionError) as error:
            errors.append(_not_json(variable_of(name, plugin), item, error))
    made, details = _validate(model, {name: item.value for name, item in read.items()})
    if errors:  # What depends on a value that could not be read says nothing.
        details = [detail for detail in details if detail["loc"] and (detail["loc"][0] in read or detail["loc"][0] not in given)]
    errors += _translate(model, read, plugin, details)
    return (None if errors else made), errors


def _validate(model: type[M], values: Mapping[str, object]) -> tuple[M | None, list[ErrorDetails]]:
    """Errors are returned and not raised on, so that no traceback of ours carries pydantic's, which may hold secrets."""
    try:
        return model.model_validate(values), []
    except ValidationError as error:
        return None, error.errors(include_url=False)
    except Exception as error:  # A validator of a plugin that raises what pydantic does not expect.
        text = f"{type(error).__name__}: {error}"
        return None, [ErrorDetails(type="value_error", loc=(), msg="", input=None, ctx={"error": text})]


def _translate(model: type[BaseModel], read: Mapping[str, Given], plugin: str, details: Sequence[ErrorDetails]) -> list[ConfigurationError]:
    fields = model.model_fields
    secrets = set().union(*(secret_texts(item.value, fields[name]) for name, item in read.items()))
    by_field: dict[str, list[ErrorDetails]] = {}
    for detail in details:
        by_field.setdefault(str(detail["loc"][0]) if detail["loc"] else "", []).append(detail)
    errors = []
    for name, found in by_field.items():
        variable = variable_of(name, plugin)
        if name not in fields:
            errors.append(section_error(plugin, found, secrets))
        elif name not in read and found[0]["type"] == "missing":
            errors.append(missing_error(variable, fields[name]))
        else:
            item = read.get(name) or Given(found[0]["input"], DEFAULT)
            errors.append(value_error(variable, fields[name], item, found, secrets))
    return errors


def _read(value: object, field: FieldInfo) -> object:
    """Text that is meant as JSON becomes what it says; all other values stay. Raises ValueError for broken JSON."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    types = [get_origin(member) or member for member in _members(field.annotation)]
    if not any(isinstance(member, type) and issubclass(member, _JSON_TYPES) for member in types):
        return value
    try:
        decoded: object = json.loads(value)
    except ValueError:
        if str in types:
            return value
        raise
    return decoded


def _members(annotation: object) -> Iterator[object]:
    """What the value may be: the members of a union, without what Annotated adds."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _not_json(variable: str, given: Given, error: Exception) -> ConfigurationError:
    where = f": {error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
    return ConfigurationError(
        f"{MASK} is not JSON{where}", setting=variable, origin=given.origin, fix='write {"name": "value"} or ["a", "b"]'
    )
