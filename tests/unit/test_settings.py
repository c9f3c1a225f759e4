"""The value types and bounds of `Settings`, by themselves: nothing is read here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from streamkit.errors import UnsupportedError
from streamkit.model import Position, StartPosition
from streamkit.settings import (
    NOT_YET,
    Settings,
    StopWhen,
    duration_text,
    host_and_port,
    parse_duration,
    parse_size,
    refuse_not_yet,
    size_text,
    variable_of,
)

REQUIRED = {"broker": "memory", "stream": "orders", "group": "billing"}


def settings(**values: object) -> Settings:
    return Settings.model_validate({**REQUIRED, **values})


def refusal(**values: object) -> str:
    with pytest.raises(ValidationError) as caught:
        settings(**values)
    (error,) = caught.value.errors()
    return str(error["msg"])


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h", 3600), (" 2 s ", 2), ("0", 0), (0, 0), (timedelta(seconds=3), 3)]
)
def test_a_duration_is_a_number_with_a_unit_or_a_timedelta(text: object, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [30, 1.5, "30", "1.5"])
def test_a_duration_without_a_unit_is_refused_because_the_unit_would_be_a_guess(value: object) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared below)
        parse_duration(value)
    assert str(caught.value) == "has no unit: write a whole number with a unit, such as 500ms, 30s, 5m or 1h"


@pytest.mark.parametrize("value", ["", "soon", "5 parsecs", "-5s", "1h30m", None, True, [5]])
def test_what_is_no_duration_is_refused_with_the_forms(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration: write a whole number with a unit, such as 500ms, 30s, 5m or 1h"):
        parse_duration(value)


def test_a_duration_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="is too long"):
        parse_duration("99999999999999999h")


@pytest.mark.parametrize("text", ["0", "1ms", "1500ms", "90s", "5m", "1h", "36h"])
def test_a_duration_round_trips_through_text(text: str) -> None:
    assert duration_text(parse_duration(text)) == text


@pytest.mark.parametrize(("text", "size"), [("64KiB", 65536), ("10MB", 10_000_000), ("1gib", 2**30), ("5 B", 5), ("700", 700), (700, 700)])
def test_a_size_is_a_number_of_bytes_or_has_a_unit(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["", "64 K", "1.5MiB", "-1", "big", None, True, 1.5])
def test_what_is_no_size_is_refused_with_the_forms(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size: write a whole number of bytes, or one with a unit, such as 64KiB, 32MiB or 10MB"):
        parse_size(value)


@pytest.mark.parametrize("text", ["0", "700", "64KiB", "10MB", "32MiB", "1GiB"])
def test_a_size_round_trips_through_text(text: str) -> None:
    assert size_text(parse_size(text)) == text


def test_defaults_are_those_of_the_design() -> None:
    made = settings()
    assert made.start == StartPosition.EARLIEST
    assert made.stop == StopWhen("never")
    assert (made.ordering, made.concurrency, made.max_batch, made.max_wait) == ("partition", 1, 1000, timedelta(0))
    assert (made.max_in_flight, made.max_in_flight_bytes) == (100_000, 32 * 1024 * 1024)
    assert (made.checkpoint_interval, made.checkpoint_records) == (timedelta(seconds=5), None)
    assert (made.on_failure, made.dead_letter_max_consecutive) == ("halt", 100)
    assert (made.retry_attempts, made.retry_backoff, made.retry_max_backoff) == (5, timedelta(milliseconds=200), timedelta(seconds=30))
    assert (made.process_timeout, made.stuck_after, made.drain_timeout) == (None, timedelta(minutes=5), timedelta(seconds=25))
    assert (made.ownership, made.store, made.lease_duration, made.log_format) == (None, None, timedelta(seconds=10), "text")


def test_broker_stream_and_group_are_required() -> None:
    assert [name for name, field in Settings.model_fields.items() if field.is_required()] == ["broker", "stream", "group"]


def test_every_setting_has_a_sentence_of_description() -> None:
    wordless = [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith((".", "…"))]
    assert wordless == []


def test_no_name_ends_in_host_or_port_because_kubernetes_owns_those() -> None:
    assert [name for name in Settings.model_fields if name.endswith(("host", "port"))] == []


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        settings().group = "other"


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        settings(strem="orders")


def test_streams_are_a_comma_list_or_a_list() -> None:
    assert settings(stream=" orders, payments ,").stream == ("orders", "payments")
    assert settings(stream=["orders", "^a{1,3}"]).stream == ("orders", "^a{1,3}")


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (",", "names no stream: name one or more, separated by commas"),
        ("a,a", "holds 'a' twice: name each stream once"),
        (
            "^(a,b",
            "holds '^(a', which is not a regular expression (missing ), unterminated subpattern at position 1): "
            "mend it; a comma always separates streams, even inside brackets",
        ),
        (
            "^a{1,3}",
            "holds '3}', which looks like a piece of a regular expression: "
            "a comma always separates streams: write the expression without one, or give a JSON list",
        ),
    ],
)
def test_a_bad_list_of_streams_says_what_is_wrong_in_it(stream: str, message: str) -> None:
    assert refusal(stream=stream) == message


@pytest.mark.parametrize(
    ("value", "start"),
    [
        ("earliest", StartPosition.EARLIEST),
        ("latest", StartPosition.LATEST),
        ("2025-01-31T10:00:00+01:00", StartPosition.at_time(datetime(2025, 1, 31, 9, tzinfo=UTC))),
        (datetime(2025, 1, 31, 9, tzinfo=UTC), StartPosition.at_time(datetime(2025, 1, 31, 9, tzinfo=UTC))),
        (StartPosition.LATEST, StartPosition.LATEST),
    ],
)
def test_start_is_earliest_latest_or_a_time(value: object, start: StartPosition) -> None:
    assert settings(start=value).start == start


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("newest", "is not a place to start: use earliest, latest or an ISO time such as 2025-01-31T09:00:00Z"),
        ("2025-01-31", "has no time zone: add one, such as the Z in 2025-01-31T09:00:00Z"),
        (StartPosition.at(Position(3)), "is a position of one partition: use earliest, latest or a time"),
    ],
)
def test_what_is_no_start_is_refused(value: object, message: str) -> None:
    assert refusal(start=value) == message


@pytest.mark.parametrize(
    ("text", "stop"), [("never", StopWhen("never")), ("at_end", StopWhen("at_end")), ("idle:90s", StopWhen("idle", 90.0))]
)
def test_stop_round_trips_through_text(text: str, stop: StopWhen) -> None:
    assert settings(stop=text).stop == stop
    assert str(stop) == text


@pytest.mark.parametrize("text", ["idle", "idle:", "idle:0", "idle:30"])
def test_stop_when_idle_needs_a_duration(text: str) -> None:
    assert refusal(stop=text) == "does not say how long: write idle: and a duration above 0, such as idle:30s"


def test_what_is_no_way_to_stop_is_refused() -> None:
    assert refusal(stop="tomorrow") == "is not a way to stop: use never, at_end or idle:30s"


def test_a_dead_letter_target_is_a_plugin_and_a_name() -> None:
    assert settings(dead_letter="file:dlq.jsonl").dead_letter == "file:dlq.jsonl"
    assert refusal(dead_letter="dlq.jsonl") == "is not a dead-letter target: write <plugin>:<name>, such as file:dlq.jsonl"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("concurrency", 0),
        ("max_batch", 0),
        ("max_in_flight", 0),
        ("max_in_flight_bytes", "1B"),
        ("checkpoint_interval", "0"),
        ("checkpoint_records", 0),
        ("retry_attempts", 0),
        ("process_timeout", "0"),
        ("stuck_after", "0"),
        ("drain_timeout", "0"),
        ("lease_duration", "1ms"),
        ("max_partitions", 0),
        ("max_wait", "2h"),
        ("group", ""),
    ],
)
def test_a_value_out_of_bounds_is_refused(field: str, value: object) -> None:
    assert refusal(**{field: value})


def test_the_largest_backoff_is_not_below_the_first_even_when_it_is_the_default() -> None:
    assert refusal(retry_backoff="1m") == "is below STREAMKIT_RETRY_BACKOFF=1m: raise it, or lower the other"


def test_settings_as_json_are_texts_that_can_be_read_back() -> None:
    made = settings(start="2025-01-31T09:00:00Z", stop="idle:30s", max_in_flight_bytes="64KiB", partitions="0,1", config="a.toml")
    texts = made.model_dump(mode="json")
    assert (texts["stream"], texts["start"], texts["stop"]) == ("orders", "2025-01-31T09:00:00+00:00", "idle:30s")
    assert (texts["max_in_flight_bytes"], texts["checkpoint_interval"], texts["partitions"]) == ("64KiB", "5s", "0,1")
    assert Settings.model_validate(texts) == made
    assert made.config == Path("a.toml")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("8080", "127.0.0.1:8080"),
        (8080, "127.0.0.1:8080"),
        (":8080", "127.0.0.1:8080"),
        ("0", "127.0.0.1:0"),
        ("0.0.0.0:8080", "0.0.0.0:8080"),
        ("localhost:80", "localhost:80"),
        ("[::1]:8080", "[::1]:8080"),
        (None, None),
    ],
)
def test_a_status_address_is_loopback_unless_it_names_a_host(given: object, address: str | None) -> None:
    made = settings(status_address=given)
    assert made.status_address == address
    assert Settings.model_validate(made.model_dump(mode="json")) == made


@pytest.mark.parametrize("value", ["", "x", "host", "host:", "::1", "http://host:80", "host:99999", "a b:80", "host:80/status", "-1", "１"])
def test_what_is_no_status_address_is_refused_with_the_forms(value: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address: write host:port, such as 127\.0\.0\.1:8080"):
        settings(status_address=value)


def test_the_halves_of_a_status_address() -> None:
    assert host_and_port("[::1]:8080") == ("::1", 8080)
    assert host_and_port(":1") == ("127.0.0.1", 1)


def test_variables_are_named_after_fields_and_plugins() -> None:
    assert variable_of("max_batch") == "STREAMKIT_MAX_BATCH"
    assert variable_of("bootstrap_servers", "kafka") == "STREAMKIT_KAFKA__BOOTSTRAP_SERVERS"


# -- what is not built yet -----------------------------------------------------------------------------------------------


def test_everything_is_built() -> None:
    assert NOT_YET == {}


def test_a_setting_of_a_feature_that_is_not_built_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.settings.NOT_YET", {"bisect": "batches are retried whole"})
    refuse_not_yet(settings(bisect=False))
    with pytest.raises(UnsupportedError, match="is not built yet; batches are retried whole") as caught:
        refuse_not_yet(settings(bisect=True))
    assert caught.value.setting == variable_of("bisect")
    assert caught.value.fix == f"unset {variable_of('bisect')}"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"on_failure": "stop"},
        {"on_failure": "park", "dead_letter": "file:dlq.jsonl"},
        {"ownership": "static"},
        {"ownership": "lease", "max_partitions": 4, "lease_duration": "20s"},
        {"ordering": "key", "concurrency": 4},
    ],
)
def test_what_is_built_starts(values: dict[str, object]) -> None:
    refuse_not_yet(settings(**values))


def test_several_features_that_are_not_built_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    two = {"max_batch": "no", "bisect": "no"}
    monkeypatch.setattr("streamkit.settings.NOT_YET", two)
    with pytest.raises(UnsupportedError) as caught:
        refuse_not_yet(settings(max_batch=2, bisect=True))
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [variable_of(field) for field in two]
