"""Why the first contact failed, where librdkafka does not say: one TLS handshake of our own, after the fact.

To librdkafka a wrong name and a wrong authority are the same error, and a listener that speaks another protocol is only a
closed connection. Called by `cluster.py` when connecting has failed; takes two seconds at most.
"""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from streamkit.errors import AccessDeniedError
from streamkit_kafka.access_errors import CA
from streamkit_kafka.errors import BROKER, SERVERS
from streamkit_kafka.settings import KafkaSettings

__all__ = ["explain_refusal"]

_PROTOCOL = "STREAMKIT_KAFKA__SECURITY_PROTOCOL"
_SECONDS = 1.0
_WRONG_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH (OpenSSL, x509_vfy.h)
_EXPIRED = 10


@dataclass(frozen=True, slots=True)
class _Seen:
    speaks_tls: bool | None
    """None: nothing can be said."""
    unverified: ssl.SSLCertVerificationError | None = None


def explain_refusal(settings: KafkaSettings, said: str) -> AccessDeniedError | None:
    """What is wrong between these settings and the listener; None if that is not it. `said` is librdkafka's last error."""
    host, port = _address(settings.bootstrap_servers, said)
    where = f"{host}:{port}"
    secured = settings.security_protocol.endswith("ssl")
    seen = _look(host, port, settings.ssl_ca_location if secured else None, verify=secured)
    if seen.speaks_tls is None:
        return None
    login = settings.security_protocol.startswith("sasl")
    if seen.speaks_tls and not secured:
        return _denied(f"{where} speaks TLS, and {_PROTOCOL} is {settings.security_protocol}", f"set {_PROTOCOL}={'sasl_' * login}ssl")
    if secured and not seen.speaks_tls:
        other = "sasl_plaintext" if login else "plaintext"
        return _denied(
            f"{where} does not speak TLS, and {_PROTOCOL} is {settings.security_protocol}", f"use a TLS port, or set {_PROTOCOL}={other}"
        )
    if seen.unverified is not None:
        return _unverified(where, seen.unverified, settings)
    if not login and not said:  # a refused certificate has words; a login that is missing has none
        fix = f"if this listener asks for a login, set {_PROTOCOL}={'sasl_ssl' if secured else 'sasl_plaintext'}"
        return _denied(f"{where} closes the connection without a word", fix)
    return None


def _unverified(where: str, error: ssl.SSLCertVerificationError, settings: KafkaSettings) -> AccessDeniedError:
    text = f"the certificate of {where} is refused: {error.verify_message.rstrip('.')}"
    if error.verify_code in _WRONG_NAME:
        return _denied(text, f"give the broker in {SERVERS} by a name that its certificate has")
    if error.verify_code == _EXPIRED:
        return _denied(text, "the broker needs a new certificate")
    now = f" (now {settings.ssl_ca_location})" if settings.ssl_ca_location else ""
    return _denied(text, f"set {CA} to the authority of the broker's certificate{now}")


def _denied(text: str, fix: str) -> AccessDeniedError:
    return AccessDeniedError(text, missing="a TLS connection that both sides accept", broker=BROKER, fix=fix)


def _address(servers: str, said: str) -> tuple[str, int]:
    """The broker that librdkafka speaks of, else the first of the servers; 9092 is librdkafka's default."""
    named = re.search(r"\b\w+://([^/\s]+)/", said)
    first = named[1] if named else servers.split(",")[0].strip().rpartition("://")[2]
    host, _, port = first.rpartition(":") if re.search(r":\d+$", first) else (first, "", "9092")
    return host.strip("[]"), int(port)


def _look(host: str, port: int, authority: str | None, *, verify: bool) -> _Seen:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        if authority is not None:
            folder = Path(authority).is_dir()
            context.load_verify_locations(cafile=None if folder else authority, capath=authority if folder else None)
        with socket.create_connection((host, port), _SECONDS) as connection:
            return _shake(context, connection, host)
    except OSError:  # not reached, or the authority cannot be read: others say so
        return _Seen(None)


def _shake(context: ssl.SSLContext, connection: socket.socket, host: str) -> _Seen:
    try:
        with context.wrap_socket(connection, server_hostname=host):
            return _Seen(True)
    except ssl.SSLCertVerificationError as error:
        return _Seen(True, error)
    except TimeoutError:
        return _Seen(None)
    except ssl.SSLError as error:
        # An alert is TLS too: a server that wants a certificate of ours, or another version.
        return _Seen("ALERT" in (error.reason or ""))
    except ConnectionError:
        return _Seen(False)
