"""What a refused login or TLS handshake means, by librdkafka's words: its codes tell no wrong password from a wrong mechanism.

Each pattern was seen with confluent-kafka 2.16.1 and Apache Kafka 4.1 (tests/integration/test_access.py).
Called by `errors.py`.
"""

from __future__ import annotations

import re

__all__ = ["CA", "access_fix", "is_refused_tls", "setting_at_fault"]

_KAFKA = "STREAMKIT_KAFKA__"
CA = f"{_KAFKA}SSL_CA_LOCATION"
_OPTIONS = f"{_KAFKA}OPTIONS"
_TOKEN = f"check {_KAFKA}OAUTH_CALLBACK, or what sasl.oauthbearer.… in {_OPTIONS} says"

_ALERT = r"alert [\w ]*certificate|alert unknown ca|certificate required"
_UNVERIFIED = r"certificate verify failed"

_LOGIN = (
    (r"OAUTHBEARER token|invalid_token", _TOKEN),
    (r"Unsupported SASL mechanism", f"set {_KAFKA}SASL_MECHANISM to one that the broker offers"),
    (r"not valid in current SASL state", f"this listener asks for no login: set {_KAFKA}SECURITY_PROTOCOL=plaintext (with TLS: ssl)"),
    (r"SASL authentication error", f"check {_KAFKA}SASL_USERNAME and {_KAFKA}SASL_PASSWORD"),
    (_ALERT, f"give a certificate that the broker trusts: ssl.certificate.location and ssl.key.location in {_OPTIONS}"),
    (_UNVERIFIED, f"set {CA} to the authority of the broker's certificate"),
)

_REFUSED = (
    (r"ssl\.ca\.location failed", CA, "name a file or a folder of PEM certificates that can be read"),
    (r"key values mismatch", _OPTIONS, "ssl.key.location must be the key of ssl.certificate.location"),
    (r"(ssl\.[\w.]+) failed", _OPTIONS, "name a PEM file that can be read; a locked key needs ssl.key.password"),
    (
        r"No provider for SASL mechanism|Unsupported SASL mechanism",
        f"{_KAFKA}SASL_MECHANISM",
        "use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; Kerberos (GSSAPI) needs a confluent-kafka that was built with it",
    ),
    (r"`sasl\.oauthbearer", _OPTIONS, "add it there"),
)


def access_fix(text: str) -> str:
    """What to do about a refusal in these words; empty if they are new to us."""
    return next((fix for pattern, fix in _LOGIN if re.search(pattern, text)), "")


def is_refused_tls(text: str) -> bool:
    """One side does not trust the other: librdkafka goes on trying and calls that a transport error as often as not."""
    return bool(re.search(f"{_UNVERIFIED}|{_ALERT}", text))


def setting_at_fault(text: str) -> tuple[str, str] | None:
    """The variable and the fix, for what librdkafka will not even begin with."""
    return next(((setting, fix) for pattern, setting, fix in _REFUSED if re.search(pattern, text)), None)
