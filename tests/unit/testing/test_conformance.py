"""The kit itself: what is a rule, when one says nothing, and how it shows that it does not hold."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

import streamkit
from streamkit.builtin.memory import MemoryStore
from streamkit.plugin import AdapterContext
from streamkit.testing.conformance import BROKER_RULES, STORE_RULES, BrokerKit, Rule, StoreKit, check
from streamkit.testing.conformance.broker_bench import BrokerBench
from tests.conformance.memory_kits import MemoryKit, MemoryStoreKit, SplittingKit

RULES = {rule.id: rule for rule in (*BROKER_RULES, *STORE_RULES)}


def test_every_rule_has_an_id_of_its_own_a_title_and_a_reason() -> None:
    every = [*BROKER_RULES, *STORE_RULES]
    assert len(RULES) == len({rule.title for rule in every}) == len(every) > 100
    assert {rule.id[0] for rule in BROKER_RULES} == {"B", "P"}
    assert {rule.id[0] for rule in STORE_RULES} == {"S", "L"}
    for rule in every:
        assert re.fullmatch(r"[BPSL]\d\d", rule.id)
        assert rule.title
        assert not rule.title.endswith(".")
        assert rule.why.endswith("."), rule.id


def test_what_a_rule_needs_of_a_kit_is_a_method_of_it() -> None:
    assert [name for rule in BROKER_RULES for name in rule.kit if not hasattr(BrokerKit, name)] == []
    assert [name for rule in STORE_RULES for name in rule.kit if not hasattr(StoreKit, name)] == []


def test_nothing_but_the_kit_imports_pytest() -> None:
    package = Path(streamkit.__file__).parent
    sources = {path.relative_to(package): path.read_text("utf-8") for path in package.rglob("*.py")}
    importing = {path.parent.as_posix() for path, text in sources.items() if re.search(r"^\s*(import|from) pytest", text, re.MULTILINE)}
    assert importing == {"testing/conformance"}
    assert "conformance" not in sources[Path("testing/__init__.py")], "`import streamkit.testing` needs no pytest"


class HostKit(MemoryStoreKit):
    """Says host, and keeps everything in this process."""

    def store(self, context: AdapterContext) -> MemoryStore:
        store = super().store(context)
        store.capabilities = replace(store.capabilities, scope="host")  # type: ignore[misc]
        return store


class Excused(MemoryKit):
    excused: ClassVar = {"B40": "the moon is full"}


class ExcusedWithoutReason(MemoryKit):
    excused: ClassVar = {"B40": ""}


class ExcusedFromNothing(MemoryKit):
    excused: ClassVar = {"B99": "there is none"}


class WithoutEnd(MemoryKit):
    """Declares lineage, and cannot show it."""


class WithoutPatience(MemoryKit):
    rule_seconds = 0.05


def test_an_excused_rule_is_skipped_with_its_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match="the moon is full"):
        check(RULES["B40"], Excused("kafka"))
    check(RULES["B43"], Excused("kafka"))


def test_an_excuse_without_a_reason_or_without_a_rule_is_none() -> None:
    with pytest.raises(AssertionError, match="no reason for B40"):
        check(RULES["B40"], ExcusedWithoutReason("kafka"))
    with pytest.raises(AssertionError, match="B99"):
        check(RULES["B40"], ExcusedFromNothing("kafka"))


def test_what_is_not_declared_is_skipped() -> None:
    with pytest.raises(pytest.skip.Exception, match="'group' is not declared"):
        check(RULES["B07"], SplittingKit("kinesis"))
    with pytest.raises(pytest.skip.Exception, match="'lineage' is not declared"):
        check(RULES["B70"], MemoryKit("kafka"))
    with pytest.raises(pytest.skip.Exception, match="no method 'unreachable'"):
        check(RULES["B02"], MemoryKit("kafka"))


def test_a_declared_lineage_that_the_kit_cannot_show_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="needs a method 'end'"):
        check(RULES["B70"], WithoutEnd("kinesis"))


def test_a_rule_that_hangs_fails() -> None:
    async def hang(bench: BrokerBench) -> None:
        """Why."""
        await asyncio.Event().wait()

    rule: Rule[BrokerBench] = Rule.of("B98", "never comes to an end")(hang)
    with pytest.raises(AssertionError, match=r"B98 never comes to an end: .* within 0.05 s"):
        check(rule, WithoutPatience("kafka"))


def test_a_kit_that_cannot_go_to_another_process_says_so() -> None:
    class Local(HostKit):
        def __init__(self) -> None:
            super().__init__()
            self.lock = sys._getframe()

    with pytest.raises(AssertionError, match="Local goes to other processes and cannot be pickled"):
        check(RULES["S42"], Local())


@pytest.mark.parametrize("rule", ["S41", "S42", "L71", "L72"])
def test_a_store_that_says_host_and_is_of_one_process_is_caught(rule: str) -> None:
    with pytest.raises(AssertionError):
        check(RULES[rule], HostKit())


SQLITE = """
from streamkit.builtin.sqlite import SqliteSettings, SqliteStore
from streamkit.testing.conformance import StoreKit


class Kit(StoreKit):
    def __init__(self, folder):
        self.folder = folder

    def store(self, context):
        return SqliteStore(SqliteSettings(path=self.folder / "c.db"), context)
"""


def test_a_kit_goes_to_other_processes_from_a_file_that_cannot_be_imported_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "test_of_a_stranger.py"
    file.write_text(SQLITE)
    spec = importlib.util.spec_from_file_location("test_of_a_stranger", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, module.__name__, module)  # as pytest does with the modules that it imports from files
    spec.loader.exec_module(module)
    check(RULES["S41"], module.Kit(tmp_path))


MODULE = """
import pytest
from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemorySettings
from streamkit.testing.conformance import BrokerKit, broker_rules


class Broker(MemoryBroker):
    async def discover(self, streams, start):
        return []


class Kit(BrokerKit):
    def broker(self, context):
        return Broker(MemorySettings(name="inner"), context)

    def create(self, partitions):
        MemoryLog.named("inner").create("s", partitions)
        return "s"


@pytest.fixture
def kit():
    yield Kit()
    MemoryLog.forget("inner")


test_rules = broker_rules("kit")
"""


class Outcomes:
    """Told by an inner run of pytest."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


def test_each_rule_is_a_test_that_is_named_after_it(tmp_path: Path) -> None:
    module = tmp_path / "test_inner.py"
    module.write_text(textwrap.dedent(MODULE))
    outcomes = Outcomes()
    options = ["-p", "no:cacheprovider", "-p", "no:terminal", "-k", "B20 or B03", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    code = pytest.main([str(module), *options], plugins=[outcomes])
    assert code == pytest.ExitCode.TESTS_FAILED
    assert [one.split("::")[1] for one in outcomes.failed] == [f"test_rules[{RULES['B20']}]"]
