"""Every example and every snippet runs. Those with shown output are run by test_blocks.py; here are the others, and Kafka."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from streamkit_sandbox.eventhubs.server import EventHubsServer

from streamkit.builtin.memory import MemoryLog
from streamkit.testing import SimulationFailed, simulate
from tests.docs.pages import DOCS, EXAMPLES, ROOT, SNIPPETS, Block, blocks, environment, variables_of

if TYPE_CHECKING:
    from streamkit_sandbox.azurite import AzuriteServer
    from streamkit_sandbox.dynamodb import DynamoDBServer
    from streamkit_sandbox.kafka import KafkaServer
    from streamkit_sandbox.kinesis import KinesisServer

FIRST = EXAMPLES / "01_first_processor"
SCRIPTS = {
    "health": 0,
    "json_logs": 0,
    "leases": 0,
    "lifespan": 0,
    "my_tokens": 0,
    "observer": 0,
    "outcomes": 1,
    "pipelines": 0,
    "prepared": 0,
    "traced": 0,
}
"""Snippets that are programs, and the code that each ends with."""
TESTS = ("test_keys", "test_orders", "test_failures", "test_from_event_processor", "test_from_kcl", "test_emulator", "test_simulated")
"""Snippets that are tests."""
ORDERS = ["ada ordered b'tea'", "bob ordered b'jam'", "ada ordered b'milk'"]


def run(*arguments: object, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=60, check=False)


def imported(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_snippet_runs(name: str, tmp_path: Path) -> None:
    done = run(SNIPPETS / f"{name}.py", folder=tmp_path, STREAMKIT_BROKER="memory", STREAMKIT_STOP="at_end")
    assert done.returncode == SCRIPTS[name], done.stderr


def test_the_snippet_about_outcomes_does_what_its_page_says(tmp_path: Path) -> None:
    variables = {"STREAMKIT_BROKER": "memory", "STREAMKIT_STOP": "at_end", "STREAMKIT_MEMORY__PARTITIONS": "1"}
    done = run(SNIPPETS / "outcomes.py", folder=tmp_path, **variables)
    assert done.stdout.split() == ["1", "2"]
    assert "not JSON" in done.stderr


@pytest.mark.parametrize(
    ("file", "name"),
    [(file, name) for file in TESTS for name in vars(imported(SNIPPETS / f"{file}.py", f"names_{file}")) if name.startswith("test_")],
)
def test_the_tests_that_the_docs_show_pass(file: str, name: str) -> None:
    getattr(imported(SNIPPETS / f"{file}.py", f"snippet_{file}"), name)()


def test_the_first_processor_lives_through_its_simulation() -> None:
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_first.py", folder=FIRST)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_life_that_the_page_shows_can_be_replayed() -> None:
    shop = imported(SNIPPETS / "test_simulated.py", "snippet_replayed")
    (text,) = [block.text for block in blocks("text", pages=[DOCS / "how-to" / "simulate.md"]) if "streamkit simulation" in block.text]
    replay = text[text.index("streamkit simulation") : text.index("\n\n", text.index("streamkit simulation"))]
    with pytest.raises(SimulationFailed) as failed:
        simulate(shop.Shop, setup=shop.sent.clear, check=shop.all_were_sent, replay=replay)
    assert str(failed.value).splitlines()[:2] == text.splitlines()[:2]


def test_every_snippet_is_run_here_and_shown_somewhere() -> None:
    files = {file.name for file in SNIPPETS.rglob("*.py")}
    assert files == {f"{name}.py" for name in (*SCRIPTS, *TESTS)}
    assert files <= {block.include[0].name for block in blocks("python") if block.include is not None}


def test_the_example_with_totals_counts_nothing_twice_when_records_come_again(tmp_path: Path) -> None:
    """A second run has an empty store of checkpoints and the same records: all of them come again."""
    folder = EXAMPLES / "02_batch_and_flush"
    first, second = (run(folder / "on_memory.py", folder=tmp_path) for _ in range(2))
    assert first.stdout == second.stdout
    assert first.stdout.count("\n") == 3, first.stderr
    with closing(sqlite3.connect(tmp_path / "totals.db")) as database:
        assert database.execute("SELECT sum(cents) FROM totals").fetchone() == (sum(range(1000)),)


async def ask(api: Callable[..., Any], path: str) -> tuple[int, dict[str, Any]]:
    """One GET, without a server and without an HTTP client."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "root_path": "", "http_version": "1.1"}
    await api({**scope, "scheme": "http", "server": ("test", 80), "client": ("test", 1)}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    for name in [name for name in os.environ if name.upper().startswith("STREAMKIT_")]:
        monkeypatch.delenv(name)
    for name, value in {"BROKER": "memory", "STREAM": "orders", "GROUP": "web", "MEMORY__NAME": "web"}.items():
        monkeypatch.setenv(f"STREAMKIT_{name}", value)
    yield imported(EXAMPLES / "04_inside_fastapi" / "service.py", "service_example")
    MemoryLog.forget("web")


def test_the_service_consumes_from_its_start_to_its_end(service: ModuleType) -> None:
    log = MemoryLog.named("web")
    log.create("orders", partitions=2)
    for number in range(10):
        log.append("orders", b"", key=b"ada" if number % 2 else b"bob")

    async def live() -> None:
        async with service.api.router.lifespan_context(service.api):
            until = time.monotonic() + 60
            while sum((await ask(service.api, "/orders"))[1].values()) < 10 and time.monotonic() < until:
                await asyncio.sleep(0.02)
            assert await ask(service.api, "/orders") == (200, {"ada": 5, "bob": 5})
            assert await ask(service.api, "/healthz") == (200, {})
        assert service.api.state.serving.done()
        assert service.api.state.consumer.exit_code == 0

    asyncio.run(live())


def test_the_service_is_red_when_the_consumer_cannot_run(service: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMKIT_BROKER", "nowhere")

    async def live() -> None:
        async with service.api.router.lifespan_context(service.api):
            while not service.api.state.serving.done():
                await asyncio.sleep(0.01)
            assert await ask(service.api, "/healthz") == (503, {"consumer": "has ended"})

    with pytest.raises(ValueError, match="nowhere"):
        asyncio.run(live())


def test_the_plugin_of_the_example_reads_files_and_goes_on_where_it_was(tmp_path: Path) -> None:
    """Installed as pip would: a folder on the path with the metadata of its entry point."""
    example = EXAMPLES / "05_own_broker"
    metadata = tmp_path / "site" / "streamkit_lines-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: streamkit-lines\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text("[streamkit]\nlines = streamkit_lines\n")
    file = tmp_path / "data" / "letters" / "a.txt"
    file.parent.mkdir(parents=True)
    file.write_text("one\ntwo\nthr")
    block = next(block for block in blocks("bash", pages=[example / "README.md"]))
    variables = dict(word.split("=", 1) for word in block.text.split() if word.startswith("STREAMKIT_"))
    variables |= {"PYTHONPATH": os.pathsep.join(map(str, (metadata.parent, example))), "STREAMKIT_STOP": "at_end"}
    program = "from show import show; from streamkit import App, run; run(App(show))"
    first = run("-c", program, folder=tmp_path, **variables)
    assert first.stdout.splitlines() == ["letters/a one", "letters/a two"], first.stderr
    file.write_text("one\ntwo\nthree\n")
    assert run("-c", program, folder=tmp_path, **variables).stdout.splitlines() == ["letters/a three"]


def test_the_commands_of_the_page_about_dead_letters_do_what_it_says(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES / "06_dead_letters", tmp_path / "folder")
    block = next(block for block in blocks("bash", pages=[DOCS / "how-to" / "dead-letters.md"]))
    said = []
    for line in block.text.splitlines():
        if " replay " in line:
            (folder / "stock.txt").write_text("tea milk jam")
        done = run("-m", *line.split(), folder=folder, STREAMKIT_CONFIG="shop.toml")
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.splitlines())
    sold, listed, shown, replayed, _ = said
    assert sold == ["order 1: tea", "order 3: milk"]
    assert [row.split()[0] for row in listed] == ["letter", "0/1", "0/2"]
    assert 'value      {"id": 4, "item": "jam"}' in shown
    assert replayed == ["order 2: jam", "order 4: jam"]


@pytest.mark.integration
def test_the_same_first_py_runs_on_kafka_with_both_protocols_by_variables_alone(kafka_server: KafkaServer, tmp_path: Path) -> None:
    servers = {"STREAMKIT_KAFKA__BOOTSTRAP_SERVERS": kafka_server.bootstrap_servers}
    filled = run(FIRST / "fill_kafka.py", kafka_server.bootstrap_servers, folder=tmp_path)
    assert filled.returncode == 0, filled.stderr
    for name in ("kafka.env", "kafka-kip848.env"):
        variables = variables_of((FIRST / name).read_text("utf-8")) | servers
        first = run("-m", "streamkit", "run", "first:handle", folder=FIRST, **variables)
        assert first.stdout.splitlines() == ORDERS, first.stderr
        again = run("-m", "streamkit", "run", "first:handle", folder=FIRST, **variables)
        assert (again.stdout, again.returncode) == ("", 0), again.stderr


@pytest.fixture
def aws(kinesis_server: KinesisServer, dynamodb_server: DynamoDBServer) -> dict[str, str]:
    """What the sandbox prints for boto3, without streamkit's own variables: these are the examples' affair."""
    printed = kinesis_server.settings() | dynamodb_server.settings()
    return {name: value for name, value in printed.items() if not name.startswith("STREAMKIT_")}


@pytest.mark.integration
def test_the_same_first_py_runs_on_kinesis_by_variables_alone(aws: dict[str, str], tmp_path: Path) -> None:
    filled = run(FIRST / "fill_kinesis.py", folder=tmp_path, **aws)
    assert filled.returncode == 0, filled.stderr
    variables = variables_of((FIRST / "kinesis.env").read_text("utf-8")) | aws
    first = run("-m", "streamkit", "run", "first:handle", folder=FIRST, **variables)
    assert first.stdout.splitlines() == ORDERS, first.stderr
    again = run("-m", "streamkit", "run", "first:handle", folder=FIRST, **variables)
    assert (again.stdout, again.returncode) == ("", 0), again.stderr

    # The blocks of the README, one after the other as a reader pastes them: from Kafka to Kinesis by three variables.
    kafka, kinesis, _ = of_the_readme()
    assert len(kinesis) == 3
    local = aws | {"STREAMKIT_STOP": "at_end"}
    from_readme = run("-m", "streamkit", "run", "first:handle", folder=FIRST, **kafka | kinesis | local)
    assert from_readme.stdout.splitlines() == ORDERS, from_readme.stderr


@pytest.mark.integration
def test_the_same_first_py_runs_on_event_hubs_by_variables_alone(azurite_server: AzuriteServer, tmp_path: Path) -> None:
    blobs = {"STREAMKIT_AZUREBLOB__CONNECTION_STRING": azurite_server.connection_string}
    with sandbox("eventhubs", "--stream", "orders", "--partitions", "1") as printed:
        hubs = printed["STREAMKIT_EVENTHUBS__CONNECTION_STRING"]
        filled = run(FIRST / "fill_eventhubs.py", hubs, folder=tmp_path)
        assert filled.returncode == 0, filled.stderr
        variables = printed | blobs | variables_of((FIRST / "eventhubs.env").read_text("utf-8"))
        first = run("-m", "streamkit", "run", "first:handle", folder=FIRST, **variables)
        assert first.stdout.splitlines() == ORDERS, first.stderr
        again = run("-m", "streamkit", "run", "first:handle", folder=FIRST, **variables)
        assert (again.stdout, again.returncode) == ("", 0), again.stderr

        # As a reader of the tutorial has it: what the sandbox prints is enough.
        pasted = run("-m", "streamkit", "run", "first:handle", folder=FIRST, **printed, STREAMKIT_STOP="at_end")
        assert pasted.stdout.splitlines() == ORDERS, pasted.stderr


@pytest.mark.integration
def test_the_block_of_the_readme_goes_from_kafka_to_event_hubs_by_four_variables(tmp_path: Path) -> None:
    kafka, _, eventhubs = of_the_readme()
    assert len(eventhubs) == 4
    with EventHubsServer({"orders": 1}, consumer_groups=["billing"]) as server:
        filled = run(FIRST / "fill_eventhubs.py", server.connection_string(), folder=tmp_path)
        assert filled.returncode == 0, filled.stderr
        local = {"STREAMKIT_EVENTHUBS__CONNECTION_STRING": server.connection_string(), "STREAMKIT_STOP": "at_end"}
        shutil.copy(FIRST / "first.py", tmp_path)  # the file of checkpoints is made where it runs
        done = run("-m", "streamkit", "run", "first:handle", folder=tmp_path, **kafka | eventhubs | local)
        assert done.stdout.splitlines() == ORDERS, done.stderr
        assert (tmp_path / "billing.db").exists()


@contextmanager
def sandbox(*arguments: str) -> Iterator[dict[str, str]]:
    """`streamkit sandbox`, and what it prints."""
    command = [sys.executable, "-m", "streamkit", "sandbox", *arguments, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True) as process:
        assert process.stdout is not None
        try:
            lines: list[str] = []
            while not lines or lines[-1] not in ("}\n", ""):
                lines.append(process.stdout.readline())
            yield json.loads("".join(lines))
        finally:
            process.terminate()


def of_the_readme() -> list[dict[str, str]]:
    """The variables of its blocks: Kafka, Kinesis, Event Hubs."""
    return [exported(block) for block in blocks("bash", pages=[ROOT / "README.md"]) if "export STREAMKIT_" in block.text]


def exported(block: Block) -> dict[str, str]:
    """The variables that its lines with `export` set."""
    lines = [line for line in block.text.splitlines() if line.startswith("export ")]
    return dict(word.split("=", 1) for line in lines for word in shlex.split(line)[1:])


def test_the_command_of_the_readme_runs_first_py_and_drains_at_sigterm() -> None:
    variables = {"STREAMKIT_BROKER": "memory", "STREAMKIT_STREAM": "orders", "STREAMKIT_GROUP": "billing"}
    command = [str(Path(sys.executable).with_name("streamkit")), "run", "first:handle"]
    process = subprocess.Popen(command, cwd=FIRST, env=environment(**variables), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        assert any(" assigned, epoch " in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, rest
