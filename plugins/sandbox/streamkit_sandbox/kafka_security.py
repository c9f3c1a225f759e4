"""TLS and logins for a Kafka of the sandbox: its certificates, its one user, and the variables that get streamkit in.

Four listeners beside the open one: `ssl`, `mtls` (a client shows a certificate), `sasl_plaintext` and `sasl_ssl`; the last
two know every mechanism. Nothing here is secret or fit for anything but loopback: the password stands below, tokens
are unsigned, and keys lie in the server's folder. Used by `kafka.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from streamkit_sandbox.errors import SandboxError, ServerUnavailableError
from streamkit_sandbox.loopback import LOOPBACK

__all__ = ["LISTENERS", "MECHANISMS", "PASSWORD", "USER", "Security", "scram_users"]

USER = "alice"
PASSWORD = "alice-secret"  # noqa: S105
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
LISTENERS: Mapping[str, str] = {"ssl": "SSL", "mtls": "SSL", "sasl_plaintext": "SASL_PLAINTEXT", "sasl_ssl": "SASL_SSL"}
"""Each listener and Kafka's name for how it speaks."""

_LOGINS = "org.apache.kafka.common.security"
_UNSIGNED = f"{_LOGINS}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"


class Security:
    """The files under `folder`, made anew: certificates of an authority of their own, the server's for 127.0.0.1 alone.

    So `localhost` is a wrong name for it. Raises ServerUnavailableError without trustme.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = folder / "ca.pem"
        """What clients trust."""
        self.client_certificate = folder / "client.pem"
        self.client_key = folder / "client.key"
        self._server = folder / "server.pem"
        self._make()

    def _make(self) -> None:
        try:
            import trustme
            from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
        except ImportError as error:
            raise ServerUnavailableError("kafka", f"its certificates need trustme ({error})", "install streamkit-sandbox anew") from error
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        server, client = authority.issue_cert(LOOPBACK), authority.issue_cert(f"{USER}.client")
        # Java reads keys as PKCS #8 only.
        key = load_pem_private_key(server.private_key_pem.bytes(), None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._server.write_bytes(key + b"".join(part.bytes() for part in server.cert_chain_pems))
        self.client_certificate.write_bytes(b"".join(part.bytes() for part in client.cert_chain_pems))
        client.private_key_pem.write_to_path(self.client_key)

    @property
    def properties(self) -> dict[str, str]:
        """The server's: certificates, and what each mechanism asks."""
        found = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._server),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority),
            "listener.name.mtls.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        }
        modules = {
            "plain": f'{_LOGINS}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
            "scram-sha-256": f"{_LOGINS}.scram.ScramLoginModule required;",
            "scram-sha-512": f"{_LOGINS}.scram.ScramLoginModule required;",
            "oauthbearer": f"{_LOGINS}.oauthbearer.OAuthBearerLoginModule required;",
        }
        for listener in ("sasl_plaintext", "sasl_ssl"):
            for mechanism, module in modules.items():
                found[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = module
            found[f"listener.name.{listener}.oauthbearer.sasl.server.callback.handler.class"] = _UNSIGNED
        return found

    def settings(self, listener: str, mechanism: str) -> dict[str, str]:
        """The variables that get streamkit in there, without the address. Raises SandboxError for what does not fit together."""
        asks = listener.startswith("sasl")
        if listener not in LISTENERS or (mechanism not in MECHANISMS if asks else mechanism):
            raise SandboxError(
                f"no listener takes {listener!r} with {mechanism or 'no mechanism'!r}; "
                f"use {', '.join(LISTENERS)}, and for sasl one of {', '.join(MECHANISMS)}"
            )
        found = {"SECURITY_PROTOCOL": LISTENERS[listener].lower()}
        options: dict[str, str | bool] = {}
        if listener != "sasl_plaintext":
            found["SSL_CA_LOCATION"] = str(self.authority)
        if listener == "mtls":
            options |= {"ssl.certificate.location": str(self.client_certificate), "ssl.key.location": str(self.client_key)}
        if asks:
            found["SASL_MECHANISM"] = mechanism
        if asks and mechanism == "OAUTHBEARER":
            options |= {"enable.sasl.oauthbearer.unsecure.jwt": True, "sasl.oauthbearer.config": f"principal={USER}"}
        elif asks:
            found |= {"SASL_USERNAME": USER, "SASL_PASSWORD": PASSWORD}
        if options:
            found["OPTIONS"] = json.dumps(options)
        return {f"STREAMKIT_KAFKA__{name}": value for name, value in found.items()}


def scram_users() -> list[str]:
    """Arguments for Kafka's tool that formats a disk: the user, once for each kind of SCRAM."""
    kinds = [mechanism for mechanism in MECHANISMS if mechanism.startswith("SCRAM")]
    return [word for kind in kinds for word in ("--add-scram", f"{kind}=[name={USER},password={PASSWORD}]")]
