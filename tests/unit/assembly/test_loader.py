"""The rules of settings: where a value may come from, which one counts, and what happens to names that nobody knows."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel

from streamkit.assembly.loader import ExplainedSetting, Loaded, load
from streamkit.assembly.sources import UNSET
from streamkit.errors import ConfigurationError
from streamkit.model import StartPosition

from .fakes import BareSettings, NatsSettings, environment, registry


class Files:
    """The files that a deployment may have, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self.toml = folder / "streamkit.toml"
        self.dotenv = folder / ".env"

    def secret(self, name: str, text: str) -> Path:
        path = self.secrets / name
        path.write_text(text)
        return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def loaded(
    *, overrides: Mapping[str, object] | None = None, dotenv: Path | None = None, config: Path | None = None, **variables: str
) -> Loaded:
    """Load with the minimal environment and `variables`, written without their prefix."""
    return load(registry(), environment=environment(**variables), overrides=overrides or {}, dotenv=dotenv, config=config)


def refused(
    *, overrides: Mapping[str, object] | None = None, dotenv: Path | None = None, config: Path | None = None, **variables: str
) -> tuple[str, str]:
    """The error's text and its fix."""
    with pytest.raises(ConfigurationError) as caught:
        loaded(overrides=overrides, dotenv=dotenv, config=config, **variables)
    return str(caught.value), caught.value.fix


def explained(result: Loaded, name: str) -> ExplainedSetting:
    (row,) = [row for row in result.explain() if row.name == f"STREAMKIT_{name}"]
    return row


# -- values --------------------------------------------------------------------------------------------------------------


def test_the_environment_becomes_settings_and_sections() -> None:
    result = loaded(MAX_BATCH="50", START="latest", NATS__PORT="5000")
    assert (result.settings.stream, result.settings.max_batch, result.settings.start) == (("orders",), 50, StartPosition.LATEST)
    assert result.sections == {"nats": NatsSettings(url="nats://localhost", port=5000)}
    assert result.warnings == ()


def test_what_is_not_a_variable_of_ours_is_nobodys_business() -> None:
    result = load(registry(), environment={**environment(), "PATH": "/bin", "MYSTREAMKIT_X": "1"})
    assert result.settings.group == "billing"


def test_a_variable_may_be_written_in_lower_case() -> None:
    assert load(registry(), environment={**environment(), "streamkit_max_batch": "7"}).settings.max_batch == 7


def test_a_variable_that_is_written_in_two_ways_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(registry(), environment={**environment(), "streamkit_group": "a"})
    assert str(caught.value) == "STREAMKIT_GROUP (from environment): given twice, as STREAMKIT_GROUP and as streamkit_group"


def test_empty_means_unset(files: Files) -> None:
    files.dotenv.write_text("STREAMKIT_MAX_BATCH=9\nSTREAMKIT_MAX_WAIT=\n")
    result = loaded(MAX_BATCH="", STORE=" ", NATS__PASSWORD="", dotenv=files.dotenv)
    assert (result.settings.max_batch, result.settings.max_wait, result.settings.store) == (9, timedelta(0), None)
    assert result.origins["STREAMKIT_STORE"] == "default"


def test_store_unset_is_none_because_the_broker_decides() -> None:
    assert loaded().settings.store is None


def test_code_may_say_that_nobody_gives_a_setting() -> None:
    result = loaded(overrides={"max_batch": UNSET, "max_partitions": None}, MAX_BATCH="5", MAX_PARTITIONS="3")
    assert (result.settings.max_batch, result.origins["STREAMKIT_MAX_BATCH"]) == (1000, "default")
    assert result.settings.max_partitions == 3, "None says nothing"


def test_broker_store_and_dead_letter_select_plugins() -> None:
    result = loaded(STORE="lite", DEAD_LETTER="box:failed.jsonl", LITE__PATH="a.db")
    assert set(result.sections) == {"nats", "lite", "box"}
    assert result.sections["lite"] == BareSettings(path="a.db")


def test_deeper_structure_is_json() -> None:
    result = loaded(NATS__OPTIONS='{"a": "b", "n": 1}', NATS__TLS='{"ca": "x.pem"}', NATS__PASSWORD="long")
    section = result.sections["nats"]
    assert isinstance(section, NatsSettings)
    assert section.options == {"a": "b", "n": 1}
    assert section.tls is not None
    assert section.tls.ca == "x.pem"


