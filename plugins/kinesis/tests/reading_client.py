"""A client that reads for real, over connections: botocore's, made lean or not."""

from __future__ import annotations

from typing import Any

import botocore.session
from botocore.config import Config
from streamkit_kinesis.lean import make_lean
from streamkit_kinesis.parser import fast_parser_factory

from plugins.kinesis.tests.canned import LOADER


def client_of(url: str | None, *, attempts: int = 1, lean: bool = True, timeout: float = 20.0, config: Config | None = None) -> Any:
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    session.register_component("response_parser_factory", fast_parser_factory())
    client = session.create_client(
        "kinesis",
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id="key-1",
        aws_secret_access_key="s",
        config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}, read_timeout=timeout, connect_timeout=timeout).merge(
            config or Config()
        ),
    )
    client.meta.events.register_first("needs-retry.kinesis.GetRecords", _without_pauses(attempts))
    if lean:
        assert make_lean(client), "this botocore is not the one that it was written for"
    return client


def _without_pauses(attempts_allowed: int) -> Any:
    def handler(attempts: int, response: Any, caught_exception: Exception | None, **_: object) -> int | None:
        failed = caught_exception is not None or response[0].status_code >= 500
        return 0 if failed and attempts < attempts_allowed else None

    return handler
