"""Reads each place that settings come from into one shape: the variable's full name -> the value and its origin.

pydantic-settings is not used for this, though it has a source for each place. It says neither where a value came from nor
which names it did not know, its environment and .env sources look at `os.environ` (the latter to fill in `${…}`, which also
changes passwords), and its secrets source reads every file of the folder, so that a keystore or `/run/secrets/kubernetes.io`
beside our files ends the start. What is left for us is short. Values are checked by pydantic, in `sections.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from pydantic import BaseModel

from streamkit.errors import ConfigurationError
from streamkit.settings import PREFIX, Settings, variable_of

__all__ = [
    "CODE",
    "DEFAULT",
    "ENVIRONMENT",
    "UNSET",
    "Given",
    "from_code",
    "from_dotenv",
    "from_environment",
    "from_secret_files",
    "from_toml",
    "merge",
]

UNSET = object()
"""In code: the setting keeps its default, whatever the other places say."""

CODE = "App"
ENVIRONMENT = "environment"
DEFAULT = "default"

_MAX_FILE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave, as it was given: text, or what TOML or code can hold."""

    value: object = field(repr=False)
    origin: str
    """`App`, `environment`, or the path of the file."""


Source = Mapping[str, Given]


def merge(*sources: Source) -> dict[str, Given]:
    """One value for each name: that of the first source that has it. `UNSET` is a value here, so that it wins as others do."""
    return {name: given for source in reversed(sources) for name, given in source.items()}


def from_environment(environment: Mapping[str, str]) -> Source:
    """The variables that begin with STREAMKIT_, in whatever case. Raises ConfigurationError if two differ in case only."""
    return _collect((name, name, value, ENVIRONMENT) for name, value in environment.items() if _is_ours(name))


def from_dotenv(path: Path | None) -> Source:
    """A file of `NAME=value` lines; a missing one is an empty one. `${…}` is not filled in. A later line wins."""
    if path is None or not path.is_file():
        return {}
    from dotenv.parser import parse_stream  # imported late, as is tomllib below: most processes are given no file

    bindings = list(parse_stream(StringIO(_read_text(path, setting=""))))
    for binding in bindings:
        if binding.error:
            raise ConfigurationError(
                f"{path}: line {binding.original.line} is not NAME=value", fix="mend the line, or put # in front of it"
            )
    latest = {binding.key: binding.value for binding in bindings if binding.key and _is_ours(binding.key)}
    return _collect((name, name, value, str(path)) for name, value in latest.items())


def from_secret_files(folder: Given | None) -> Source:
    """The files right in the folder whose names are variables, in whatever case; others are not opened. Line ends are cut off."""
    setting = variable_of("secrets_dir")
    path = _path_of(folder)
    if folder is None or path is None:
        return {}
    try:
        files = sorted(file for file in path.iterdir() if _is_ours(file.name) and file.is_file())
    except OSError as error:
        cause = f"cannot list {str(path)!r}: {error.strerror}"
        raise ConfigurationError(cause, setting=setting, origin=folder.origin, fix="give a folder that this process may read") from error
    source = _collect((file.name, str(file), _read_text(file, setting=setting).rstrip("\r\n"), str(file)) for file in files)
    _refuse_pointers(source)
    return source


def from_toml(file: Given | None) -> Source:
    """Core names in lower case, and a table for each plugin."""
    setting = variable_of("config")
    path = _path_of(file)
    if file is None or path is None:
        return {}
    import tomllib

    try:
        content = tomllib.loads(_read_text(path, setting=setting, origin=file.origin))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{str(path)!r} is not TOML: {error}", setting=setting, origin=file.origin, fix="mend the file") from error
    source = _collect((name, name, value, str(path)) for name, value in _flatten(content))
    _refuse_pointers(source, but=variable_of("secrets_dir"))
    return source


def from_code(overrides: Mapping[str, object]) -> Source:
    """What `App` was given: fields by name, and for a plugin a mapping or an object of its settings. None means not given here,
    `UNSET` that it is not given anywhere."""
    return _collect((name, name, value, CODE) for name, value in _flatten(overrides))


def _collect(entries: Iterable[tuple[str, str, object, str]]) -> Source:
    """Entries are (name, how it was written, value, origin). Empty values are left out: empty means unset."""
    source: dict[str, Given] = {}
    written: dict[str, str] = {}
    for name, spelling, value, origin in entries:
        variable = name.upper()
        if variable in written:
            cause = f"given twice, as {written[variable]} and as {spelling}"
            raise ConfigurationError(cause, setting=variable, origin=origin, fix="remove one of them")
        written[variable] = spelling
        if value is not None and not (isinstance(value, str) and not value.strip()):
            source[variable] = Given(value, origin)
    return source


def _flatten(content: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    """Tables become `STREAMKIT_<TABLE>__<KEY>`, one level deep; what is deeper stays a value."""
    for name, value in content.items():
        if name.lower() in Settings.model_fields:
            yield variable_of(name), value
        elif isinstance(value, BaseModel):
            yield from ((variable_of(key, name), getattr(value, key)) for key in value.model_fields_set)
        elif isinstance(value, Mapping):
            yield from ((variable_of(key, name), item) for key, item in value.items())
        else:
            yield variable_of(name), value


def _refuse_pointers(source: Source, but: str = "") -> None:
    """Settings that say where to look must be known before looking."""
    for variable in (variable_of("config"), variable_of("secrets_dir")):
        if variable in source and variable != but:
            cause = "is read before this file, and cannot come from it"
            raise ConfigurationError(cause, setting=variable, origin=source[variable].origin, fix="set it in the environment")


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX)


def _path_of(given: Given | None) -> Path | None:
    """None for what is not a path at all: the check of all settings will say so."""
    return Path(given.value) if given is not None and isinstance(given.value, str | Path) else None


def _read_text(path: Path, *, setting: str, origin: str = "") -> str:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ConfigurationError(f"{str(path)!r} is larger than 1 MiB", setting=setting, origin=origin, fix="is it the right file?")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        cause = f"cannot read {str(path)!r}: {error.strerror}"
        raise ConfigurationError(cause, setting=setting, origin=origin, fix="give a file that this process may read") from error
    except UnicodeDecodeError:
        cause = f"{str(path)!r} is not text in UTF-8"
    raise ConfigurationError(cause, setting=setting, origin=origin, fix="save it as UTF-8")