def test_text_of_a_list_that_is_not_json_goes_to_the_plugins_own_validator() -> None:
    for text in ("a|b", '["a", "b"]'):
        section = loaded(NATS__SUBJECTS=text).sections["nats"]
        assert isinstance(section, NatsSettings)
        assert section.subjects == ("a", "b")


def test_a_worker_without_a_name_is_called_after_host_and_process() -> None:
    result = loaded()
    assert result.settings.worker == f"{socket.gethostname()}-{os.getpid()}"
    assert result.origins["STREAMKIT_WORKER"] == "default"
    assert loaded(WORKER="w1").settings.worker == "w1"


# -- sources and precedence ----------------------------------------------------------------------------------------------


def test_precedence_is_code_environment_dotenv_secret_files_toml_default(files: Files) -> None:
    files.toml.write_text("max_batch = 5\nmax_in_flight = 5\nconcurrency = 5\nretry_attempts = 5\nretry_backoff = '5s'\n")
    secrets = {name: files.secret(f"STREAMKIT_{name}", "4\n") for name in ("MAX_BATCH", "MAX_IN_FLIGHT", "CONCURRENCY", "RETRY_ATTEMPTS")}
    files.dotenv.write_text("STREAMKIT_MAX_BATCH=3\nexport STREAMKIT_MAX_IN_FLIGHT=3\nSTREAMKIT_CONCURRENCY='3'\n")
    result = loaded(
        overrides={"max_batch": 1, "worker": None},
        MAX_BATCH="2",
        MAX_IN_FLIGHT="2",
        CONFIG=str(files.toml),
        SECRETS_DIR=str(files.secrets),
        dotenv=files.dotenv,
    )
    made = result.settings
    assert (made.max_batch, made.max_in_flight, made.concurrency, made.retry_attempts) == (1, 2, 3, 4)
    assert (made.retry_backoff, made.checkpoint_interval) == (timedelta(seconds=5), timedelta(seconds=5))
    names = ("MAX_BATCH", "MAX_IN_FLIGHT", "CONCURRENCY", "RETRY_ATTEMPTS", "RETRY_BACKOFF", "CHECKPOINT_INTERVAL")
    assert [result.origins[f"STREAMKIT_{name}"] for name in names] == [
        "App",
        "environment",
        str(files.dotenv),
        str(secrets["RETRY_ATTEMPTS"]),
        str(files.toml),
        "default",
    ]


def test_code_gives_sections_as_mappings_or_as_settings() -> None:
    for section in ({"url": "nats://code"}, NatsSettings(url="nats://code")):
        result = loaded(overrides={"nats": section}, NATS__PORT="5000")
        assert result.sections["nats"] == NatsSettings(url="nats://code", port=5000)
        assert result.origins["STREAMKIT_NATS__URL"] == "App"
        assert result.origins["STREAMKIT_NATS__PORT"] == "environment"


def test_a_missing_dotenv_file_is_an_empty_one(files: Files) -> None:
    assert loaded(dotenv=files.dotenv).settings.group == "billing"


