"""Every wrong value that a user can write, and what is said about it: variable, origin, masked value, cause and fix."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr, field_validator
from pydantic_core import PydanticCustomError

from streamkit.assembly.loader import load
from streamkit.assembly.registry import Registry
from streamkit.errors import ConfigurationError, UnknownPluginError, UnsupportedError
from streamkit.plugin import Plugin

from .fakes import environment, plugin_module, registry

DURATIONS = "write a whole number with a unit, such as 500ms, 30s, 5m or 1h"
JSON_OBJECT = 'write one, such as {"name": "value"}'


def refuse(made: Registry | None = None, **variables: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(made or registry(), environment=environment(**variables))
    return caught.value


@pytest.mark.parametrize(
    ("name", "value", "says", "fix"),
    [
        ("MAX_BATCH", "abc", "'abc' is not a whole number", "write digits only"),
        ("MAX_BATCH", "0", "'0' is below 1", "give 1 or more"),
        ("MAX_BATCH", "1000001", "'1000001' is above 1000000", "give 1000000 or less"),
        ("CHECKPOINT_INTERVAL", "30", "'30' has no unit", DURATIONS),
        ("CHECKPOINT_INTERVAL", "soon", "'soon' is not a duration", DURATIONS),
        ("CHECKPOINT_INTERVAL", "2h", "'2h' is above 1h", "give 1h or less"),
        ("STUCK_AFTER", "0", "'0' is not above 0", "give more than 0"),
        ("PROCESS_TIMEOUT", "25h", "'25h' is above 24h", "give 24h or less"),
        (
            "MAX_IN_FLIGHT_BYTES",
            "big",
            "'big' is not a size",
            "write a whole number of bytes, or one with a unit, such as 64KiB, 32MiB or 10MB",
        ),
        ("ON_FAILURE", "hlat", "'hlat' is not one of halt, stop, dead_letter, park, skip", "did you mean halt?"),
        ("LOG_FORMAT", "xml", "'xml' is not one of text, json", "choose one of them"),
        ("BISECT", "maybe", "'maybe' is neither true nor false", "write true or false"),
        ("STOP", "idle", "'idle' does not say how long", "write idle: and a duration above 0, such as idle:30s"),
        (
            "STREAM",
            "^[",
            "'^[' holds '^[', which is not a regular expression (unterminated character set at position 1)",
            "mend it; a comma always separates streams, even inside brackets",
        ),
        ("DEAD_LETTER", "box", "'box' is not a dead-letter target", "write <plugin>:<name>, such as file:dlq.jsonl"),
        ("WORKER", "w" * 300, f"'{'w' * 100}…' is longer than 255 characters", "give 255 or fewer"),
        ("NATS__MODE", "pul", "'pul' is not one of push, pull", "did you mean pull?"),
        ("NATS__ACK_WAIT", "4", "'4' has no unit", DURATIONS),
        ("NATS__OPTIONS", "a=geheim", "********** is not a JSON object", JSON_OBJECT),
        (
            "NATS__OPTIONS",
            '{"key": "geheim"',
            "********** is not JSON: Expecting ',' delimiter at character 17",
            'write {"name": "value"} or ["a", "b"]',
        ),
        (
            "NATS__OPTIONS",
            '{"key": "geheim", "b": [1]}',
            """'{"key": "**********", "b": [1]}' is wrong at 'b.str', which is not text; """
            "is wrong at 'b.int', which is not a whole number",
            "write it in quotes, or write digits only",
        ),
        ("NATS__TLS", "[1]", "********** is not a JSON object", JSON_OBJECT),
        ("NATS__TLS", '{"pin": "geheim"}', "********** is wrong at 'ca', which is missing", "add it"),
        ("NATS__PASSWORD", "hunter2", "********** is refused: ********** stands in the manual", "Password of the user."),
    ],
)
def test_a_wrong_value_is_named_with_variable_origin_cause_and_fix(name: str, value: str, says: str, fix: str) -> None:
    error = refuse(**{name: value})
    assert str(error) == f"STREAMKIT_{name} (from environment): {says}"
    assert error.fix == fix
    assert (error.setting, error.origin) == (f"STREAMKIT_{name}", "environment")


def test_a_required_setting_that_nothing_sets_is_named_with_its_description() -> None:
    error = refuse(NATS__URL="")
    assert str(error) == "STREAMKIT_NATS__URL: nothing sets it, and it has no default"
    assert error.fix == "set it. Where the server is."


def test_a_wrong_default_names_the_setting_that_made_it_wrong() -> None:
    error = refuse(RETRY_BACKOFF="1m")
    assert str(error) == "STREAMKIT_RETRY_MAX_BACKOFF (from default): '30s' is below STREAMKIT_RETRY_BACKOFF=1m"
    assert error.fix == "raise it, or lower the other"


def test_settings_of_a_plugin_that_do_not_go_together_are_told_without_secrets() -> None:
    error = refuse(NATS__TLS='{"ca": "x.pem"}', NATS__OPTIONS='{"my.key": "geheim"}')
    assert str(error) == "STREAMKIT_NATS__…: these settings do not go together: tls without a password, with {'my.key': '**********'}"
    assert error.fix == "mend one of them; `streamkit explain` says where each comes from"


def test_an_unknown_broker_names_the_variable_and_what_to_install() -> None:
    error = refuse(BROKER="kafak")
    assert isinstance(error, UnknownPluginError)
    assert str(error) == "STREAMKIT_BROKER (from environment): no broker 'kafak' is installed"
    assert error.fix == "did you mean 'kafka'? pip install 'streamkit[kafka]'"


def test_a_plugin_that_is_no_store_names_the_variable_and_the_stores() -> None:
    error = refuse(STORE="box")
    assert isinstance(error, UnsupportedError)
    assert str(error) == "STREAMKIT_STORE (from environment): plugin 'box' is no store"
    assert error.fix == "those that are: lite"


def test_a_value_from_code_is_named_with_code_as_its_origin() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(registry(), environment=environment(), overrides={"nats": {"port": [1]}})
    assert str(caught.value) == "STREAMKIT_NATS__PORT (from App): '[1]' is not a whole number"


def test_a_value_from_a_file_is_named_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "streamkit.toml"
    path.write_text("[nats]\nport = 0\n")
    with pytest.raises(ConfigurationError) as caught:
        load(registry(), environment=environment(), config=path)
    assert str(caught.value) == f"STREAMKIT_NATS__PORT (from {path}): '0' is below 1"


def test_several_errors_are_all_listed_one_per_line() -> None:
    error = refuse(MAX_BATCH="abc", STREM="x", GROUP="", NATS__PORT="x", STORE="kafka")
    assert str(error).splitlines() == [
        "STREAMKIT_STORE (from environment): no store 'kafka' is installed; pip install 'streamkit[kafka]'",
        "STREAMKIT_STREM (from environment): there is no such setting; did you mean STREAMKIT_STREAM?",
        "STREAMKIT_GROUP: nothing sets it, and it has no default; "
        "set it. Whose checkpoints these are: workers of one group share the partitions of the stream.",
        "STREAMKIT_MAX_BATCH (from environment): 'abc' is not a whole number; write digits only",
        "STREAMKIT_NATS__PORT (from environment): 'x' is not a whole number; write digits only",
    ]


class Pedantic(BaseModel):
    """Settings whose validators raise in every way."""

    code: SecretStr

    @field_validator("code")
    @classmethod
    def _refuse(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text == "unexpected":
            raise TypeError(f"cannot take {text}")
        raise PydanticCustomError("pedantic", "the code {code} is old", {"code": text})


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("geheim", "STREAMKIT_PEDANTIC__CODE (from environment): ********** is refused: the code ********** is old"),
        ("unexpected", "STREAMKIT_PEDANTIC__…: these settings do not go together: TypeError: cannot take **********"),
    ],
)
def test_whatever_a_plugins_validator_raises_is_a_configuration_error_without_secrets(code: str, says: str) -> None:
    made = Registry(installed=())
    made.register(plugin_module(Plugin(name="pedantic", settings=Pedantic, broker="a:B")))
    variables = {"STREAMKIT_BROKER": "pedantic", "STREAMKIT_STREAM": "s", "STREAMKIT_GROUP": "g", "STREAMKIT_PEDANTIC__CODE": code}
    with pytest.raises(ConfigurationError) as caught:
        load(made, environment=variables)
    assert str(caught.value) == says


class Needy(BaseModel):
    """Settings with a required one that is JSON."""

    options: dict[str, str]


def test_a_value_that_is_not_json_is_not_called_missing_too() -> None:
    made = Registry(installed=())
    made.register(plugin_module(Plugin(name="needy", settings=Needy, broker="a:B")))
    error = refuse(made, BROKER="needy", NEEDY__OPTIONS="{")
    says = "********** is not JSON: Expecting property name enclosed in double quotes at character 2"
    assert str(error) == f"STREAMKIT_NEEDY__OPTIONS (from environment): {says}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NATS__PASSWORD", "hunter-geheim"),
        ("NATS__PASWORD", "geheim"),
        ("NATS__OPTIONS", '{"key": "geheim", "b": [1]}'),
        ("NATS__OPTIONS", '{"key": "geheim"'),
        ("NATS__TLS", '{"pin": "geheim"}'),
        ("NATS__TLS", '{"pin": {"a": "geheim"}, "ca": "x"}'),
        ("NATS__PORT", "http://user:geheim@localhost"),
    ],
)
def test_no_secret_and_nothing_of_pydantic_is_in_a_whole_traceback(name: str, value: str) -> None:
    error = refuse(**{name: value})
    whole = "".join(traceback.format_exception(error)) + error.fix
    assert "geheim" not in whole
    assert "ValidationError" not in whole
    assert "validation error" not in whole
