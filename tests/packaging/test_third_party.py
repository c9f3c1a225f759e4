"""A plugin as somebody outside would write it: installed from wheels in a clean environment, and there like any other."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from streamkit_sandbox.redis import RedisServer

from tests.packaging.test_wheels import ROOT, Environment, uv, version

PLUGIN = ROOT / "examples" / "plugin_redis_streams"
MAX_LINES = 250
PUBLIC = ("streamkit.errors", "streamkit.model", "streamkit.plugin")
FIRST = {"ada": "tea", "bob": "milk", "eve": "jam"}

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """streamkit, the sandbox and the plugin as wheels, and what tests of the plugin need."""
    dist = tmp_path_factory.mktemp("dist")
    for name in ("streamkit", "streamkit-sandbox"):
        uv("build", "--quiet", "--wheel", "--package", name, "--out-dir", dist)
    copy = shutil.copytree(PLUGIN, tmp_path_factory.mktemp("plugin") / "copy")
    uv("build", "--quiet", "--wheel", "--out-dir", dist, folder=copy)
    environment = Environment(tmp_path_factory.mktemp("outside"))
    wheels = {wheel.name.split("-")[0]: wheel for wheel in dist.glob("*.whl")}
    environment.install(f"{wheels['streamkit']}[testing]", wheels["streamkit_sandbox"], wheels["streamkit_redisstreams"])
    shutil.copytree(PLUGIN / "tests", environment.folder / "tests")
    shutil.copy(ROOT / "examples" / "01_first_processor" / "first.py", environment.folder)
    return environment


def test_it_is_made_of_public_modules_alone_and_is_short() -> None:
    files = sorted((PLUGIN / "streamkit_redisstreams").glob("*.py"))
    text = "".join(file.read_text("utf-8") for file in files)
    imported = set(re.findall(r"^from (streamkit[.\w]*) import", text, re.MULTILINE)) - {"streamkit_redisstreams"}
    assert {name for name in imported if not name.startswith("streamkit_redisstreams")} <= set(PUBLIC)
    assert len(text.splitlines()) < MAX_LINES


def test_it_keeps_every_rule_on_a_real_redis(installed: Environment) -> None:
    done = installed.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) > 30  # type: ignore[union-attr]


def test_the_first_processor_runs_on_it_and_goes_on_where_it_was(installed: Environment) -> None:
    plugin = installed.plugins()["redisstreams"]
    assert plugin["version"] == version()
    readme = (PLUGIN / "README.md").read_text("utf-8")
    with RedisServer() as server:
        variables = (
            dict(word.split("=", 1) for word in readme.split() if word.startswith("STREAMKIT_"))
            | server.settings()
            | {"STREAMKIT_STOP": "at_end"}
        )
        add(server.url, installed, FIRST)
        first = installed.run("streamkit", "run", "first:handle", **variables)
        assert sorted(first.stdout.splitlines()) == [f"{who} ordered {what.encode()!r}" for who, what in FIRST.items()], first.stderr
        add(server.url, installed, {"zoe": "rum"})
        again = installed.run("streamkit", "run", "first:handle", **variables)
        assert again.stdout.splitlines() == ["zoe ordered b'rum'"], again.stderr


def add(url: str, environment: Environment, orders: dict[str, str]) -> None:
    """By the client that came with the plugin."""
    code = "import json, sys, redis\nclient = redis.Redis.from_url(sys.argv[1])\n"
    code += "for who, what in json.loads(sys.argv[2]).items(): client.xadd('orders:0', {'key': who, 'value': what})"
    done = environment.run("python", "-c", code, url, json.dumps(orders))
    assert done.returncode == 0, done.stderr