def test_dotenv_does_not_fill_in_dollar_signs(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/root")
    files.dotenv.write_text("OTHER=1\nSTREAMKIT_WORKER=a${HOME}b\n")
    assert loaded(dotenv=files.dotenv).settings.worker == "a${HOME}b"


def test_a_line_of_dotenv_that_cannot_be_read_is_refused(files: Files) -> None:
    files.dotenv.write_text("STREAMKIT_WORKER=a\nSTREAMKIT_NATS__PASSWORD='open\n")
    text, fix = refused(dotenv=files.dotenv)
    assert text == f"{files.dotenv}: line 2 is not NAME=value"
    assert fix == "mend the line, or put # in front of it"


def test_toml_holds_core_names_and_a_table_for_each_plugin(files: Files) -> None:
    files.toml.write_text('start = 2025-01-31T09:00:00Z\nstore = "lite"\n[nats]\nport = 5000\n[nats.options]\na = 1\n')
    result = loaded(config=files.toml)
    assert str(result.settings.start) == "2025-01-31T09:00:00+00:00"
    assert result.sections["nats"] == NatsSettings(url="nats://localhost", port=5000, options={"a": 1})
    assert result.origins["STREAMKIT_NATS__OPTIONS"] == str(files.toml)
    assert (result.settings.config, result.origins["STREAMKIT_CONFIG"]) == (files.toml, "--config")


def test_config_of_the_command_line_wins_over_the_variable(files: Files) -> None:
    files.toml.write_text("max_batch = 5")
    assert loaded(config=files.toml, CONFIG="/nowhere.toml").settings.max_batch == 5


def test_a_config_that_is_not_there_is_refused() -> None:
    text, fix = refused(CONFIG="/nowhere.toml")
    assert text == "STREAMKIT_CONFIG (from environment): cannot read '/nowhere.toml': No such file or directory"
    assert fix == "give a file that this process may read"


def test_a_config_that_is_not_toml_is_refused(files: Files) -> None:
    files.toml.write_text("max_batch: 5")
    text, _ = refused(config=files.toml)
    cause = "Expected '=' after a key in a key/value pair (at line 1, column 10)"
    assert text == f"STREAMKIT_CONFIG (from --config): '{files.toml}' is not TOML: {cause}"


def test_secret_files_are_named_like_variables_in_any_case_and_may_be_links(files: Files) -> None:
    (files.secrets / "..data").mkdir()
    real = files.secret("..data/password", " long \n")
    (files.secrets / "streamkit_nats__password").symlink_to(real)
    section = loaded(SECRETS_DIR=str(files.secrets)).sections["nats"]
    assert isinstance(section, NatsSettings)
    assert section.password is not None
    assert section.password.get_secret_value() == " long "


def test_other_files_beside_the_secrets_are_not_opened(files: Files) -> None:
    (files.secrets / "keystore.p12").write_bytes(b"\xff\xfe\x00")
    (files.secrets / "kubernetes.io").mkdir()
    assert loaded(SECRETS_DIR=str(files.secrets)).settings.group == "billing"


def test_a_secrets_folder_may_be_named_in_toml(files: Files) -> None:
    files.toml.write_text(f"secrets_dir = '{files.secrets}'")
    files.secret("STREAMKIT_WORKER", "w1")
    assert loaded(config=files.toml).settings.worker == "w1"


def test_a_secrets_folder_that_is_not_there_is_refused() -> None:
    text, fix = refused(SECRETS_DIR="/nowhere")
    assert text == "STREAMKIT_SECRETS_DIR (from environment): cannot list '/nowhere': No such file or directory"
    assert fix == "give a folder that this process may read"


def test_a_secret_file_that_is_not_text_is_refused(files: Files) -> None:
    path = files.secrets / "STREAMKIT_NATS__PASSWORD"
    path.write_bytes(b"\xff\xfe")
    text, fix = refused(SECRETS_DIR=str(files.secrets))
    assert text == f"STREAMKIT_SECRETS_DIR: '{path}' is not text in UTF-8"
    assert fix == "save it as UTF-8"


def test_a_file_cannot_say_where_it_is_itself(files: Files) -> None:
    files.toml.write_text('config = "other.toml"')
    text, fix = refused(config=files.toml)
    assert text == f"STREAMKIT_CONFIG (from {files.toml}): is read before this file, and cannot come from it"
    assert fix == "set it in the environment"


# -- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("STREM", "did you mean STREAMKIT_STREAM?"),
        ("MAX_BATCHES", "did you mean STREAMKIT_MAX_BATCH?"),
        ("NATS_URL", "did you mean STREAMKIT_NATS__URL?"),
        ("LITE_PATH", "did you mean STREAMKIT_LITE__PATH?"),
        ("XYZZY", "`streamkit explain` lists the settings"),
    ],
)
def test_an_unknown_core_name_is_an_error_with_a_suggestion(name: str, suggestion: str) -> None:
    text, fix = refused(**{name: "secret"})
    assert text == f"STREAMKIT_{name} (from environment): there is no such setting"
    assert fix == suggestion


def test_an_unknown_name_of_a_selected_plugin_is_an_error_with_a_suggestion() -> None:
    text, fix = refused(NATS__PASWORD="secret")
    assert text == "STREAMKIT_NATS__PASWORD (from environment): there is no such setting"
    assert fix == "did you mean STREAMKIT_NATS__PASSWORD?"


def test_an_unknown_section_that_is_close_to_a_plugin_is_an_error() -> None:
    text, fix = refused(NAST__PORT="1")
    assert text == "STREAMKIT_NAST__PORT (from environment): there is no plugin 'nast'"
    assert fix == "did you mean STREAMKIT_NATS__PORT?"


def test_an_unknown_section_that_is_like_no_plugin_is_one_warning() -> None:
    result = loaded(POSTGRES__URL="secret", POSTGRES__TABLE="t")
    assert result.warnings == (
        "STREAMKIT_POSTGRES__URL (from environment), STREAMKIT_POSTGRES__TABLE (from environment): "
        "not used, because no plugin 'postgres' is installed",
    )


