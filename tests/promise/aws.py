"""What tests with workers on the sandbox's Kinesis and DynamoDB share: clients of boto3, and what a worker is told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["client", "plain_environment", "settings"]

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"


def client(service: str, endpoint_url: str) -> Any:
    """A client of boto3, which has no types."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 5}, connect_timeout=5, read_timeout=20),
    )


def plain_environment() -> dict[str, str]:
    """Ours without what is meant for streamkit or AWS, with credentials that a local server takes, and with this checkout first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMKIT_", "AWS_"))}
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH", "")))),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def settings(kinesis_url: str, dynamodb_url: str) -> dict[str, str]:
    """Where a worker finds its streams and its leases."""
    return {
        "STREAMKIT_BROKER": "kinesis",
        "STREAMKIT_KINESIS__ENDPOINT_URL": kinesis_url,
        "STREAMKIT_KINESIS__REGION": REGION,
        "STREAMKIT_STORE": "dynamodb",
        "STREAMKIT_DYNAMODB__ENDPOINT_URL": dynamodb_url,
        "STREAMKIT_DYNAMODB__REGION": REGION,
    }
