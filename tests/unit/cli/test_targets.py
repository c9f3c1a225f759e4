"""MODULE:NAME wrong in every way: one line, a hint, exit code 2, and never a traceback of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine

ORDERS = """\
from streamkit import App, Processor, record_processor

@record_processor
def handle(record, context): ...

def plain(record, context): ...

class NeedsArguments(Processor):
    def __init__(self, database): ...

class NoProcessor: ...

def failing_factory():
    return 1 / 0

number = 3
processor = Processor()
"""

FILES = {
    "orders.py": ORDERS,
    "raises.py": "import orders\nx = 1 / 0\n",
    "syntax.py": "def (\n",
    "needs.py": "import not_installed_anywhere\n",
    "exits.py": "import sys; sys.exit(3)\n",
    "runs.py": "from orders import handle\nfrom streamkit import App, run\nrun(App(handle))\n",
    "json.py": "handle = 1\n",
    "within.py": "from orders import failing_factory\n\nfailing_factory()\n",
}

_UNDECORATED = "put @record_processor (one record a call) or @processor (a batch a call) above it, or give a Processor class"
_FORM = "write MODULE:NAME, such as orders:handle for `handle` in orders.py"

WRONG = {
    "orders": ("'orders' is not of the form MODULE:NAME", "write orders:NAME"),
    ":handle": ("':handle' is not of the form MODULE:NAME", _FORM),
    "": ("'' is not of the form MODULE:NAME", _FORM),
    "orders.py:handle": ("'orders.py' is a path, not the name of a module", "write orders:handle"),
    "./billing/orders.py": ("'./billing/orders.py' is a path, not the name of a module", "write billing.orders:NAME"),
    "ordrs:handle": ("there is no module 'ordrs' in <folder> or among what is installed", "did you mean orders?"),
    "zzz:handle": ("there is no module 'zzz' in <folder> or among what is installed", "go to the folder that the module is in"),
    "orders.sub:handle": ("orders is a module and not a package, so there is no orders.sub", _FORM),
    "orders:handel": ("module 'orders' has no 'handel'", "did you mean orders:handle?"),
    "orders:zzz": ("module 'orders' has no 'zzz'", "orders has handle, NeedsArguments, processor"),
    "orders:plain": ("plain is not a processor", _UNDECORATED),
    "orders:NoProcessor": ("NoProcessor is not a processor", _UNDECORATED),
    "orders:number": ("a value of type int is not a processor", _UNDECORATED),
    "orders:processor": (
        "Processor is given as one processor object, but every assignment needs its own",
        "give the class, or a factory",
    ),
    "orders:NeedsArguments": (
        "NeedsArguments cannot be made without arguments, and every assignment makes one",
        "give a function without parameters that returns NeedsArguments(...)",
    ),
    "orders:failing_factory": (
        "orders:failing_factory cannot be made: <folder>/orders.py line 14: ZeroDivisionError: division by zero",
        "mend line 14: return 1 / 0",
    ),
    "raises:x": ("raises cannot be imported: <folder>/raises.py line 2: ZeroDivisionError: division by zero", "mend line 2: x = 1 / 0"),
    "within:x": (
        "within cannot be imported: <folder>/orders.py line 14: ZeroDivisionError: division by zero",
        "mend line 14: return 1 / 0",
    ),
    "syntax:x": ("syntax cannot be imported: <folder>/syntax.py line 1: SyntaxError: invalid syntax", "mend line 1: def ("),
    "needs:x": (
        "needs cannot be imported: <folder>/needs.py line 1: ModuleNotFoundError: No module named 'not_installed_anywhere'",
        "mend line 1: import not_installed_anywhere",
    ),
    "exits:x": ("exits cannot be imported: <folder>/exits.py line 1: SystemExit: 3", "mend line 1: import sys; sys.exit(3)"),
    "runs:handle": ("run() was called while `streamkit run` imports this module", 'put it under `if __name__ == "__main__":`'),
}


@pytest.mark.parametrize("target", WRONG)
def test_a_wrong_target_is_one_line_and_a_hint(cli: CommandLine, target: str) -> None:
    for name, text in FILES.items():
        cli.file(name, text)
    answer = cli("run", target)
    message, fix = WRONG[target]
    assert answer.err == f"streamkit: {message}\n  fix: {fix}\n"
    assert (answer.code, answer.out) == (2, "")


def test_a_module_that_a_module_of_python_hides_says_so(cli: CommandLine) -> None:
    cli.file("json.py", FILES["json.py"])
    answer = cli("run", "json:handle")
    assert answer.code == 2
    assert answer.err.startswith("streamkit: the name 'json' belongs to ")
    assert answer.err.endswith("which hides <folder>/json.py\n  fix: rename json.py\n")


def test_debug_shows_the_traceback_too(cli: CommandLine) -> None:
    cli.file("raises.py", "x = 1 / 0\n")
    answer = cli("run", "raises:x", "--debug")
    assert "Traceback (most recent call last)" in answer.err
    assert answer.err.endswith("mend line 1: x = 1 / 0\n")


def test_a_factory_an_app_and_a_factory_of_apps_run(cli: CommandLine) -> None:
    more = "def make(): return Processor()\nhere = App(handle, group='code')\ndef make_app(): return App(handle, group='made')\n"
    cli.file("orders.py", ORDERS + more)
    for target, group in (("make", "billing"), ("here", "code"), ("make_app", "made")):
        answer = cli("run", f"orders:{target}", STOP="at_end")
        assert answer.code == 0, answer.err
        assert f"orders from memory, as group {group}\n" in answer.err


def test_a_lifespan_that_raises_is_the_users_own_error(cli: CommandLine) -> None:
    code = ORDERS + "\ndef lifespan():\n    raise OSError('no database')\n\napp = App(handle, lifespan=lifespan)\n"
    cli.file("orders.py", code)
    answer = cli("run", "orders:app")
    assert answer.err.splitlines()[-2:] == [
        "streamkit: orders:app failed: <folder>/orders.py line 20: OSError: no database",
        "  fix: mend line 20: raise OSError('no database')",
    ]
    assert answer.code == 2
