"""The pages say what the code does: texts that operators see, metadata, and every setting."""

from __future__ import annotations

import re
from pathlib import Path

import streamkit_azureblob
from pydantic_core import PydanticUndefined
from streamkit_azureblob import changing, listing, mirror, rows, store
from streamkit_azureblob.clock import Clock
from streamkit_azureblob.settings import AzureBlobSettings

from streamkit.settings import duration_text

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/stores/azureblob.md").read_text("utf-8")
README = (ROOT / "plugins/azureblob/README.md").read_text("utf-8")


def test_every_text_that_operators_see_is_on_the_page() -> None:
    said = re.sub(r"\s+", " ", PAGE)
    texts = (store.HELD_BY_ANOTHER, mirror.TAKEN_BESIDE_US, listing.IGNORED_NAME, listing.IGNORED_PLACE, listing.IGNORED_ROW)
    assert [text for text in texts if f"`{text}`" not in said] == []
    refusal = str(changing.held_by_another([], Clock(lambda: 0.0, lambda: 0.0)))
    assert f"`{refusal.rstrip(': ')}`" in said


def test_our_metadata_are_on_the_page() -> None:
    assert [name for name in (rows.ROW, rows.CHECKPOINT_TEXT) if f"`{name}`" not in PAGE] == []


def test_settings_and_their_defaults_are_on_the_page() -> None:
    found = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", PAGE, re.MULTILINE))
    assert sorted(found) == sorted(name.upper() for name in AzureBlobSettings.model_fields)
    for name, field in AzureBlobSettings.model_fields.items():
        default, shown = field.default, found[name.upper()].strip()
        if default is PydanticUndefined or default is None:
            assert "`" not in shown, name
        elif isinstance(default, bool | int):
            assert shown == f"`{str(default).lower()}`", name
        else:
            assert shown == f"`{duration_text(default)}`", name


def test_every_file_is_named_in_the_readme() -> None:
    folder = Path(streamkit_azureblob.__file__).parent
    assert [file.name for file in folder.glob("*.py") if f"`{file.name}`" not in README and file.name != "__init__.py"] == []
