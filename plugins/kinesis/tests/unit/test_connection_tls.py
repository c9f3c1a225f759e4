"""Requests over an open connection of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from botocore import exceptions as sdk
from botocore.config import Config

from plugins.kinesis.tests.script import PLAIN, Beneath, of_headers, ready, script, sent_short

LARGE = of_headers(b"Content-Length: 300017", body=b'{"Records":[]' + b" " * 300_003 + b"}")
"""More than TLS sends in one piece: what is left of the last one, the connection does not show."""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path, Path]:
    """Of a server that asks for a certificate; the authority's and a client's."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("me").private_key_and_cert_chain_pem.write_to_path(folder / "me.pem")
    return context, folder / "ca.pem", folder / "me.pem"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (PLAIN.replace(b"OK", b"OK" + b"!" * 20_000), None),
        (LARGE, None),
        (LARGE + b"H", sdk.ConnectionClosedError),
        (Beneath(b"this is not encrypted at all"), sdk.SSLError),
        (PLAIN + PLAIN, sdk.ConnectionClosedError),
        (PLAIN[:-5], sdk.ReadTimeoutError),
    ],
    ids=["a long head", "a large body", "a byte too many", "not encrypted", "two answers in one piece", "a part"],
)
def test_over_tls_with_certificates_of_both_sides(
    answer: bytes, error: type[Exception] | None, tls: tuple[ssl.SSLContext, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, authority, mine = tls
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    then = [PLAIN] if error is None else []
    with (
        script([PLAIN, answer, *then], [PLAIN], tls=context) as said,
        ready(said.url, timeout=1, config=Config(client_cert=str(mine))) as client,
    ):
        short = sent_short(client)
        if error is None:
            assert client.get_records(ShardIterator="i")["Records"] == []
        else:
            with pytest.raises(error):
                client.get_records(ShardIterator="i")
        assert client.get_records(ShardIterator="i")["Records"] == []
    assert short == ([True, True] if error is None else [False])
    assert said.connections == (1 if error is None else 2)
