"""The page says what the code does: rights, texts that operators see, and every setting."""

from __future__ import annotations

import json
import re
from pathlib import Path

from streamkit_kinesis import client, fetch, fetching, record
from streamkit_kinesis.settings import KinesisSettings

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs/brokers/kinesis.md"
README = ROOT / "plugins/kinesis/README.md"


def test_the_policy_allows_what_a_reader_calls_and_nothing_else() -> None:
    policy = json.loads((ROOT / "docs/snippets/kinesis-policy.json").read_text())
    allowed = {action for one in policy["Statement"] for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])}
    calls = {name for name in vars(client.KinesisClient) if not name.startswith("_") and name != "close"}
    named = {"kinesis:" + "".join(part.title() for part in name.split("_")) for name in calls}
    assert allowed == named | {"kms:Decrypt"}


def test_every_text_that_operators_see_is_on_the_page() -> None:
    texts = [fetching.THROTTLED, fetching.FALSE_END, fetching.SHARD_EXPIRED, fetch.OWN_RECORD_GONE, fetch.TIME_EXPIRED, fetch.AT_THE_EDGE]
    texts += [record.DAMAGED, record.OUT_OF_RANGE]
    page = PAGE.read_text("utf-8")
    assert [text for text in texts if f"| `{text}` |" not in page] == []


def test_every_setting_is_in_the_readme_and_explained_on_the_page() -> None:
    names = [name.upper() for name in KinesisSettings.model_fields]
    readme, page = README.read_text("utf-8"), PAGE.read_text("utf-8")
    assert [name for name in names if f"| `{name}` |" not in readme] == []
    assert [name for name in names if f"STREAMKIT_KINESIS__{name}" not in page] == []


def test_defaults_in_the_readme_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", README.read_text("utf-8"), re.MULTILINE))
    said = KinesisSettings.model_validate({name.lower(): value for name, value in rows.items()})
    assert said == KinesisSettings()