def test_a_core_name_written_as_a_section_is_an_error(files: Files) -> None:
    files.toml.write_text("[retry]\nattempts = 3\n")
    text, fix = refused(config=files.toml)
    assert text == f"STREAMKIT_RETRY__ATTEMPTS (from {files.toml}): the settings of streamkit itself have no sections"
    assert fix == "did you mean STREAMKIT_RETRY_ATTEMPTS?"


def test_a_known_section_that_nothing_selected_is_shown_as_unused() -> None:
    result = loaded(LITE__PATH="secret")
    assert (result.unused, result.warnings) == (("lite",), ())
    row = explained(result, "LITE__PATH")
    assert (row.value_text_masked, row.origin, row.description) == ("**********", "environment", "Unused: its plugin is not selected.")


def test_two_underscores_stand_once_in_a_name() -> None:
    text, fix = refused(NATS__OPTIONS__A="1")
    assert text == "STREAMKIT_NATS__OPTIONS__A (from environment): `__` stands once in a name, after the plugin's"
    assert fix == "give STREAMKIT_NATS__OPTIONS as JSON"


@pytest.mark.parametrize(
    "name",
    [
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_80_TCP",
        "PORT_80_TCP_ADDR",
        "WORKER_SERVICE_HOST",
        "NATS_PORT_4222_TCP_PROTO",
        "A__B_SERVICE_HOST",
    ],
)
def test_what_kubernetes_injects_for_a_service_is_ignored(name: str) -> None:
    result = loaded(**{name: "tcp://10.0.0.1:80"})
    assert (result.warnings, result.unused) == ((), ())


def test_what_kubernetes_would_inject_is_not_ignored_in_a_file(files: Files) -> None:
    files.toml.write_text("worker_port = 1")
    assert refused(config=files.toml)[0].endswith("there is no such setting")


@pytest.mark.parametrize("name", ["NATS__SERVER_PORT", "NAST__PORT"])
def test_a_mistake_in_a_plugins_section_is_not_taken_for_kubernetes(name: str) -> None:
    assert refused(**{name: "1"})


def test_a_plugins_setting_that_ends_in_port_is_a_setting() -> None:
    assert loaded(LITE__PORT="1").unused == ("lite",)
    text, _ = refused(NATS__PORT="x")
    assert text == "STREAMKIT_NATS__PORT (from environment): 'x' is not a whole number"


# -- explain -------------------------------------------------------------------------------------------------------------


def test_explain_lists_every_setting_with_value_origin_description_and_default() -> None:
    rows = loaded(MAX_IN_FLIGHT_BYTES="64KiB", CHECKPOINT_INTERVAL="90s").explain()
    assert rows[0] == ExplainedSetting(
        "STREAMKIT_BROKER", "nats", "environment", "Plugin that reads the stream, by its name: kafka, memory, …", "required"
    )
    table = {row.name: (row.value_text_masked, row.origin, row.default) for row in rows}
    assert table["STREAMKIT_MAX_IN_FLIGHT_BYTES"] == ("64KiB", "environment", "32MiB")
    assert table["STREAMKIT_CHECKPOINT_INTERVAL"] == ("90s", "environment", "5s")
    assert table["STREAMKIT_STORE"] == ("", "default", "")
    assert table["STREAMKIT_START"] == ("earliest", "default", "earliest")
    assert table["STREAMKIT_NATS__PORT"] == ("4222", "default", "4222")
    assert table["STREAMKIT_NATS__URL"] == ("nats://localhost", "environment", "required")


def test_explain_and_repr_show_no_secret() -> None:
    result = loaded(
        NATS__PASSWORD="geheim",
        NATS__OPTIONS='{"sasl.password": "geheim", "ssl.Key": "geheim", "oauth.token": "geheim", "client_secret": "geheim", "acks": "all"}',
        NATS__URL="nats://user:geheim@localhost",
    )
    assert explained(result, "NATS__PASSWORD").value_text_masked == "**********"
    assert explained(result, "NATS__URL").value_text_masked == "nats://user:**********@localhost"
    assert explained(result, "NATS__OPTIONS").value_text_masked == (
        '{"sasl.password": "**********", "ssl.Key": "**********", "oauth.token": "**********", '
        '"client_secret": "**********", "acks": "all"}'
    )
    assert "geheim" not in f"{result.explain()} {result!r}"


def test_loading_reads_no_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMKIT_MAX_BATCH", "abc")
    assert loaded().settings.max_batch == 1000


def test_a_plugin_needs_no_more_than_a_plain_model() -> None:
    assert all(type(section).__mro__[1] is BaseModel for section in loaded(STORE="lite").sections.values())
