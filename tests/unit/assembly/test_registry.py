"""How plugins are found, chosen and refused. Installed ones are throw-away distributions: folders on `sys.path`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from pydantic import BaseModel

from streamkit.assembly.registry import PluginDescription, Registry
from streamkit.assembly.versions import allows
from streamkit.errors import (
    ConfigurationError,
    PluginConflictError,
    PluginLoadError,
    PluginVersionError,
    UnknownPluginError,
    UnsupportedError,
)
from streamkit.plugin import Plugin, hookimpl, register


class NoSettings(BaseModel):
    """A plugin without settings."""


def introduces(plugin: object) -> ModuleType:
    """A module whose hook returns `plugin`."""
    module = ModuleType(f"plugin_{id(plugin)}")

    def streamkit_plugin() -> object:
        return plugin

    module.streamkit_plugin = hookimpl(streamkit_plugin)  # type: ignore[attr-defined]
    return module


def plugin(name: str = "fake", **values: str) -> Plugin:
    return Plugin(name=name, settings=NoSettings, **values)


@pytest.fixture
def empty() -> Registry:
    return Registry(installed=())


class Site:
    """A folder on `sys.path` into which distributions are put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution: str, name: str, body: str, *, dist_version: str = "1.0") -> None:
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(body)
        info = self.folder / f"{module}-{dist_version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {dist_version}\n")
        (info / "entry_points.txt").write_text(f"[streamkit]\n{name} = {module}\n")


