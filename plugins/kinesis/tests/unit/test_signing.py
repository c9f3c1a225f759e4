"""Signatures: to the byte what botocore's own signer makes of the same request at the same time."""

from __future__ import annotations

from datetime import datetime
from unittest.mock import patch

import botocore.auth
import pytest
from botocore.auth import AUTH_TYPE_MAPS, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError
from hypothesis import given, settings
from hypothesis import strategies as st
from streamkit_kinesis.signing import SIGNATURE, LeanSigner

TARGET = {"X-Amz-Target": "Kinesis_20131202.GetRecords", "Content-Type": "application/x-amz-json-1.1", "User-Agent": "a b/1", "Expect": "x"}
URL = "https://kinesis.eu-west-1.amazonaws.com/"
names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True).filter(lambda name: name.lower() not in ("date", "host"))
texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
headers = st.dictionaries(names, st.lists(texts, max_size=3).map("  ".join), max_size=4)
credentials = st.builds(ReadOnlyCredentials, st.text("AKIDXYZ", min_size=1), st.text(min_size=1), st.none() | st.text("tok/+=", min_size=1))
urls = st.sampled_from(
    [URL, "http://127.0.0.1:4567/", "http://[::1]:4567", URL + "a b/../c?y=2&x=1", "https://123.data-kinesis.us-east-1.amazonaws.com:443"]
)


def request_of(url: str, fields: dict[str, str], body: object, **context: object) -> AWSRequest:
    request = AWSRequest("POST", url, {**TARGET, **fields}, body)
    request.context.update(context)
    return request


def signed_by_botocore(known: ReadOnlyCredentials | None, request: AWSRequest, stamp: str) -> dict[str, str]:
    with patch.object(botocore.auth, "get_current_datetime", lambda: datetime.strptime(stamp, "%Y%m%dT%H%M%SZ")):
        SigV4Auth(known, "kinesis", "eu-west-1").add_auth(request)
    return dict(request.headers.items())


@given(credentials, urls, headers, st.binary(max_size=300))
@settings(deadline=None)
def test_the_signature_is_botocores(known: ReadOnlyCredentials, url: str, fields: dict[str, str], body: bytes) -> None:
    ours = request_of(url, fields, body)
    signer = LeanSigner(known, "kinesis", "eu-west-1")
    signer.add_auth(ours)
    theirs = signed_by_botocore(known, request_of(url, fields, body), ours.headers["X-Amz-Date"])
    assert dict(ours.headers.items()) == theirs
    signer.add_auth(ours)  # an attempt that follows
    assert len(ours.headers.get_all("Authorization")) == len(ours.headers.get_all("X-Amz-Date")) == 1
    assert dict(ours.headers.items()) == signed_by_botocore(known, request_of(url, fields, body), ours.headers["X-Amz-Date"])


KNOWN = ReadOnlyCredentials("AKID", "secret", None)


@pytest.mark.parametrize(
    ("fields", "body", "context"),
    [
        ({}, b"", {}),
        ({}, "text", {}),
        ({"X-Amz-Content-SHA256": "0" * 64}, b"b", {}),
        ({}, b"b", {"payload_signing_enabled": False}),
    ],
)
def test_what_is_of_another_form_is_left_to_botocore(fields: dict[str, str], body: object, context: dict[str, object]) -> None:
    ours = request_of(URL, fields, body, **context)
    LeanSigner(KNOWN, "kinesis", "eu-west-1").add_auth(ours)
    theirs = signed_by_botocore(KNOWN, request_of(URL, fields, body, **context), ours.context["timestamp"])
    assert dict(ours.headers.items()) == theirs


def test_without_credentials_it_is_botocores_error() -> None:
    with pytest.raises(NoCredentialsError):
        LeanSigner(None, "kinesis", "eu-west-1").add_auth(request_of(URL, {}, b"b"))


def test_a_signature_of_today_needs_the_key_of_today() -> None:
    """Region, service, secret and day: each of them makes another key."""
    requests = [request_of(URL, {}, b"b") for _ in range(4)]
    LeanSigner(KNOWN, "kinesis", "eu-west-1").add_auth(requests[0])
    LeanSigner(KNOWN, "kinesis", "eu-west-2").add_auth(requests[1])
    LeanSigner(KNOWN, "dynamodb", "eu-west-1").add_auth(requests[2])
    LeanSigner(ReadOnlyCredentials("AKID", "other", None), "kinesis", "eu-west-1").add_auth(requests[3])
    assert len({request.headers["Authorization"].rpartition("=")[2] for request in requests}) == 4


def test_it_is_one_of_botocores_signers_under_a_name_of_its_own() -> None:
    assert AUTH_TYPE_MAPS[SIGNATURE] is LeanSigner
    assert AUTH_TYPE_MAPS["v4"] is SigV4Auth
