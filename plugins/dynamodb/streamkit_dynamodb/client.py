"""Makes boto3's client, and names the few methods of it that are called: boto3 has no types."""

from __future__ import annotations

from typing import Any, Protocol, cast

import boto3
import botocore.session
from botocore.config import Config

from streamkit import __version__
from streamkit_dynamodb.answers import Answer, WholeAnswers
from streamkit_dynamodb.errors import translated
from streamkit_dynamodb.settings import DynamoDBSettings

__all__ = ["DynamoDBClient", "make_client"]

REGION_VARIABLES = ["AWS_DEFAULT_REGION", "AWS_REGION"]
"""boto3 reads the first alone; the other is what AWS's other SDKs read, and what containers are given. Then a profile's counts."""
CONNECT_SECONDS = 1.0
CONNECTIONS = 4


class DynamoDBClient(Protocol):
    """What this plugin calls; from several threads at once, which boto3 allows."""

    def describe_table(self, *, TableName: str) -> Answer: ...
    def create_table(self, **request: Any) -> Answer: ...
    def get_item(self, **request: Any) -> Answer: ...
    def scan(self, **request: Any) -> Answer: ...
    def batch_execute_statement(self, **request: Any) -> Answer: ...
    def close(self) -> None: ...


def make_client(settings: DynamoDBSettings, table: str) -> DynamoDBClient:
    """Does no I/O but boto3's own look at its files. Raises ConfigurationError, AccessDeniedError."""
    seconds = settings.request_timeout.total_seconds()
    config = Config(
        connect_timeout=min(CONNECT_SECONDS, seconds),
        read_timeout=seconds,
        # What fails is tried again by `statements.py` and `reading.py`, which know the time that is left.
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
        tcp_keepalive=True,
        parameter_validation=False,  # half of a call's cost; what is sent is made in one place
        user_agent_extra=f"streamkit/{__version__}",
    )
    with translated("connecting", table):
        session = botocore.session.get_session({"region": ("region", REGION_VARIABLES, None, None)})
        session.register_component("response_parser_factory", WholeAnswers())
        made = boto3.Session(botocore_session=session, region_name=settings.region)
        return cast(DynamoDBClient, made.client("dynamodb", endpoint_url=settings.endpoint_url, config=config))
