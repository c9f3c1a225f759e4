"""Fetching: which installer, where to, and one line that says why not."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from streamkit_sandbox import java
from streamkit_sandbox.errors import SandboxError, ServerUnavailableError
from streamkit_sandbox.java import jars, java_launcher
from streamkit_sandbox.wheels import fetched, installer

FAKE_UV = """#!{python}
import sys
from pathlib import Path
arguments = sys.argv[1:]
if "broken==1" in arguments:
    sys.exit("error: no such\\n  package")
target = Path(arguments[arguments.index("--target") + 1])
target.mkdir()
(target / "arguments").write_text(" ".join(arguments))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMKIT_SANDBOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("STREAMKIT_SANDBOX_JAVA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def fake_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "uv"
    script.write_text(FAKE_UV.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setenv("UV", str(script))


@pytest.mark.usefixtures("fake_uv")
def test_a_package_goes_into_the_cache_and_nowhere_else(cache: Path) -> None:
    folder = fetched("kafka", "thing==2")
    assert folder.is_relative_to(cache)
    assert f"--python {sys.executable}" in (folder / "arguments").read_text()


@pytest.mark.usefixtures("fake_uv")
def test_a_failed_fetch_is_one_line_with_server_cause_and_fix(cache: Path) -> None:
    with pytest.raises(ServerUnavailableError) as caught:
        fetched("kafka", "broken==1")
    assert str(caught.value).startswith("kafka is not available: broken==1 could not be fetched (error: no such package); ")
    assert "\n" not in str(caught.value)
    assert not [path for path in (cache / "wheels").iterdir() if path.suffix != ".lock"]


def test_uvs_own_variable_wins_then_the_path_then_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"uv", "pip"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in here else None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/somewhere/{name}")
    monkeypatch.setenv("UV", "/chosen/uv")
    starts = [(installer() or [""])[0]]
    monkeypatch.delenv("UV")
    starts.append((installer() or [""])[0])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    starts.append(" ".join((installer() or [])[1:4]))
    here.remove("uv")
    starts.append(" ".join((installer() or [])[1:4]))
    here.remove("pip")
    assert starts == ["/chosen/uv", "/somewhere/uv", "-m uv pip", "-m pip install"]
    assert installer() is None
    with pytest.raises(ServerUnavailableError, match="neither uv nor pip is here; install uv"):
        fetched("kafka", "thing==2")


def fake_java(folder: Path, version: str) -> None:
    launcher = folder / "java"
    launcher.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('openjdk version \"{version}\"')\n".replace("sys.exit(", "print("))
    launcher.chmod(0o755)


@pytest.mark.usefixtures("fake_uv")
@pytest.mark.parametrize(
    ("version", "choice", "system"), [("17.0.15", "", True), ("1.8.0", "", False), ("11", "", False), ("25", "wheel", False)]
)
def test_a_java_of_17_or_later_is_preferred_unless_the_wheel_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, choice: str, system: bool
) -> None:
    fake_java(tmp_path, version)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("STREAMKIT_SANDBOX_JAVA", choice)
    assert (java_launcher("kafka") == (tmp_path / "java").resolve()) is system


def test_the_version_of_a_java_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, "21")
    monkeypatch.setenv("PATH", str(tmp_path))
    java_launcher("kafka")
    java._version.cache_clear()  # as in another process
    monkeypatch.setattr(subprocess, "run", None)
    assert java_launcher("kafka").name == "java"


def test_no_java_where_the_systems_own_is_demanded_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("STREAMKIT_SANDBOX_JAVA", "system")
    with pytest.raises(ServerUnavailableError, match="unset STREAMKIT_SANDBOX_JAVA"):
        java_launcher("kafka")


def test_an_unknown_choice_of_java_is_an_error_not_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMKIT_SANDBOX_JAVA", "jdk")
    with pytest.raises(SandboxError, match="use wheel or system") as caught:
        java_launcher("kafka")
    assert not isinstance(caught.value, ServerUnavailableError)


def test_jars_are_resolved_once_and_again_when_they_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = tmp_path / "a-1.jar"
    resolved: list[str] = []

    def resolve(server: str, coordinates: list[str], draft: Path) -> None:
        resolved.append(server)
        jar.touch()
        draft.write_text(json.dumps([str(jar)]))

    monkeypatch.setattr(java, "_resolve", resolve)
    assert jars("kafka", ["g:a:1"]) == jars("kafka", ["g:a:1"]) == [jar]
    assert len(resolved) == 1
    jar.unlink()
    assert jars("kafka", ["g:a:1"]) == [jar]
    assert len(resolved) == 2


def test_a_failed_resolution_names_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "jgo.py").write_text("raise SystemExit('no such coordinates')")
    monkeypatch.setattr(java, "fetched", lambda server, requirement: library)
    with pytest.raises(ServerUnavailableError, match="kafka is not available: its jars could not be resolved"):
        jars("kafka", ["g:a:1"])


def jgo_with(tmp_path: Path, build: str) -> Path:
    """A library `jgo` with this body of `build(name, cache_dir)`, and poms that have a parent."""
    package = tmp_path / "library" / "jgo"
    package.mkdir(parents=True)
    (package / "maven.py").write_text(
        "class POM:\n"
        "    properties = property(lambda self: {'own': '1'})\n"
        "    def value(self, path): return {'parent/groupId': 'g', 'parent/version': '7'}.get(path)\n"
    )
    (package / "__init__.py").write_text(
        "from pathlib import Path\nfrom types import SimpleNamespace\nfrom jgo.maven import POM\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "def build(name, cache_dir):\n"
        f"    jars = {build}\n"
        "    for jar in jars: (folder / jar).touch()\n"
        "    return SimpleNamespace(all_jars=[folder / jar for jar in jars])\n"
    )
    return package.parent


def test_of_two_versions_of_an_artifact_the_servers_own_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = jgo_with(tmp_path, "{'server': ['server-4.jar', 'api-2.jar'], 'extra': ['api-1.jar', 'extra-1.jar']}[name]")
    monkeypatch.setattr(java, "fetched", lambda server, requirement: library)
    assert [jar.name for jar in jars("kafka", ["server", "extra"])] == ["server-4.jar", "api-2.jar", "extra-1.jar"]


def test_artifacts_of_one_name_and_two_groups_are_both_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = jgo_with(tmp_path, "['notes-2.jar', 'notes-26.jar']")
    monkeypatch.setattr(java, "fetched", lambda server, requirement: library)
    assert [jar.name for jar in jars("kcl", ["client"])] == ["notes-2.jar", "notes-26.jar"]


def test_a_pom_may_name_its_group_by_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = jgo_with(tmp_path, "[f'{name}-{POM().properties[name]}.jar' for name in ('parent.groupId', 'parent.version', 'own')]")
    monkeypatch.setattr(java, "fetched", lambda server, requirement: library)
    assert [jar.name for jar in jars("kcl", ["client"])] == ["parent.groupId-g.jar", "parent.version-7.jar", "own-1.jar"]


HALF_A_RESOLUTION = """
import os, sys
from pathlib import Path
from types import SimpleNamespace

def build(name, cache_dir):
    repository, made = Path(os.environ["M2_REPO"]), cache_dir / "envs" / name / "modules"
    (repository / name).mkdir(parents=True, exist_ok=True)
    jar = repository / name / "it-1.jar"
    if jar.exists() or made.exists():
        if name == "broken":
            sys.exit("took what it found")
    else:
        jar.touch()
        made.mkdir(parents=True)
    if name == "broken" and not (cache_dir / "second").exists():
        (cache_dir / "second").touch()
        os.kill(os.getpid(), 9)
    (made.parent / "jgo.lock.toml").touch()
    return SimpleNamespace(all_jars=[jar])
"""


def test_what_a_killed_resolution_left_is_fetched_again_and_nothing_else(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = jgo_with(tmp_path, "[]")
    (library / "jgo" / "__init__.py").write_text(HALF_A_RESOLUTION)
    monkeypatch.setattr(java, "fetched", lambda server, requirement: library)
    (whole,) = jars("kafka", ["whole"])
    assert whole.is_relative_to(cache)
    with pytest.raises(ServerUnavailableError, match="exit code -9"):
        jars("dynamodb", ["broken"])
    assert [jar.parent.name for jar in jars("dynamodb", ["broken"])] == ["broken"]
    assert whole.exists()


WAITS = """
import os
from types import SimpleNamespace

def build(name, cache_dir):
    open(os.environ["GATE"], "rb").read()
    return SimpleNamespace(all_jars=[])
"""
RESOLVES = """
import sys
from pathlib import Path
from streamkit_sandbox import java
java.fetched = lambda server, requirement: Path(sys.argv[1])
java.jars("dynamodb", ["g:a:1"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs file locks and a named pipe")
def test_a_resolution_keeps_the_lock_until_it_ends_itself_also_when_its_owner_is_killed(cache: Path, tmp_path: Path) -> None:
    import fcntl

    library, gate = jgo_with(tmp_path, "[]"), tmp_path / "gate"
    (library / "jgo" / "__init__.py").write_text(WAITS)
    os.mkfifo(gate)
    with subprocess.Popen([sys.executable, "-c", RESOLVES, str(library)], env=os.environ | {"GATE": str(gate)}) as owner:
        opened = gate.open("wb")  # returns when the resolution has opened the other end
        owner.kill()
    with (cache / "jars" / ".resolving.lock").open("wb") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        opened.close()
        fcntl.flock(lock, fcntl.LOCK_EX)
