"""The pages say what the code does: rights, texts that operators see, columns, and every setting."""

from __future__ import annotations

import json
import re
from pathlib import Path

import streamkit_dynamodb
from streamkit_dynamodb import client, rows
from streamkit_dynamodb.settings import DynamoDBSettings

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/stores/dynamodb.md").read_text("utf-8")
README = (ROOT / "plugins/dynamodb/README.md").read_text("utf-8")


def test_the_policy_allows_what_is_called_and_nothing_else() -> None:
    policy = json.loads((ROOT / "docs/snippets/dynamodb-policy.json").read_text())
    allowed = {action for one in policy["Statement"] for action in one["Action"]}
    calls = {name for name in vars(client.DynamoDBClient) if not name.startswith("_") and name != "close"}
    named = {"dynamodb:" + "".join(part.title() for part in name.split("_")) for name in calls}
    partiql = {"dynamodb:PartiQLDelete", "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"}
    assert allowed == named - {"dynamodb:BatchExecuteStatement"} | partiql | {"dynamodb:TagResource"}


def test_every_text_that_operators_see_is_on_the_page() -> None:
    said = re.sub(r"\s+", " ", PAGE)
    for text in (rows.HELD_BY_ANOTHER, rows.NEVER_CHECKPOINTED, rows.TIME_IS_ELSEWHERE):
        assert f"`{text}`" in said


def test_every_column_is_on_the_page() -> None:
    assert [name for name in {*rows.MANAGED, rows.HANDOVER, rows.REQUEST} if f"`{name}`" not in PAGE] == []


def test_settings_and_their_defaults_are_on_the_page() -> None:
    found = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", PAGE, re.MULTILINE))
    assert sorted(found) == sorted(name.upper() for name in DynamoDBSettings.model_fields)
    values = {name.lower(): value.strip().strip("`") for name, value in found.items() if value.startswith("`")}
    values["tags"] = json.loads(values["tags"])
    shown = DynamoDBSettings.model_validate(values | {"billing": "provisioned"}).model_dump()
    assert shown == DynamoDBSettings().model_dump() | {"billing": "provisioned"}


def test_every_file_is_named_in_the_readme() -> None:
    folder = Path(streamkit_dynamodb.__file__).parent
    assert [file.name for file in folder.glob("*.py") if f"`{file.name}`" not in README and file.name != "__init__.py"] == []
