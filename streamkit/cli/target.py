"""From `MODULE:NAME` to an `App`. What the user's own module raises is told with its file and line, and without ours.

The current folder is importable. While the module is imported, `run()` is a named error (`streamkit.app.importing`).
"""

from __future__ import annotations

import importlib
import inspect
import linecache
import pkgutil
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from streamkit.app import App, importing
from streamkit.assembly.suggestions import closest
from streamkit.errors import ConfigurationError, StreamkitError
from streamkit.processing import Processor, facts_of

__all__ = ["app_of", "raised_by_user_code"]

_FORM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_EXAMPLE = "write MODULE:NAME, such as orders:handle for `handle` in orders.py"
_OURS = str(Path(__file__).parents[1])


def app_of(target: str) -> App:
    """Import the module and make an `App` of what NAME is: an App, a decorated function, a Processor class, or a factory.

    Raises ConfigurationError for everything that can be wrong with it.
    """
    module_name, name = _split(target)
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = _import(module_name)
    found = _look_up(module, name)
    try:
        if inspect.isfunction(found) and facts_of(found) is None and not inspect.signature(found).parameters:
            made = found()
            if isinstance(made, App):
                return made
        return found if isinstance(found, App) else App(found)
    except StreamkitError:
        raise
    except Exception as error:
        raise raised_by_user_code(f"{target} cannot be made", error) from error


def _split(target: str) -> tuple[str, str]:
    module, colon, name = target.partition(":")
    if module.endswith(".py") or "/" in module:
        meant = module.removesuffix(".py").strip("./").replace("/", ".")
        raise ConfigurationError(f"{module!r} is a path, not the name of a module", fix=f"write {meant}:{name or 'NAME'}")
    if not colon or not _FORM.fullmatch(module) or not _FORM.fullmatch(name):
        fix = f"write {module}:NAME" if not colon and _FORM.fullmatch(module) else _EXAMPLE
        raise ConfigurationError(f"{target!r} is not of the form MODULE:NAME", fix=fix)
    return module, name


def _import(name: str) -> ModuleType:
    try:
        with importing():
            module = importlib.import_module(name)
    except StreamkitError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise _no_module(name, error.name) from error
        raise raised_by_user_code(f"{name} cannot be imported", error) from error
    except (Exception, SystemExit) as error:
        raise raised_by_user_code(f"{name} cannot be imported", error) from error
    return module


def _no_module(wanted: str, missing: str) -> ConfigurationError:
    """`missing` is the part of `wanted` that does not exist."""
    parent, _, last = missing.rpartition(".")
    if parent and not hasattr(sys.modules.get(parent), "__path__"):
        return ConfigurationError(f"{parent} is a module and not a package, so there is no {wanted}", fix=_EXAMPLE)
    folders = list(sys.modules[parent].__path__) if parent else [str(Path.cwd())]
    near = closest(last, [module.name for module in pkgutil.iter_modules(folders)])
    where = f"in {folders[0]}" if parent else f"in {folders[0]} or among what is installed"
    fix = f"did you mean {f'{parent}.{near}' if parent else near}?" if near else "go to the folder that the module is in"
    return ConfigurationError(f"there is no module {missing!r} {where}", fix=fix)


def _look_up(module: ModuleType, name: str) -> object:
    found: object = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise _no_name(module, name) from None
    return found


def _no_name(module: ModuleType, name: str) -> ConfigurationError:
    usable = [key for key, value in vars(module).items() if _is_target(value)]
    local = Path.cwd() / f"{module.__name__.replace('.', '/')}.py"
    file = getattr(module, "__file__", None)
    if local.exists() and (file is None or Path(file).resolve() != local.resolve()):
        cause = f"the name {module.__name__!r} belongs to {file or 'a module of Python itself'}, which hides {local}"
        return ConfigurationError(cause, fix=f"rename {local.name}")
    near = closest(name, usable) or closest(name, [key for key in vars(module) if not key.startswith("_")])
    if near:
        fix = f"did you mean {module.__name__}:{near}?"
    elif usable:
        fix = f"{module.__name__} has {', '.join(usable)}"
    else:
        fix = "put @record_processor or @processor above a function in it"
    return ConfigurationError(f"module {module.__name__!r} has no {name!r}", fix=fix)


def _is_target(value: object) -> bool:
    return value is not Processor and (isinstance(value, App) or facts_of(value) is not None)


def raised_by_user_code(doing: str, error: BaseException) -> ConfigurationError:
    """An error of the user's own code as one line: what it was, and the deepest line of theirs that it came from."""
    what = f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": ")
    if isinstance(error, SyntaxError) and error.filename:
        what, file, line = f"{type(error).__name__}: {error.msg}", error.filename, error.lineno or 0
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_foreign(frame.filename)]
        if not frames:
            return ConfigurationError(f"{doing}: {what}")
        file, line = frames[-1].filename, frames[-1].lineno or 0
    code = linecache.getline(file, line).strip()
    fix = f"mend line {line}: {code}" if code else f"mend line {line}"
    return ConfigurationError(f"{doing}: {file} line {line}: {what}", fix=fix)


def _is_foreign(file: str) -> bool:
    """Ours, Python's own, or an installed package's: not what the user has written."""
    return file.startswith((_OURS, "<")) or "site-packages" in file or file.startswith(str(Path(traceback.__file__).parent))
