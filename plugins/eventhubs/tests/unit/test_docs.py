"""The page and the README say what the code does: every setting, with its default."""

from __future__ import annotations

import re
from pathlib import Path

from streamkit_eventhubs.settings import EventHubsSettings

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs/brokers/eventhubs.md"
README = ROOT / "plugins/eventhubs/README.md"


def test_every_setting_is_in_the_readme_and_explained_on_the_page() -> None:
    names = [name.upper() for name in EventHubsSettings.model_fields]
    readme, page = README.read_text("utf-8"), PAGE.read_text("utf-8")
    assert [name for name in names if f"| `{name}` |" not in readme] == []
    assert [name for name in names if f"STREAMKIT_EVENTHUBS__{name}" not in page] == []


def test_defaults_in_the_readme_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", README.read_text("utf-8"), re.MULTILINE))
    said = EventHubsSettings.model_validate({name.lower(): value for name, value in rows.items()})
    assert said == EventHubsSettings()


def test_every_file_is_named_in_the_readme() -> None:
    files = {file.name for file in (ROOT / "plugins/eventhubs/streamkit_eventhubs").glob("*.py")} - {"__init__.py"}
    assert [name for name in sorted(files) if f"`{name}`" not in README.read_text("utf-8")] == []
