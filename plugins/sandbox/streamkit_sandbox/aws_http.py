"""Requests to a local imitation of an AWS service by plain HTTP: enough to know that it serves, and to make a stream.

No SDK is needed: these servers want a signature in the right form and do not check it.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from streamkit_sandbox.errors import SandboxError

__all__ = ["ACCESS_KEY", "REGION", "SECRET_KEY", "answers", "ask", "sdk_settings"]

REGION = "us-east-1"
ACCESS_KEY = "sandbox"
SECRET_KEY = "sandbox"  # noqa: S105 - the servers take any
_VERSIONS = {"Kinesis": "1.1", "DynamoDB": "1.0"}


def sdk_settings(service: str, endpoint_url: str) -> dict[str, str]:
    """The environment variables that lead the AWS SDKs and the AWS command line to a local server of `service` ("KINESIS")."""
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    # boto3 reads the second name of the region, the other SDKs read the first.
    return {**keys, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, f"AWS_ENDPOINT_URL_{service}": endpoint_url}


def ask(endpoint_url: str, target: str, body: Mapping[str, object], *, timeout_seconds: float = 10.0) -> dict[str, Any]:
    """The answer to one request; `target` is like `Kinesis_20131202.ListStreams`.

    Raises SandboxError for an error of the service, OSError or http.client.HTTPException where there is no answer.
    """
    where = urlsplit(endpoint_url)
    service = target.partition("_")[0]
    scope = f"{ACCESS_KEY}/20260101/{REGION}/{service.lower()}/aws4_request"
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=timeout_seconds)
    try:
        headers = {
            "Content-Type": f"application/x-amz-json-{_VERSIONS[service]}",
            "X-Amz-Target": target,
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date;x-amz-target, Signature={'0' * 64}",
        }
        connection.request("POST", "/", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise SandboxError(f"{target} was refused with {answer.status}: {text.decode('utf-8', 'replace')[:500]}")
    found: dict[str, Any] = json.loads(text or b"{}")
    return found


def answers(endpoint_url: str, target: str, *, timeout_seconds: float = 5.0) -> bool:
    """True if the server gives a whole answer to a request without parameters."""
    try:
        ask(endpoint_url, target, {}, timeout_seconds=timeout_seconds)
    except (OSError, http.client.HTTPException, SandboxError, ValueError):
        return False
    return True