GOOD = """
from pydantic import BaseModel
from streamkit.plugin import Plugin, hookimpl, register

class NatsSettings(BaseModel):
    url: str = ""

@hookimpl
def streamkit_plugin():
    return Plugin(name="{name}", settings=NatsSettings, broker="testsite_nats:NatsBroker", producer="testsite_nats:NatsBroker")

class NatsBroker: ...
not_a_class = 1
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Site(tmp_path)
    for name in [name for name in sys.modules if name.startswith("testsite_")]:
        del sys.modules[name]


def test_the_name_of_the_entry_point_is_the_plugins_name(site: Site) -> None:
    site.install("testsite-nats", "nats", GOOD.format(name="nats"))
    assert Registry().select("nats", "broker").name == "nats"


def test_only_the_selected_plugin_is_imported(site: Site) -> None:
    site.install("testsite-nats", "nats", GOOD.format(name="nats"))
    site.install("testsite-other", "other", GOOD.format(name="other"))
    Registry().select("nats")
    assert "testsite_nats" in sys.modules
    assert "testsite_other" not in sys.modules


def test_a_broken_plugin_that_nobody_selected_stops_nothing_and_is_described(site: Site) -> None:
    site.install("testsite-nats", "nats", GOOD.format(name="nats"), dist_version="2.1")
    site.install("testsite-broken", "broken", "import no_such_sdk")
    registry = Registry()
    assert registry.select("nats").name == "nats"
    ours = [described for described in registry.describe() if described.distribution.startswith("testsite")]
    cause = "ModuleNotFoundError: No module named 'no_such_sdk'"
    assert ours == [
        PluginDescription("broken", "testsite-broken", "1.0", error=f"plugin 'broken' (testsite-broken 1.0) cannot be imported: {cause}"),
        PluginDescription("nats", "testsite-nats", "2.1", broker=True, producer=True),
    ]


def test_a_selected_plugin_that_cannot_be_imported_names_its_cause(site: Site) -> None:
    site.install("testsite-broken", "broken", "raise RuntimeError('no licence\\nat all')")
    with pytest.raises(PluginLoadError) as caught:
        Registry().select("broken")
    assert str(caught.value) == "plugin 'broken' (testsite-broken 1.0) cannot be imported: RuntimeError: no licence"
    assert caught.value.fix == "reinstall or remove testsite-broken"
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_two_distributions_with_one_name_are_a_conflict_that_names_both(site: Site) -> None:
    site.install("testsite-a", "nats", GOOD.format(name="nats"))
    site.install("testsite-b", "nats", GOOD.format(name="nats"), dist_version="3.0")
    registry = Registry()
    with pytest.raises(PluginConflictError) as caught:
        registry.select("nats")
    assert str(caught.value) == "plugin 'nats' is offered by testsite-a 1.0 and testsite-b 3.0"
    assert caught.value.fix == "remove all but one of them"
    assert {described.error for described in registry.describe() if described.name == "nats"} == {str(caught.value)}


def test_a_plugin_must_call_itself_what_its_entry_point_is_called(site: Site) -> None:
    site.install("testsite-nats", "nats", GOOD.format(name="jetstream"))
    with pytest.raises(PluginLoadError) as caught:
        Registry().select("nats")
    assert str(caught.value) == "plugin 'nats' (testsite-nats 1.0) calls itself 'jetstream'"


def test_a_hook_without_its_decorator_is_no_hook(site: Site) -> None:
    site.install("testsite-nats", "nats", GOOD.format(name="nats").replace("@hookimpl", ""))
    with pytest.raises(PluginLoadError) as caught:
        Registry().select("nats")
    assert str(caught.value) == "plugin 'nats' (testsite-nats 1.0) does not introduce itself: it returned no Plugin"
    assert caught.value.fix == "its author has to define `@hookimpl def streamkit_plugin() -> Plugin` in it (from streamkit.plugin)"


def test_a_hook_that_raises_is_a_load_error_and_can_be_tried_again(site: Site) -> None:
    site.install("testsite-nats", "nats", GOOD.format(name="nats").replace("return Plugin", "return Plugni"))
    registry = Registry()
    for _ in range(2):
        with pytest.raises(PluginLoadError, match=r"does not introduce itself: NameError: name 'Plugni' is not defined"):
            registry.select("nats")


def test_a_plugin_is_registered_in_code_like_an_installed_one(empty: Registry) -> None:
    registered = empty.register(introduces(plugin("fake", store="a:B")))
    assert empty.select("fake", "store") is registered
    assert empty.describe() == (PluginDescription("fake", "code", "", store=True),)
    assert empty.names == ("fake",)


def test_each_plugin_is_asked_once_and_no_other_with_it(empty: Registry) -> None:
    asked: list[str] = []
    for name in ("one", "two"):
        module = ModuleType(name)

        def streamkit_plugin(name: str = name) -> Plugin:
            asked.append(name)
            return plugin(name)

        module.streamkit_plugin = hookimpl(streamkit_plugin)  # type: ignore[attr-defined]
        empty.register(module)
    empty.select("one")
    assert asked == ["one", "two"]


def test_an_object_with_the_hook_is_a_plugin_too(empty: Registry) -> None:
    class Inline:
        @hookimpl
        def streamkit_plugin(self) -> Plugin:
            return plugin("inline")

    assert empty.register(Inline()).name == "inline"


def test_a_name_that_is_taken_is_refused_in_code(empty: Registry) -> None:
    empty.register(introduces(plugin("fake")))
    with pytest.raises(PluginConflictError, match="plugin 'fake' is offered by code and code"):
        empty.register(introduces(plugin("fake")))
    assert empty.select("fake").name == "fake"


def test_what_a_program_registers_is_known_to_every_registry_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.plugin.plugin._registered", [])
    module = introduces(plugin("fake", store="a:B"))
    register(module)
    register(module)
    assert Registry().select("fake", "store").store == "a:B"
    assert "fake" not in Registry(installed=()).names


def test_registering_a_plugin_twice_is_refused(empty: Registry) -> None:
    module = introduces(plugin("fake"))
    empty.register(module)
    with pytest.raises(PluginConflictError, match="is there already"):
        empty.register(module)


def test_a_hook_that_does_not_exist_is_refused(empty: Registry) -> None:
    module = introduces(plugin("fake"))
    module.streamkit_plugn = hookimpl(lambda: None)  # type: ignore[attr-defined]
    with pytest.raises(PluginLoadError, match="unknown hook 'streamkit_plugn'"):
        empty.register(module)
    empty.check_pending()


@pytest.mark.parametrize("answer", [None, "fake", NoSettings])
def test_a_hook_that_returns_no_plugin_is_refused(empty: Registry, answer: object) -> None:
    with pytest.raises(PluginLoadError, match="it returned no Plugin"):
        empty.register(introduces(answer))


@pytest.mark.parametrize("name", ["Fake", "my_broker", "", "9p", "stream"])
def test_a_name_that_cannot_be_a_section_is_refused(empty: Registry, name: str) -> None:
    with pytest.raises(PluginLoadError, match=f"cannot be called {name!r}"):
        empty.register(introduces(plugin(name)))


def test_a_plugin_for_another_version_of_streamkit_is_refused(empty: Registry) -> None:
    with pytest.raises(PluginVersionError) as caught:
        empty.register(introduces(plugin("fake", requires=">=99")))
    assert str(caught.value).endswith(f"needs streamkit >=99, and this is {version('streamkit')}")
    assert caught.value.fix == "install versions of the two that fit"


def test_a_version_range_that_cannot_be_read_is_a_load_error(empty: Registry) -> None:
    with pytest.raises(PluginLoadError, match=r"'~=0\.1' is not a version range like >=0.1"):
        empty.register(introduces(plugin("fake", requires="~=0.1")))


@pytest.mark.parametrize(
    ("requires", "has", "fits"),
    [
        ("", "0.1.0", True),
        (">=0.1,<0.3", "0.1.0", True),
        (">=0.1, <0.3", "0.2.9", True),
        (">=0.1,<0.3", "0.3", False),
        (">=0.2", "0.10.0", True),
        ("==0.3", "0.3.0", True),
        ("!=0.3.1", "0.3.1", False),
        (">0.3", "0.3.0", False),
        ("<=1", "1.0.0rc1", True),
    ],
)
def test_versions_are_compared_as_numbers(requires: str, has: str, fits: bool) -> None:
    assert allows(requires, has) is fits


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("kafka", "pip install 'streamkit[kafka]'"),
        ("kafak", "did you mean 'kafka'? pip install 'streamkit[kafka]'"),
        ("Fake", "did you mean 'fake'?"),
        ("kinesis", "pip install 'streamkit[kinesis]'"),
        ("eventhub", "did you mean 'eventhubs'? pip install 'streamkit[eventhubs]'"),
        ("dynamodb", "pip install 'streamkit[dynamodb]'"),
        ("azureblob", "pip install 'streamkit[azureblob]'"),
        ("postgres", "installed are: fake"),
    ],
)
def test_an_unknown_plugin_suggests_what_was_meant_or_how_to_get_it(empty: Registry, name: str, fix: str) -> None:
    empty.register(introduces(plugin("fake")))
    with pytest.raises(UnknownPluginError) as caught:
        empty.select(name, "broker")
    assert str(caught.value) == f"no broker {name!r} is installed"
    assert caught.value.fix == fix


def test_a_plugin_without_the_role_is_unsupported_and_those_with_it_are_listed(empty: Registry) -> None:
    empty.register(introduces(plugin("keeps", store="a:B")))
    empty.register(introduces(plugin("reads", broker="a:B")))
    with pytest.raises(UnsupportedError) as caught:
        empty.select("keeps", "broker")
    assert str(caught.value) == "plugin 'keeps' is no broker"
    assert caught.value.fix == "those that are: reads"


def test_a_factory_is_imported_when_it_is_asked_for(site: Site) -> None:
    site.install("testsite-nats", "nats", GOOD.format(name="nats"))
    assert Registry().load_factory("nats", "testsite_nats:NatsBroker").__name__ == "NatsBroker"


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("testsite_gone:X", "ModuleNotFoundError: No module named 'testsite_gone'"),
        ("testsite_nats:Gone", "AttributeError: module 'testsite_nats' has no attribute 'Gone'"),
        ("testsite_nats:not_a_class", "TypeError: it is not a class"),
        ("testsite_nats", "ValueError: it is not of the form module:Name"),
    ],
)
def test_a_factory_that_cannot_be_loaded_names_plugin_and_cause(site: Site, path: str, cause: str) -> None:
    site.install("testsite-nats", "nats", GOOD.format(name="nats"))
    with pytest.raises(PluginLoadError) as caught:
        Registry().load_factory("nats", path)
    assert str(caught.value) == f"plugin 'nats' cannot load {path!r}: {cause}"
    assert caught.value.__cause__ is not None


def test_streamkits_own_plugins_are_entry_points_like_all_others() -> None:
    assert {"memory", "file", "sqlite"} <= set(Registry().names)


def test_an_entry_point_without_a_distribution_is_named_by_its_value() -> None:
    entry = SimpleNamespace(name="odd", value="odd_module", dist=None, load=lambda: 1 / 0)
    with pytest.raises(ConfigurationError, match=r"plugin 'odd' \(odd_module\) cannot be imported: ZeroDivisionError: division by zero"):
        Registry(installed=[entry]).select("odd")  # type: ignore[list-item]
